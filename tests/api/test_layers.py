"""The layer extension of WHEP: the event that tells layers, and choosing one."""

from typing import Any

import httpx2
import pytest

from tests.api.conftest import App, data, session_of
from tests.api.test_events import Events, subscribe


def layer(name: str, height: int, *, active: bool = True, **levels: Any) -> dict[str, Any]:
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
