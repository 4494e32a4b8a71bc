"""Monitoring on figures, and stopping streams."""

from typing import Any

import pytest

from tests.api.conftest import App, data, refusal


def figures(session: str, stream: str) -> dict[str, Any]:
    layer = {
        "ssrc": 1, "packets": 900, "packets_lost": 9, "nacks": 2, "plis": 1, "jitter_ms": 3.0,
        "keyframe_interval_ms": 2000.0,
    }  # fmt: skip
    low = {**layer, "layer": "l", "bitrate_bps": 200_000, "fps": 15.0, "width": 320, "height": 180}
    high = {
        **layer,
        "layer": "h",
        "bitrate_bps": 1_500_000,
        "fps": 30.0,
        "width": 1280,
        "height": 720,
    }
    audio = {
        **layer,
        "layer": "",
        "bitrate_bps": 48_000,
        "fps": None,
        "width": None,
        "height": None,
    }
    video_track = {"track": "1", "kind": "video", "codec": "vp8", "layers": [low, high]}
    audio_track = {"track": "0", "kind": "audio", "codec": "opus", "layers": [audio]}
    source = {
        "stream": stream,
        "source": None,
        "session": session,
        "tracks": [audio_track, video_track],
    }
    connection = {
        "session": session, "kind": "publisher", "stream": stream, "source": None, "connected": True,
        "remote": "192.0.2.1:5000", "protocol": "udp", "seconds": 5.0, "rtt_ms": 20.0, "loss": 0.01,
        "jitter_ms": 3.0, "bitrate_bps": 1_748_000, "packets": 900, "bytes": 1, "packets_lost": 9,
        "nacks": 2, "plis": 1, "estimate_bps": None,
    }  # fmt: skip
    return {"at": 1_790_000_000.0, "threads": [], "sources": [source], "sessions": [connection]}


async def tick(app: App, **values: Any) -> None:
    """One second of the media core."""
    app.core.figures_json = values
    app.state.engine.refresh()


async def test_live_stream_is_listed_with_its_feed(app: App) -> None:
    token = await app.publish_token(subscribeRequiresAuth=True)
    session = await app.go_live(token["token"])
    listed = data(await app.client.get("/api/monitoring/streams"))
    assert listed["pagination"] == {"totalItems": 1, "totalPages": 1, "itemsOnPage": 10}
    (stream,) = listed["data"]
    assert stream["streamId"] == f"{app.account}/demo"
    assert stream["live"] is True
    assert stream["secureStream"] is True
    assert stream["endTime"] is None
    (feed,) = stream["feeds"]
    assert feed["active"] is True
    assert feed["tokenId"] == token["id"]
    assert feed["client"]["ip"] == "127.0.0.1"
    assert session not in str(listed)


async def test_details_have_the_figures(app: App) -> None:
    session = await app.go_live((await app.publish_token())["token"])
    await tick(app, **figures(session, f"{app.account}/demo"))
    stream = data(await app.client.get("/api/monitoring/streams/demo"))
    (feed,) = stream["feeds"]
    assert (feed["packetLoss"], feed["frameRate"], feed["type"]) == (0.01, 30.0, "WebRtc")
    assert [stat["packetLoss"] for stat in feed["feedStats"]] == [0.01]
    audio, video = feed["trackDetails"]
    assert audio["codec"] == "opus"
    low, high = video["encodingDetails"]
    assert low["encodingStats"] == []
    (second,) = high["encodingStats"]
    assert second["resolution"] == "1280x720"
    assert second["bitRate"] == {"audioBitrate": 48_000, "videoBitrate": 1_700_000}
    assert (second["videoCodec"], second["rtt"], second["frames"]) == ("vp8", 20.0, 30.0)
    summary = data(await app.client.get("/api/monitoring/summary/demo"))
    assert summary["incomingBitrate"] == 1_748_000
    assert data(await app.client.get("/api/monitoring/summary"))["liveStreams"] == 1


async def test_ended_stream_stays_listed_for_its_time(app: App) -> None:
    session = await app.go_live((await app.publish_token())["token"])
    app.core.end_session(session, "deleted")
    await app.settle()
    (stream,) = data(await app.client.get("/api/monitoring/streams"))["data"]
    assert stream["live"] is False
    assert stream["endTime"] >= stream["startTime"]
    assert stream["feeds"][0]["endTime"]


