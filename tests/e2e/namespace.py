"""A network namespace behind a cable on which the kernel drops datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


class Unavailable(Exception):
    """This machine or user cannot make a lossy network; the message says why."""


@dataclass(frozen=True)
class Namespace:
    """A network namespace behind a virtual cable on which datagrams are lost."""

    name: str
    outside: str
    chromium: str


RULES = """
table inet loss {{
  chain arriving {{ type filter hook input priority 0; meta l4proto udp {share} drop; }}
  chain leaving {{ type filter hook output priority 0; meta l4proto udp {share} drop; }}
}}
"""


@asynccontextmanager
async def namespace(folder: Path, *, percent: int) -> AsyncGenerator[Namespace, None]:
    """Make the namespace and take it away again; `Unavailable` where that is not allowed.

    Loss comes from netem, or from nftables in kernels without netem. 100 % means that datagrams are blocked, while
    TCP passes, as behind a strict firewall.
    """
    if os.geteuid() != 0:
        raise Unavailable("a network namespace needs root")
    if not shutil.which("ip"):
        raise Unavailable("`ip` of iproute2 was not found")
    name = f"stagecast-{os.getpid()}"
    cable = f"sc{os.getpid()}"
    # RFC 2544's block for tests of networks: nobody's real network.
    outside, inside = "198.18.77.1", "198.18.77.2"
    await _run("ip", "netns", "add", name)
    try:
        await _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "inside")
        await _run("ip", "link", "set", "inside", "netns", name)
        await _run("ip", "addr", "add", f"{outside}/30", "dev", cable)
        await _run("ip", "link", "set", cable, "up")
        await _run("ip", "-n", name, "addr", "add", f"{inside}/30", "dev", "inside")
        await _run("ip", "-n", name, "link", "set", "inside", "up")
        await _run("ip", "-n", name, "link", "set", "lo", "up")
        if percent == 100 or not await _netem(name, cable, percent):
            share = "" if percent == 100 else f"numgen random mod 100 < {percent}"
            rules = RULES.format(share=share)
            await _run("ip", "netns", "exec", name, "nft", "-f", "-", given=rules)
        script = folder / "chromium"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {name} /usr/bin/chromium "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        yield Namespace(name, outside, str(script))
    finally:
        # A browser may still hold the namespace, and with it the other end of the cable.
        await _run("ip", "netns", "delete", name)
        with contextlib.suppress(Unavailable):  # else it has gone with the namespace
            await _run("ip", "link", "delete", cable)


async def _netem(name: str, cable: str, percent: int) -> bool:
    netem = ("root", "netem", "loss", f"{percent}%")
    try:
        await _run("tc", "qdisc", "add", "dev", cable, *netem)
        await _run("tc", "-n", name, "qdisc", "add", "dev", "inside", *netem)
    except Unavailable:
        return False
    return True


async def _run(*command: str, given: str = "") -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate(given.encode())
    if process.returncode != 0:
        raise Unavailable(f"{' '.join(command)}: {errors.decode().strip()}")
