"""Two bad networks: a seeded relay in this process, and a network namespace where the kernel drops."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import selectors
import shutil
import socket
import stat
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

Address = tuple[str, int]


class Unavailable(Exception):
    """This machine or user cannot make a lossy network; the message says why."""


class Relay:
    """Passes datagrams between clients and the server; give a client `port` as the server's.

    In both directions a share of them is lost, and the others are up to ``jitter`` seconds late. Order is kept, as on
    most real paths. Each client has a socket of its own towards the server.
    """

    def __init__(self, media_port: int, *, share: float, seed: int, jitter: float = 0.0) -> None:
        self._server = ("127.0.0.1", media_port)
        self._share, self._jitter = share, jitter
        self._dice = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        # Not every browser uses the loopback interface.
        self._front = self._socket("")
        self._clients: dict[Address, _Client] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self.passed = 0
        self.dropped = 0
        self.late = 0.0
        """Seconds that this relay itself has been too slow at most."""

    @property
    def port(self) -> int:
        return self._front.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._front.close()
        for client in self._clients.values():
            client.back.close()
        self._selector.close()

    def _socket(self, address: str) -> socket.socket:
        opened = socket.socket(type=socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        opened.bind((address, 0))
        opened.setblocking(False)
        self._selector.register(opened, selectors.EVENT_READ)
        return opened

    def _run(self) -> None:
        while not self._stop.is_set():
            due = min(
                (way[0][0] for client in self._clients.values() for way in client.ways if way),
                default=time.monotonic() + 0.05,
            )
            for key, _ in self._selector.select(min(0.05, max(0.0, due - time.monotonic()))):
                self._drain(cast("socket.socket", key.fileobj))
            now = time.monotonic()
            for address, client in self._clients.items():
                there, back = client.ways
                while there and there[0][0] <= now:
                    self._pass(there, now, client.back, self._server)
                while back and back[0][0] <= now:
                    self._pass(back, now, self._front, address)

    def _pass(self, way: _Way, now: float, through: socket.socket, to: Address) -> None:
        due, data = way.popleft()
        self.late = max(self.late, now - due)
        self.passed += 1
        with contextlib.suppress(OSError):  # the other side has closed
            through.sendto(data, to)

    def _drain(self, ready: socket.socket) -> None:
        while True:
            try:
                data, source = ready.recvfrom(65_536)
            except OSError:
                return
            if ready is self._front:
                client = self._clients.get(source)
                if client is None:
                    client = self._clients[source] = _Client(self._socket("127.0.0.1"))
                way = client.ways[0]
            else:
                way = next(c.ways[1] for c in self._clients.values() if c.back is ready)
            if self._dice.random() < self._share:
                self.dropped += 1
                continue
            due = time.monotonic() + self._dice.random() * self._jitter
            way.append((max(due, way[-1][0]) if way else due, data))


_Way = collections.deque[tuple[float, bytes]]


@dataclass(frozen=True)
class _Client:
    """What is on the way of one client: to the server, and back."""

    back: socket.socket
    ways: tuple[_Way, _Way] = field(default_factory=lambda: (_Way(), _Way()))


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
        if (Path("/sys/class/net") / cable).exists():
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
