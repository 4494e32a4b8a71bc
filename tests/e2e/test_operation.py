"""The server as an operator sees it: stop, restart, health, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest_asyncio

from tests.e2e import ffmpeg
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.server import Server
from tests.e2e.watching import OVER, publishes, watches


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that a test may stop."""
    server = await Server.start("own", tmp_path / "data")
    yield server
    await server.stop()


async def test_a_server_that_is_stopped_says_goodbye_and_keeps_what_it_knows(
    own: Server, rtc: Open
) -> None:
    token = await own.token("goodbye")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    await publishes(publisher, token.whip, token.secret, codec="vp8")
    # Connected is not yet live: the first packet makes it so.
    await until(token.live, what="the publisher's media arrives")
    await watches(viewer, token.whep)

    assert await own.stop() == 0
    await viewer.until(OVER, deadline=4, what="the viewer is told")
    await publisher.until(OVER, deadline=4, what="the publisher is told")

    await own.run()
    again = await rtc()
    await publishes(again, token.whip, token.secret, codec="vp8")


async def test_health_readiness_and_the_api_description_are_there(server: Server) -> None:
    async with httpx2.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        described = (await client.get("/openapi.json")).json()
    assert "/api/publish_token" in " ".join(described["paths"])


async def test_a_live_stream_shows_in_the_metrics(server: Server) -> None:
    token = await server.token("measured")
    async with (
        await ffmpeg.Publisher.start(token, size="320x180"),
        httpx2.AsyncClient(base_url=server.url) as client,
    ):
        await until(token.live, what="ffmpeg is live")

        async def shown() -> bool:
            return "measured" in (await client.get("/metrics")).text

        await until(shown, what="the stream is in the metrics")
