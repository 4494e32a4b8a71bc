"""The real server as a process of its own: free ports, its own data directory, logs kept as an artefact."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.e2e.deadline import until

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "tests" / ".artifacts"
STAGECAST = Path(sys.executable).with_name("stagecast")


def free_port() -> int:
    """Find a port that is free for TCP and UDP on all addresses."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("", port))
            except OSError:
                continue
            return port


@dataclass
class Server:
    """One running server."""

    name: str
    data: Path
    port: int
    media_port: int
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    process: asyncio.subprocess.Process | None = None
    _any: asyncio.Task[Token] | None = None

    @classmethod
    async def start(cls, name: str, data: Path, **settings: str) -> Self:
        """Start a server on free ports and wait until it is ready."""
        server = cls(name, data, free_port(), free_port(), settings)
        await server.run()
        return server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "STAGECAST_DATA": str(self.data),
            "STAGECAST_HTTP__PORT": str(self.port),
            "STAGECAST_MEDIA__PORT": str(self.media_port),
            "STAGECAST_HLS__PORT": "0",
            "STAGECAST_RTMP__PORT": "0",
            "STAGECAST_RTMP__TLS_PORT": "0",
            "STAGECAST_SRT__PORT": "0",
            "STAGECAST_LOG__FORMAT": "json",
            **self.settings,
        }

    @property
    def log(self) -> Path:
        return ARTIFACTS / f"server-{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def run(self) -> None:
        """Start the process again on the same data directory and ports."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(STAGECAST),
                "serve",
                cwd=self.data.parent,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )
        await until(self._ready, deadline=30, what=f"{self.name} is ready, see {self.log}")

    async def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, f"the server ended:\n{self.log.read_text()}"
        async with httpx2.AsyncClient() as client:
            try:
                answer = await client.get(f"{self.url}/readyz")
            except httpx2.TransportError:
                return False
        return answer.status_code == 200

    async def stop(self) -> int:
        """Ask the server to end, as a service manager does, and return its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), 20)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(f"{self.name} did not end in 20 s, see {self.log}") from None

    async def cli(self, *arguments: str) -> Any:
        """Run a command on the data directory and read its JSON."""
        status, output, errors = await self.command(*arguments, "--json")
        assert status == 0, f"stagecast {' '.join(arguments)}: {status}\n{output}\n{errors}"
        return json.loads(output)

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; its status, standard output and standard error."""
        process = await asyncio.create_subprocess_exec(
            str(STAGECAST),
            *arguments,
            env=self.environment,
            cwd=self.data.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def token(self, stream: str) -> Token:
        """Give access to one stream; all streams share a publish token, which is made once."""
        if self._any is None:
            self._any = asyncio.create_task(self.own_token("any", "--any"))
        return dataclasses.replace(await self._any, stream=stream)

    async def own_token(self, stream: str, *flags: str) -> Token:
        """Create a publish token that nobody else uses."""
        names = flags or ("--stream", stream)
        made = await self.cli("token", "create", "--label", f"e2e {stream}", *names)
        return Token(self, stream, str(made["id"]), made["accountId"], made["token"])

    async def api(self) -> Api:
        """Make an API token."""
        made = await self.cli("apitoken", "create", "--label", "e2e")
        return Api(self, made["accountId"], made["appId"], made["token"])

    def first_password(self) -> tuple[str, str]:
        """Read the administrator's e-mail and one-time password from what the server printed."""
        text = self.log.read_text()
        email = re.search(r"E-mail:\s*(\S+)", text)
        password = re.search(r"One-time password:\s*(\S+)", text)
        assert email is not None, f"no e-mail in:\n{text}"
        assert password is not None, f"no one-time password in:\n{text}"
        return email[1], password[1]


@dataclass(frozen=True)
class Token:
    """A publish token and the addresses it opens."""

    server: Server
    stream: str
    id: str
    account: str
    secret: str

    @property
    def whip(self) -> str:
        return f"{self.server.url}/api/whip/{self.stream}"

    @property
    def whep(self) -> str:
        return f"{self.server.url}/api/whep/{self.account}/{self.stream}"

    @property
    def viewer(self) -> str:
        return f"{self.server.url}/viewer?streamId={self.account}/{self.stream}"

    async def live(self) -> bool:
        """Ask, as a player would, whether the stream is live: an empty offer is refused with 409 while it is not."""
        async with httpx2.AsyncClient() as client:
            answer = await client.post(
                self.whep, content=EMPTY_OFFER, headers={"Content-Type": "application/sdp"}
            )
        return answer.status_code != 409


@dataclass(frozen=True)
class Api:
    """An API token and the app it is used for."""

    server: Server
    account: str
    app: str
    token: str

    @property
    def url(self) -> str:
        return f"{self.server.url}/client/v4/accounts/{self.account}/realtime/kit/{self.app}"


EMPTY_OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
