"""Server-sent events: the dashboard's, and the extension on WHIP and WHEP sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from stagecast.accounts.access import COOKIE
from stagecast.streams.schemas import FiguresEvent, HelloEvent, MonitoredStream, TokenEvent
from tests.api.conftest import App, data, until


class Events:
    """The events of one open response."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, Any]:
        async with asyncio.timeout(10):
            name = ""
            async for line in self._lines:
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return name, json.loads(line.removeprefix("data: "))
        raise AssertionError("the event stream has ended")

    async def named(self, name: str) -> Any:
        """The next event of a name; figures come in between every second."""
        while True:
            found, content = await self.next()
            if found == name:
                return content

    async def end(self) -> None:
        async with asyncio.timeout(10):
            async for _ in self._lines:
                pass


@asynccontextmanager
async def dashboard(app: App, base: str) -> AsyncGenerator[Events]:
    cookies = {COOKIE: app.client.cookies[COOKIE]}
    async with (
        httpx2.AsyncClient(base_url=base, cookies=cookies) as client,
        client.stream("GET", "/api/events") as response,
    ):
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        yield Events(response)


async def test_dashboard_first_learns_what_is_live(app: App, listening: str) -> None:
    await app.go_live((await app.publish_token())["token"])
    async with dashboard(app, listening) as events:
        name, hello = await events.next()
        assert name == "hello"
        HelloEvent.model_validate(hello)
        name, stream = await events.next()
        assert name == "stream"
        MonitoredStream.model_validate(stream)
        assert (stream["streamName"], stream["live"]) == ("demo", True)


async def test_dashboard_learns_of_start_and_end(app: App, listening: str) -> None:
    token = (await app.publish_token())["token"]
    async with dashboard(app, listening) as events:
        await events.named("hello")
        session = await app.go_live(token)
        assert (await events.named("stream"))["live"] is True
        app.core.end_session(session, "deleted")
        await app.settle()
        assert (await events.named("stream"))["live"] is False


async def test_dashboard_learns_of_token_changes(app: App, listening: str) -> None:
    async with dashboard(app, listening) as events:
        await events.named("hello")
        token = await app.publish_token()
        await app.settle()
        event = await events.named("token")
        TokenEvent.model_validate(event)
        assert event == {"tokenId": token["id"], "tokenType": "Publish", "change": "created"}
        data(await app.client.put(f"/api/publish_token/{token['id']}", json={"label": "x"}))
        await app.settle()
        assert (await events.named("token"))["change"] == "updated"
        data(await app.client.delete(f"/api/publish_token/{token['id']}"))
        await app.settle()
        assert (await events.named("token"))["change"] == "deleted"


async def test_dashboard_gets_figures(app: App, listening: str) -> None:
    await app.go_live((await app.publish_token())["token"])
    async with dashboard(app, listening) as events:
        await events.named("hello")
        app.state.engine.refresh()
        figures = await events.named("figures")
        FiguresEvent.model_validate(figures)
        assert figures["streams"][0]["streamId"] == f"{app.account}/demo"
        assert figures["streams"][0]["codecs"] == {"video": "vp8", "audio": "opus"}


async def test_dashboard_is_warned_of_b_frames(app: App, listening: str) -> None:
    await app.go_live((await app.publish_token())["token"])
    ((stream, _), session) = next(iter(app.core.live.items()))
    layer = {"layer": "", "ssrc": 0, "bitrate_bps": 1, "packets": 1, "packets_lost": 0}
    async with dashboard(app, listening) as events:
        await events.named("hello")
        for b_frames in (False, True):
            video = {"track": "video", "kind": "video", "codec": "h264"}
            tracks = [{**video, "layers": [{**layer, "b_frames": b_frames}]}]
            source = {"stream": stream, "source": None, "session": session, "tracks": tracks}
            app.core.figures_json = {"at": 1.0, "sources": [source]}
            app.state.engine.refresh()
            assert (await events.named("figures"))["streams"][0]["bFrames"] is b_frames


