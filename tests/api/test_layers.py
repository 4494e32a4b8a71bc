"""The layer extension of WHEP: the event that tells layers, and choosing one."""

from typing import Any

import httpx2
import pytest

from tests.api.conftest import App, data, session_of
from tests.api.test_events import Events, subscribe


def layer(
    name: str, height: int, *, active: bool = True, resting: bool = False, **levels: Any
) -> dict[str, Any]:
    bitrate = height * 1000
    return {
        "layer": name,
        "ssrc": height,
        "bitrate_bps": bitrate,
        "packets": 10,
        "packets_lost": 0,
        "fps": 30.0,
        "width": height * 16 // 9,
        "height": height,
        "active": active,
        "resting": resting,
        "levels": levels.get("levels")
        or [{"bitrate_bps": bitrate + 5000, "width": height * 16 // 9, "height": height}],
    }


def figures(app: App, session: str, *layers: dict[str, Any]) -> None:
    """What the media core measures of a feed."""
    held = app.core.sessions[session]
    video = {"track": "1", "kind": "video", "codec": "vp8", "layers": list(layers)}
    source = {"stream": held.stream, "source": held.source, "session": session, "tracks": [video]}
    app.core.figures_json = {"at": 1.0, "sources": [source]}
    app.state.engine.refresh()


async def test_viewer_learns_the_layers_and_their_changes(app: App, listening: str) -> None:
    feed = await app.go_live((await app.publish_token())["token"])
    figures(app, feed, layer("h", 360), layer("f", 720), layer("q", 180, active=False))
    viewer = await app.whep()
    created = await subscribe(app, viewer.headers["Location"], ["layers"])
    async with (
        httpx2.AsyncClient(base_url=listening) as client,
        client.stream("GET", created.headers["Location"]) as response,
    ):
        events = Events(response)
        media = (await events.named("layers"))["medias"]["v"]
        assert [encoding["id"] for encoding in media["active"]] == ["f", "h"]
        assert [encoding["simulcastIdx"] for encoding in media["active"]] == [2, 1]
        assert media["inactive"] == [{"id": "q"}]
        best = media["layers"][0]
        assert best["encodingId"] == "f"
        assert (best["width"], best["height"], best["totalBitrate"]) == (1280, 720, 725000)
        assert (best["spatialLayerId"], best["temporalLayerId"]) == (255, 255)
        figures(app, feed, layer("h", 360))
        media = (await events.named("layers"))["medias"]["v"]
        assert [entry["encodingId"] for entry in media["layers"]] == ["h"]


async def test_layer_that_rests_is_inactive_and_may_be_chosen(app: App, listening: str) -> None:
    feed = await app.go_live((await app.publish_token())["token"])
    resting = layer("f", 720, active=False, resting=True)
    figures(app, feed, layer("q", 180), resting, layer("h", 360, active=False))
    created = await subscribe(app, (await app.whep()).headers["Location"], ["layers"])
    async with (
        httpx2.AsyncClient(base_url=listening) as client,
        client.stream("GET", created.headers["Location"]) as response,
    ):
        media = (await Events(response).named("layers"))["medias"]["v"]
    assert [encoding["id"] for encoding in media["active"]] == ["q"]
    (f, h) = media["inactive"]
    assert (f["id"], f["totalBitrate"], f["width"]) == ("f", 725000, 1280)
    assert h == {"id": "h"}
    assert [entry["encodingId"] for entry in media["layers"]] == ["f", "q"]


async def test_publisher_learns_which_layers_somebody_needs(app: App, listening: str) -> None:
    answer = await app.whip((await app.publish_token())["token"])
    assert 'viewercount,wantedlayers"' in answer.headers["Link"]
    session = session_of(answer)
    app.core.go_live(session)
    app.core.ask_layers(session, q=True, f=False)
    await app.settle()
    created = await subscribe(app, answer.headers["Location"], ["wantedlayers", "viewercount"])
    async with (
        httpx2.AsyncClient(base_url=listening) as client,
        client.stream("GET", created.headers["Location"]) as response,
    ):
        events = Events(response)
        told = await events.next()
        assert told == (
            "wantedlayers",
            {"medias": {"1": {"wanted": ["q"], "unwanted": ["f"]}}},
        ), "who comes later is told, too"
        await events.named("viewercount")
        app.core.ask_layers(session, q=True, f=True)
        await app.settle()
        _, told = await events.next()
        assert told == {"medias": {"1": {"wanted": ["q", "f"], "unwanted": []}}}


async def test_what_one_publisher_is_asked_concerns_no_other(app: App, listening: str) -> None:
    token = (await app.publish_token())["token"]
    main = await app.whip(token)
    other = await app.whip(token, query="?sourceId=two")
    for answer in (main, other):
        app.core.go_live(session_of(answer))
    viewer = await app.whep()
    assert "wantedlayers" not in viewer.headers["Link"]
    app.core.ask_layers(session_of(main), q=True, f=False)
    await app.settle()
    for answer in (other, viewer):
        names = ["wantedlayers", "viewercount"]
        created = await subscribe(app, answer.headers["Location"], names)
        async with (
            httpx2.AsyncClient(base_url=listening) as client,
            client.stream("GET", created.headers["Location"]) as response,
        ):
            assert (await Events(response).next())[0] == "viewercount"


async def test_monitoring_measures_the_best_layer_that_comes(app: App) -> None:
    feed = await app.go_live((await app.publish_token())["token"])
    figures(app, feed, layer("q", 180), layer("f", 720, active=False, resting=True))
    stream = data(await app.client.get("/api/monitoring/streams/demo"))
    encodings = stream["feeds"][0]["trackDetails"][0]["encodingDetails"]
    (low, best) = (encoding["encodingStats"] for encoding in encodings)
    assert low[-1]["resolution"] == "320x180"
    assert best == []


async def test_spatial_and_temporal_layers_are_listed_best_first(app: App, listening: str) -> None:
    feed = await app.go_live((await app.publish_token())["token"])
    levels = [
        {"spatial": s, "temporal": t, "bitrate_bps": 100 * (2 * s + t + 1), "height": 180 << s}
        for s in (0, 1)
        for t in (0, 1)
    ]
    figures(app, feed, layer("", 360, levels=levels))
    created = await subscribe(app, (await app.whep()).headers["Location"], ["layers"])
    async with (
        httpx2.AsyncClient(base_url=listening) as client,
        client.stream("GET", created.headers["Location"]) as response,
    ):
        listed = (await Events(response).named("layers"))["medias"]["v"]["layers"]
        ids = [(entry["spatialLayerId"], entry["temporalLayerId"]) for entry in listed]
        assert ids == [(1, 1), (1, 0), (0, 1), (0, 0)]
        assert listed[0]["height"] == 360


async def test_viewer_chooses_a_layer_and_lets_go_of_it(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    viewer = await app.whep()
    url = f"{viewer.headers['Location']}/layer"
    links = viewer.headers.get_list("Link")
    assert f'<{url}>; rel="urn:ietf:params:whep:ext:core:layer"' in links
    chosen = app.core.sessions[session_of(viewer)].options
    # As the hosted player of others does it: a whole entry of the event.
    entry = {
        "mediaId": "v",
        "encodingId": "h",
        "simulcastIdx": 1,
        "spatialLayerId": 255,
        "bitrate": 1,
    }
    answer = await app.visitor().post(url, json=entry)
    assert answer.status_code == 200
    assert chosen["layer"] == {"encodingId": "h", "spatialLayerId": 255}
    await app.visitor().post(url, json={"maxHeight": 360, "maxTemporalLayerId": 1})
    assert chosen["layer"] == {"maxHeight": 360, "maxTemporalLayerId": 1}
    assert (await app.visitor().delete(url)).status_code == 200
    assert chosen["layer"] == {}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "nonsense",
        '{"encodingId": 7}',
        '{"encodingId": "%s"}' % ("x" * 65),
        '{"spatialLayerId": -1}',
        '{"spatialLayerId": 256}',
        '{"maxHeight": "720"}',
        '{"encodingId": "h", "x": "%s"}' % ("x" * 5000),
    ],
)
async def test_layer_that_is_no_layer_is_refused(app: App, body: str) -> None:
    await app.go_live((await app.publish_token())["token"])
    viewer = await app.whep()
    answer = await app.visitor().post(
        f"{viewer.headers['Location']}/layer",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "layer" not in app.core.sessions[session_of(viewer)].options


async def test_layers_are_of_viewers_only(app: App) -> None:
    publisher = await app.whip((await app.publish_token())["token"])
    assert not any("core:layer" in link for link in publisher.headers.get_list("Link"))
    session = session_of(publisher)
    answer = await app.visitor().post(f"/api/whep/session/{session}/layer", json={})
    assert answer.status_code == 404
    assert (await app.visitor().delete("/api/whep/session/none/layer")).status_code == 404


async def test_another_token_cannot_choose(app: App) -> None:
    await app.go_live((await app.publish_token(subscribeRequiresAuth=True))["token"])
    token = (await app.subscribe_token())["token"]
    viewer = await app.whep(Authorization=f"Bearer {token}")
    url = f"{viewer.headers['Location']}/layer"
    wrong = {"Authorization": "Bearer " + "0" * 64}
    assert (await app.visitor().post(url, json={}, headers=wrong)).status_code == 401
    assert (await app.visitor().delete(url, headers=wrong)).status_code == 401


async def test_monitoring_shows_the_layers_of_a_feed(app: App) -> None:
    feed = await app.go_live((await app.publish_token())["token"])
    figures(app, feed, layer("h", 360), layer("q", 180, active=False))
    stream = data(await app.client.get("/api/monitoring/streams/demo"))
    encodings = stream["feeds"][0]["trackDetails"][0]["encodingDetails"]
    assert [encoding["active"] for encoding in encodings] == [True, False]
    assert encodings[0]["layers"] == [
        {
            "spatialLayerId": None,
            "temporalLayerId": None,
            "bitrate": 365000,
            "width": 640,
            "height": 360,
        }
    ]
