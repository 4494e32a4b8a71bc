"""The whole application in this process, over a media core in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI

from stagecast.accounts import passwords
from stagecast.app import create_app, drain
from stagecast.kit.logs import configure_logs
from stagecast.server import Server, bind
from stagecast.settings import HttpSettings, load
from tests.core_double import CoreDouble

SDP = {"Content-Type": "application/sdp"}
OFFER = "v=0\r\n"
PASSWORD = "correct horse battery"

MakeApp = Callable[..., Awaitable["App"]]


@dataclass
class App:
    """One running application and a client for it, logged in where a test asked for it."""

    asgi: FastAPI
    core: CoreDouble
    client: httpx2.AsyncClient
    secret: str = ""

    @property
    def state(self) -> Any:
        return self.asgi.state

    @property
    def account(self) -> str:
        return self.state.account_id

    def visitor(self, address: str = "127.0.0.1") -> httpx2.AsyncClient:
        """A client without cookie, at some address."""
        transport = httpx2.ASGITransport(app=self.asgi, client=(address, 40000))
        return httpx2.AsyncClient(transport=transport, base_url="http://test")

    async def log_in(self) -> None:
        """Become the administrator, with the one-time password changed, and make an API secret."""
        first = self.state.first_admin
        login = {"email": first.email, "password": first.password}
        session = data(await self.client.post("/api/session", json=login))
        self.client.headers["X-CSRF-Token"] = session["csrfToken"]
        change = {"currentPassword": first.password, "newPassword": PASSWORD}
        data(await self.client.put("/api/session/password", json=change))
        self.secret = data(await self.client.post("/api/secret", json={"label": "tests"}))["secret"]

    async def publish_token(self, **fields: Any) -> dict[str, Any]:
        body = {"label": "studio", "streams": [{"streamName": "demo"}], **fields}
        return data(await self.client.post("/api/publish_token", json=body))

    async def subscribe_token(self, **fields: Any) -> dict[str, Any]:
        body = {"label": "viewers", "streams": [{"streamName": "demo"}], **fields}
        return data(await self.client.post("/api/subscribe_token", json=body))

    async def whip(
        self, token: str, name: str = "demo", query: str = "", **headers: str
    ) -> httpx2.Response:
        return await self.visitor().post(
            f"/api/whip/{name}{query}",
            content=OFFER,
            headers={**SDP, "Authorization": f"Bearer {token}", **headers},
        )

    async def whep(self, name: str = "demo", query: str = "", **headers: str) -> httpx2.Response:
        return await self.visitor().post(
            f"/api/whep/{self.account}/{name}{query}", content=OFFER, headers={**SDP, **headers}
        )

    async def go_live(self, token: str, name: str = "demo", query: str = "") -> str:
        """Publish until media flows; returns the session id."""
        answer = await self.whip(token, name, query)
        assert answer.status_code == 201, answer.text
        session = session_of(answer)
        self.core.go_live(session)
        await self.settle()
        return session

    async def settle(self) -> None:
        """Let waiting events of the media core reach the application."""
        self.state.engine._pump()
        await self.state.token_watch.apply()


def data(response: httpx2.Response) -> Any:
    """The data of a success, or a failed test with the refusal."""
    assert response.status_code == 200, f"{response.status_code} {response.text}"
    body = response.json()
    assert body["status"] == "success"
    return body["data"]


def refusal(response: httpx2.Response, status: int) -> dict[str, Any]:
    """The data of a refusal in the Millicast envelope."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    body = response.json()
    assert body["status"] == "fail"
    return body["data"]


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.001)


def session_of(answer: httpx2.Response) -> str:
    return answer.headers["Location"].rpartition("/")[2]


@pytest.fixture(autouse=True, scope="session")
def logs() -> Iterator[None]:
    """The logs of production, and logging as it was afterwards."""
    handlers, level = logging.root.handlers, logging.root.level
    configure_logs("warning", "json")
    yield
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Password hashes are slow on purpose; tests of other things need not be."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", cheap)


@pytest.fixture
async def make_app(tmp_path: Path) -> AsyncIterator[MakeApp]:
    """Start applications with settings of the test's own."""
    async with AsyncExitStack() as stack:

        async def make(**flags: Any) -> App:
            dotted = {name.replace("__", "."): value for name, value in flags.items()}
            settings = load(env={}, flags={"data": tmp_path / "data", **dotted})
            core = CoreDouble()
            asgi = create_app(settings, lambda _settings: core)
            await stack.enter_async_context(asgi.router.lifespan_context(asgi))
            transport = httpx2.ASGITransport(app=asgi)
            client = await stack.enter_async_context(
                httpx2.AsyncClient(transport=transport, base_url="http://test")
            )
            return App(asgi, core, client)

        yield make


@pytest.fixture
async def app(make_app: MakeApp) -> App:
    """An application whose administrator is logged in."""
    running = await make_app()
    await running.log_in()
    return running


class QuietServer(Server):
    """The server without its signals, which belong to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@pytest.fixture
async def listening(app: App) -> AsyncIterator[str]:
    """The same application on a real socket, for responses that do not end by themselves."""
    sockets = bind(HttpSettings.model_validate({"bind": ["127.0.0.1"], "port": 0}))
    started = asyncio.Event()
    config = uvicorn.Config(
        app.asgi, lifespan="off", log_config=None, proxy_headers=False, timeout_graceful_shutdown=5
    )
    server = QuietServer(config, lambda: drain(app.asgi), started.set)
    running = asyncio.create_task(server.serve(sockets=sockets))
    await started.wait()
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    drain(app.asgi)
    server.stop()
    await running
