"""A real `stagecast serve` on free ports and its own data directory, for as long as it is measured."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import httpx2

COMMAND = (sys.executable, "-m", "stagecast")
STREAM = "bench"


def free_port() -> int:
    """A port that is free for TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """One server with one stream that may be published and watched."""

    def __init__(self, tree: Path | None = None) -> None:
        """Of this tree, or of another checkout whose core is built."""
        self._data = tempfile.TemporaryDirectory(prefix="stagecast-bench-")
        self._port = free_port()
        self.media_port = free_port()
        # Paths of peers are no settings of the server, which refuses what it does not know.
        ours = {k: v for k, v in os.environ.items() if not k.startswith("STAGECAST_BENCH_")}
        self._environment = ours | {
            "STAGECAST_DATA": self._data.name,
            "STAGECAST_HTTP__PORT": str(self._port),
            "STAGECAST_MEDIA__PORT": str(self.media_port),
            "STAGECAST_RTMP__PORT": str(free_port()),
            "STAGECAST_RTMP__TLS_PORT": "0",
            "STAGECAST_HLS__PORT": "0",
            "STAGECAST_SRT__PORT": "0",
        }
        if tree is not None:
            self._environment["PYTHONPATH"] = str(tree / "python")
            # An older one refuses settings of protocols that it does not have.
            sample = (tree / "deploy" / "stagecast.sample.toml").read_text()
            for name in [n for n in self._environment if n.startswith("STAGECAST_") and "__" in n]:
                section = name.removeprefix("STAGECAST_").partition("__")[0].lower()
                if f"[{section}]" not in sample:
                    del self._environment[name]
        self._log = Path(self._data.name) / "bench.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.account = ""
        self.token = ""

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "serve"], env=self._environment, stdout=log, stderr=log
            )
        try:
            self._wait()
            self._make_token()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._data.cleanup()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def whip(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/whip/{STREAM}"

    @property
    def viewer(self) -> str:
        return f"http://127.0.0.1:{self._port}/viewer?streamId={self.account}/{STREAM}"

    @property
    def rtmp(self) -> str:
        port = self._environment["STAGECAST_RTMP__PORT"]
        return f"rtmp://127.0.0.1:{port}/v2/pub/{STREAM}?token={self.token}"

    @property
    def whep(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/whep/{self.account}/{STREAM}"

    @property
    def hls(self) -> str:
        """The stream's multivariant playlist."""
        address = f"http://127.0.0.1:{self._port}/viewer/playback.json"
        told = httpx2.get(address, trust_env=False).json()
        return f"{told['hls']}/{self.account}/{STREAM}/manifest/video.m3u8"

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                address = f"http://127.0.0.1:{self._port}/readyz"
                if httpx2.get(address, trust_env=False).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the server did not start:\n{self._log.read_text()[-3000:]}")

    def _make_token(self) -> None:
        made = subprocess.run(
            [*COMMAND, "token", "create", "--label", "bench", "--stream", STREAM, "--json"],
            env=self._environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
        token = json.loads(made.stdout)
        self.account, self.token = token["accountId"], token["token"]
