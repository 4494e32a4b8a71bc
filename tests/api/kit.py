"""The livestream API as a program with an API token sees it, and encoders that come in by it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from tests.api.conftest import App, data


class Clock:
    """The monotonic clock of the meters, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Kit:
    """The API as a program with an API token sees it."""

    def __init__(self, app: App, token: str) -> None:
        self.app = app
        self.token = token
        self.clock = Clock()
        app.state.livestreams._clock = self.clock
        self.client = app.visitor("203.0.113.9")

    @property
    def base(self) -> str:
        return f"/client/v4/accounts/{self.app.account}/realtime/kit/{self.app_id}"

    app_id = ""

    async def call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return await self.client.request(method, self.base + path, headers=headers, **options)

    async def get(self, path: str, **params: Any) -> Any:
        return ok(await self.call("GET", path, params=params))

    async def create(self, name: str | None = "test_livestream") -> Any:
        return ok(await self.call("POST", "/livestreams", json={"name": name}), 201)["data"]

    async def publish(self, livestream: Any, **options: Any) -> str:
        """An RTMP encoder comes in with the key and sends media."""
        question = self.app.core.ask(f"live/{livestream['stream_key']}", **options)
        await self.answered(question)
        session = self.app.core.come_in(question)
        self.app.core.go_live(session, "h264")
        await self.flushed()
        return session

    async def answered(self, question: int) -> Any:
        self.app.state.engine._pump()
        # Not one after another: to await a task that is done does not turn the loop, and only a
        # turn of the loop takes it out of the set.
        await asyncio.gather(*self.app.state.door._answering)
        return self.app.core.verdicts[question]

    async def flushed(self) -> None:
        self.app.state.engine._pump()
        await asyncio.gather(*self.app.state.door._answering)
        self.app.state.engine._pump()
        await self.app.state.livestreams.flush()


def ok(response: httpx2.Response, status: int = 200) -> Any:
    assert response.status_code == status, f"{response.status_code} {response.text}"
    body = response.json()
    assert body["success"] is True
    return body


def refused(response: httpx2.Response, status: int) -> str:
    """The message of a refusal, which both envelopes carry."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    body = response.json()
    assert body["success"] is False
    assert body["error"]["code"] == status
    assert body["errors"] == [body["error"]]
    assert (body["messages"], body["result"]) == ([], None)
    if status not in {408, 429, 500, 503}:
        assert response.headers["x-should-retry"] == "false"
    return body["error"]["message"]


async def kit_of(app: App, scopes: list[str] | None = None) -> Kit:
    body = {"label": "tests", **({"scopes": scopes} if scopes else {})}
    made = data(await app.client.post("/api/api_token", json=body))
    kit = Kit(app, made["token"])
    listed = await app.client.get(f"/client/v4/accounts/{app.account}/realtime/kit/apps")
    kit.app_id = ok(listed)["data"][0]["id"]
    return kit
