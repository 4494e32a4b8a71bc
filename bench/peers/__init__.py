"""Servers that are compared: how each is found, set and started.

All of them forward one WHIP publisher to WHEP viewers over loopback, with default settings except addresses, ports
and log level. One that is not installed, or cannot do that, is named with the reason and skipped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

from bench.server import Server, free_port

HERE = Path(__file__).parent
PATIENCE = 20.0


class Missing(Exception):
    """This peer cannot be measured here; the text says why."""


class Peer(Protocol):
    """A running server with one stream."""

    @property
    def pid(self) -> int: ...
    @property
    def whip(self) -> str: ...
    @property
    def whep(self) -> str: ...
    @property
    def token(self) -> str | None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class Entry:
    """A line of the comparison."""

    name: str
    version: str
    make: type[_Binary] | None = None
    tree: Path | None = None
    path: str = ""

    def start(self) -> Peer:
        if self.make is not None:
            return self.make(self.path)
        return Server(self.tree)


class _Binary:
    """A peer that is one program with one configuration file."""

    name: ClassVar[str]
    template: ClassVar[str]
    version_flag: ClassVar[str] = "--version"
    token: str | None = None

    def __init__(self, path: str) -> None:
        self._path = path
        self.http, self.media, self.hls_port = free_port(), free_port(), free_port()
        self._folder = tempfile.TemporaryDirectory(prefix=f"bench-{self.name}-")
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, config: Path) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        config = folder / self.template
        text = (HERE / self.template).read_text()
        for key, value in (
            ("HTTP", self.http),
            ("MEDIA", self.media),
            ("HLS", self.hls_port),
            ("FOLDER", folder),
        ):
            text = text.replace(f"@{key}@", str(value))
        config.write_text(text)
        log = folder / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                self.command(config),
                cwd=folder,
                stdout=out,
                stderr=out,
                env=os.environ | self.environment(),
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.http), 1),
            ):
                return self
            time.sleep(0.1)
        said = log.read_text(errors="replace")[-2000:]
        self.__exit__()
        raise Missing(f"it did not start: {said}")

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("it is not running")
        return self._process.pid

    @property
    def whip(self) -> str:
        raise NotImplementedError

    @property
    def whep(self) -> str:
        raise NotImplementedError


class MediaMtx(_Binary):
    """github.com/bluenviron/mediamtx"""

    name = "mediamtx"
    template = "mediamtx.yml"

    def command(self, config: Path) -> list[str]:
        return [self._path, str(config)]

    @property
    def whip(self) -> str:
        return f"http://127.0.0.1:{self.http}/bench/whip"

    @property
    def whep(self) -> str:
        return f"http://127.0.0.1:{self.http}/bench/whep"


class MediaMtxHls(MediaMtx):
    """The same with LL-HLS."""

    template = "mediamtx-hls.yml"

    @property
    def hls(self) -> str:
        return f"http://127.0.0.1:{self.hls_port}/bench/index.m3u8"


class Srs(_Binary):
    """github.com/ossrs/srs"""

    name = "srs"
    template = "srs.conf"
    version_flag = "-v"

    def command(self, config: Path) -> list[str]:
        return [self._path, "-c", str(config)]

    @property
    def whip(self) -> str:
        return f"http://127.0.0.1:{self.http}/rtc/v1/whip/?app=live&stream=bench"

    @property
    def whep(self) -> str:
        return f"http://127.0.0.1:{self.http}/rtc/v1/whep/?app=live&stream=bench"


# Why some cannot be in the table, though they are peers.
UNFIT = {
    "janus": "its streaming plug-in makes the offer itself and takes plain RTP: neither WHIP nor WHEP",
    "livekit": "it takes WHIP but has no WHEP: viewers need its own protocol",
}


def find(name: str, path: str | None) -> Entry:
    """A peer by name; raises `Missing`."""
    if name in UNFIT:
        raise Missing(UNFIT[name])
    kinds: dict[str, type[_Binary]] = {kind.name: kind for kind in (MediaMtx, Srs)}
    kind = kinds[name]
    variable = f"STAGECAST_BENCH_{name.upper()}"
    found = path or os.environ.get(variable) or shutil.which(name)
    if not found or not Path(found).is_file():
        raise Missing(f"not installed; give --{name} PATH or {variable}")
    try:
        said = subprocess.run(
            [found, kind.version_flag], capture_output=True, text=True, timeout=10, check=False
        )
        version = (said.stdout or said.stderr).strip().splitlines()[0][:40]
    except (OSError, subprocess.TimeoutExpired, IndexError):
        version = "unknown"
    return Entry(name, version, kind, path=found)


def ours(tree: Path | None = None, name: str = "stagecast") -> Entry:
    """This tree, or another checkout whose core is built."""
    where = tree or HERE.parent.parent
    if tree is not None and not any((tree / "python/stagecast").glob("_core*.so")):
        raise Missing(f"{tree} has no core; build it there first")
    said = subprocess.run(
        ["git", "-C", str(where), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return Entry(name, said.stdout.strip() or "unknown", tree=tree)


__all__ = ["UNFIT", "Entry", "MediaMtxHls", "Missing", "Peer", "find", "ours"]