async def test_list_is_filtered_sorted_and_paged(app: App) -> None:
    secure = await app.publish_token(
        streams=[{"streamName": ".*", "isRegex": True}], subscribeRequiresAuth=True
    )
    plain = await app.publish_token(streams=[{"streamName": ".*", "isRegex": True}])
    await app.go_live(secure["token"], "alpha")
    await app.go_live(plain["token"], "beta")
    app.core.end_session(await app.go_live(plain["token"], "gamma"), "deleted")
    await app.settle()

    async def names(query: str) -> list[str]:
        found = data(await app.client.get(f"/api/monitoring/streams?{query}"))
        return [stream["streamName"] for stream in found["data"]]

    assert await names("") == ["alpha", "beta", "gamma"]
    assert await names("isActive=true") == ["alpha", "beta"]
    assert await names("isActive=false") == ["gamma"]
    assert await names("isSecure=true") == ["alpha"]
    assert await names("searchSubstring=ET") == ["beta"]
    assert await names("isRestreaming=true") == []
    assert await names("cluster=auto&isDescending=true") == ["gamma", "beta", "alpha"]
    assert await names("cluster=fra-1") == []
    assert await names("sortBy=StartTime&isDescending=true&itemsOnPage=1&page=2") == ["beta"]
    assert await names("sortBy=Live&isDescending=true&itemsOnPage=2") == ["beta", "alpha"]


async def test_unknown_stream_is_refused(app: App) -> None:
    for path in ("streams", "summary"):
        answer = await app.client.get(f"/api/monitoring/{path}/nothing")
        assert refusal(answer, 404) == {"streamName": "No stream with name: nothing"}


async def test_viewers_are_counted_when_connected(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    viewer = (await app.whep()).headers["Location"].rpartition("/")[2]
    assert data(await app.client.get("/api/monitoring/streams/demo"))["viewerCount"] == 0
    app.core.connect(viewer)
    await app.settle()
    assert data(await app.client.get("/api/monitoring/streams/demo"))["viewerCount"] == 1


async def test_stop_ends_the_feeds_of_one_stream(app: App) -> None:
    token = (await app.publish_token(streams=[{"streamName": ".*", "isRegex": True}]))["token"]
    one, cam, other = (
        await app.go_live(token, "one"),
        await app.go_live(token, "one", "?sourceId=cam"),
        await app.go_live(token, "other"),
    )
    stop = {"streamId": f"{app.account}/one"}
    assert data(await app.client.post("/api/stream/stop", json=stop)) == {"stoppingLevel": "Stream"}
    await app.settle()
    assert set(app.core.sessions) == {other}
    assert {one, cam}.isdisjoint(app.core.sessions)
    assert data(await app.client.post("/api/stream/stop", json=stop)) == {"stoppingLevel": "None"}
    assert data(await app.client.post("/api/stream/stop/all")) == {"stoppingLevel": "Account"}
    assert app.core.sessions == {}


@pytest.mark.parametrize("stream", ["elsewhere/demo", "demo", "//"])
async def test_stop_reaches_the_own_account_only(app: App, stream: str) -> None:
    await app.go_live((await app.publish_token())["token"])
    answer = await app.client.post("/api/stream/stop", json={"streamId": stream})
    assert answer.status_code in {200, 400}
    assert len(app.core.sessions) == 1


async def test_metrics_have_the_busiest_streams_only(app: App) -> None:
    token = (await app.publish_token(streams=[{"streamName": ".*", "isRegex": True}]))["token"]
    session = await app.go_live(token, "alpha")
    await tick(app, **figures(session, f"{app.account}/alpha"))
    for number in range(60):
        await app.go_live(token, f"s{number}")
    page = (await app.visitor().get("/metrics")).text
    assert f'stagecast_stream_bitrate_bps{{stream="{app.account}/alpha"}} 1.748e+06' in page
    assert page.count("stagecast_stream_viewers{") == 50
    assert "stagecast_streams_live 61.0" in page
    assert session not in page
