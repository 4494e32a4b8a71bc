"""The hosted viewer page, alone and in an iframe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.e2e import ffmpeg
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.player import plays, size, sounds
from tests.e2e.server import Server
from tests.e2e.watching import publishes


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that a test may stop."""
    server = await Server.start("viewer", tmp_path / "data")
    yield server
    await server.stop()


async def test_the_viewer_waits_and_starts_by_itself(server: Server, open_page: Open) -> None:
    token = await server.token("by-itself")
    viewer = await open_page()
    await viewer.goto(token.viewer)
    await viewer.wait("::-p-text(NOT LIVE)")
    async with await ffmpeg.Publisher.start(token):
        await plays(viewer)
        await sounds(viewer)
        assert await size(viewer) == (1280, 720)
    # The browser logs by itself that the stream was not there yet.
    assert all("409" in problem for problem in await viewer.problems())


async def test_two_engines_watch_on_the_viewer_page(
    server: Server, rtc: Open, open_page: Open
) -> None:
    token = await server.token("two-engines")
    publisher = await rtc()
    await publishes(publisher, token.whip, token.secret, codec="vp8")
    await until(token.live, what="the stream is live")
    viewers = await asyncio.gather(open_page("chromium"), open_page("firefox"))
    for viewer in viewers:
        await viewer.goto(token.viewer)
    for viewer in viewers:
        await plays(viewer)
    # Firefox starts no audio context on a machine without a sound device.
    await sounds(viewers[0])


async def test_the_viewer_comes_back_after_the_server_was_away(
    own: Server, open_page: Open
) -> None:
    token = await own.token("away")
    viewer = await open_page()
    async with await ffmpeg.Publisher.start(token):
        await viewer.goto(token.viewer)
        await plays(viewer)
        await own.stop()
    await own.run()
    async with await ffmpeg.Publisher.start(token):
        await plays(viewer, deadline=30)


async def test_the_viewer_plays_in_an_iframe_of_another_origin(
    server: Server, open_page: Open, origin: str
) -> None:
    token = await server.token("embedded")
    page = await open_page()
    async with await ffmpeg.Publisher.start(token):
        await until(token.live, what="ffmpeg is live")
        await page.goto(f"{origin}/rtc.html")
        await page.evaluate(
            """(url) => {
                const frame = document.createElement('iframe');
                frame.src = url;
                frame.allow = 'autoplay; fullscreen';
                document.body.replaceChildren(frame);
                return new Promise((done) => frame.addEventListener('load', () => done(true)));
            }""",
            token.viewer,
        )
        await plays(page.frame("/viewer"))