async def test_events_end_soon_after_logging_out(
    app: App, listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagecast.dashboard.events.KEEP_ALIVE_SECONDS", 0.01)
    async with dashboard(app, listening) as events:
        await events.named("hello")
        data(await app.client.delete("/api/session"))
        await events.end()


async def test_events_end_when_the_server_drains(app: App, listening: str) -> None:
    from stagecast.app import drain

    async with dashboard(app, listening) as events:
        await events.named("hello")
        drain(app.asgi)
        await events.end()


async def test_closed_tab_leaves_nothing_behind(app: App, listening: str) -> None:
    readers = app.state.dashboard_events._readers
    async with dashboard(app, listening) as events:
        await events.named("hello")
        assert len(readers[app.account]) == 1
    await until(lambda: len(readers[app.account]) == 0)


# The extension on sessions


async def subscribe(app: App, session_url: str, names: Any) -> httpx2.Response:
    return await app.visitor().post(f"{session_url}/sse", json=names)


async def test_session_reads_the_events_it_asked_for(app: App, listening: str) -> None:
    publish = (await app.publish_token())["token"]
    feed = await app.go_live(publish)
    viewer = await app.whep()
    created = await subscribe(
        app, viewer.headers["Location"], ["active", "inactive", "viewercount"]
    )
    assert created.status_code == 201
    async with (
        httpx2.AsyncClient(base_url=listening) as client,
        client.stream("GET", created.headers["Location"]) as response,
    ):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        events = Events(response)
        name, active = await events.next()
        assert name == "active"
        assert active["streamId"] == f"{app.account}/demo"
        assert active["sourceId"] is None
        assert [track["media"] for track in active["tracks"]] == ["audio", "video"]
        assert await events.next() == ("viewercount", {"viewercount": 0})
        app.core.connect(viewer.headers["Location"].rpartition("/")[2])
        await app.settle()
        app.state.engine.refresh()
        assert await events.next() == ("viewercount", {"viewercount": 1})
        app.core.end_session(feed, "deleted")
        await app.settle()
        name, inactive = await events.next()
        assert (name, inactive["sourceId"]) == ("inactive", None)


async def test_publisher_can_ask_for_the_viewer_count_alone(app: App, listening: str) -> None:
    answer = await app.whip((await app.publish_token())["token"])
    created = await subscribe(app, answer.headers["Location"], ["viewercount"])
    async with (
        httpx2.AsyncClient(base_url=listening) as client,
        client.stream("GET", created.headers["Location"]) as response,
    ):
        assert await Events(response).next() == ("viewercount", {"viewercount": 0})


@pytest.mark.parametrize("names", [[], ["nonsense"], {"a": 1}, [1], "active", ["active"] * 17])
async def test_bad_list_of_events_is_refused(app: App, names: Any) -> None:
    answer = await app.whip((await app.publish_token())["token"])
    refused = await subscribe(app, answer.headers["Location"], names)
    assert refused.status_code == 400
    assert refused.headers["Content-Type"].startswith("text/plain")


async def test_event_stream_of_another_session_is_not_found(app: App) -> None:
    token = (await app.publish_token())["token"]
    one, two = await app.whip(token), await app.whip(token)
    created = await subscribe(app, one.headers["Location"], ["active"])
    key = created.headers["Location"].rpartition("/")[2]
    answer = await app.visitor().get(f"{two.headers['Location']}/sse/{key}")
    assert answer.status_code == 404
    assert (await subscribe(app, "/api/whip/session/none", ["active"])).status_code == 404


async def test_session_keeps_its_last_event_streams_only(app: App) -> None:
    answer = await app.whip((await app.publish_token())["token"])
    urls = [
        (await subscribe(app, answer.headers["Location"], ["active"])).headers["Location"]
        for _ in range(6)
    ]
    assert len(app.state.whip_events._wanted) == 4
    assert (await app.visitor().get(urls[0])).status_code == 404
