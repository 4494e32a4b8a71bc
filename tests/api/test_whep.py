"""WHEP: who may watch, waiting, self-signed tokens."""

import asyncio
import time
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.api.conftest import App, data, session_of, until


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def sign(parent: dict[str, Any], stream: str = "demo", **streaming: Any) -> str:
    payload = {
        "streaming": {
            "tokenId": parent["id"], "streamName": stream, "tokenType": "Subscribe", **streaming
        },
        "exp": int(time.time()) + 60,
    }  # fmt: skip
    return jwt.encode({"alg": "HS256"}, payload, OctKey.import_key(parent["token"]))


async def test_stream_that_is_not_live_is_not_found(app: App) -> None:
    answer = await app.whep()
    assert (answer.status_code, answer.text) == (409, "Stream not found")
    elsewhere = await app.visitor().post(
        "/api/whep/nobody/demo", content="v=0", headers={"Content-Type": "application/sdp"}
    )
    assert (elsewhere.status_code, elsewhere.text) == (409, "Stream not found")


async def test_open_stream_is_watched_without_token(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    answer = await app.whep()
    assert answer.status_code == 201
    assert answer.headers["Location"].startswith("/api/whep/session/")


async def test_viewer_is_told_of_b_frames(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    (stream,) = {stream for stream, _ in app.core.live}
    layer = {"layer": "", "ssrc": 0, "bitrate_bps": 1, "packets": 1, "packets_lost": 0}
    for b_frames in (False, True):
        video = {"track": "video", "kind": "video", "codec": "h264"}
        source = {"stream": stream, "source": None, "session": "s"}
        tracks = [{**video, "layers": [{**layer, "b_frames": b_frames}]}]
        app.core.figures_json = {"at": 1.0, "sources": [{**source, "tracks": tracks}]}
        app.state.engine.refresh()
        assert ("Warning" in (await app.whep()).headers) is b_frames


async def test_source_is_chosen_by_the_viewer(app: App) -> None:
    await app.go_live((await app.publish_token())["token"], query="?sourceId=cam")
    assert (await app.whep()).status_code == 409
    answer = await app.whep(query="?sourceId=cam")
    assert app.core.sessions[session_of(answer)].source == "cam"


async def test_secure_stream_needs_a_token(app: App) -> None:
    publish = await app.publish_token(subscribeRequiresAuth=True)
    await app.go_live(publish["token"])
    refused = await app.whep()
    assert (refused.status_code, refused.text) == (
        401,
        "Unauthorized: this stream needs a subscribe token",
    )
    subscribe = await app.subscribe_token()
    assert (await app.whep(**bearer(subscribe["token"]))).status_code == 201


async def test_securing_a_live_stream_works_at_once_for_new_viewers(app: App) -> None:
    publish = await app.publish_token()
    await app.go_live(publish["token"])
    viewer = session_of(await app.whep())
    change = {"subscribeRequiresAuth": True}
    data(await app.client.put(f"/api/v2/publish_token/{publish['id']}", json=change))
    await app.settle()
    assert (await app.whep()).status_code == 401
    assert viewer in app.core.sessions


async def test_subscribe_token_is_checked_even_on_an_open_stream(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    assert (await app.whep(**bearer("0" * 64))).status_code == 401
    other = await app.subscribe_token(streams=[{"streamName": "other"}])
    assert (await app.whep(**bearer(other["token"]))).status_code == 403
    disabled = await app.subscribe_token()
    data(await app.client.put(f"/api/subscribe_token/{disabled['id']}", json={"isActive": False}))
    assert (await app.whep(**bearer(disabled["token"]))).text == "Unauthorized: Token is disabled"


async def test_viewer_waits_for_the_stream(app: App) -> None:
    publish = await app.publish_token()
    waiting = asyncio.create_task(app.whep(query="?wait=20"))
    await until_waiting(app)
    assert not waiting.done()
    await app.go_live(publish["token"])
    assert (await waiting).status_code == 201


async def test_waiting_viewer_of_a_secure_stream_still_needs_a_token(app: App) -> None:
    publish = await app.publish_token(subscribeRequiresAuth=True)
    waiting = asyncio.create_task(app.whep(query="?wait=20"))
    await until_waiting(app)
    await app.go_live(publish["token"])
    assert (await waiting).status_code == 401


async def test_waiting_ends_when_the_server_drains(app: App) -> None:
    waiting = asyncio.create_task(app.whep(query="?wait=60"))
    await until_waiting(app)
    app.state.whip.drain()
    app.state.live.close()
    assert (await waiting).status_code == 503


async def test_waiting_in_vain_is_answered_in_time(app: App) -> None:
    assert (await app.whep(query="?wait=0.01")).status_code == 409


@pytest.mark.parametrize("wait", ["-1", "61", "x", "nan", "inf"])
async def test_wait_that_is_no_time_is_refused(app: App, wait: str) -> None:
    answer = await app.whep(query=f"?wait={wait}")
    assert answer.status_code == 400
    assert answer.text.startswith("Validation errors:\nwait:")


async def until_waiting(app: App) -> None:
    await until(lambda: app.state.whip._waiting == 1)


async def test_self_signed_token_opens_its_stream(app: App) -> None:
    publish = await app.publish_token(subscribeRequiresAuth=True)
    await app.go_live(publish["token"])
    parent = await app.subscribe_token(streams=[{"streamName": ".*", "isRegex": True}])
    assert (await app.whep(**bearer(sign(parent)))).status_code == 201
    assert (await app.whep(query=f"?token={sign(parent)}")).status_code == 201
    assert (await app.whep(**bearer(sign(parent, "other")))).status_code == 403
    assert (await app.whep(**bearer(sign({**parent, "token": "0" * 64})))).status_code == 401
    assert (await app.whep(**bearer(sign({**parent, "id": 999})))).status_code == 401


async def test_self_signed_token_has_its_parents_limits(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    parent = await app.subscribe_token(streams=[{"streamName": "other"}])
    assert (await app.whep(**bearer(sign(parent)))).status_code == 403
    parent = await app.subscribe_token(allowedOrigins=["a.com"])
    token = bearer(sign(parent, allowedOrigins=["b.com"]))
    for origin, status in [("https://a.com", 201), ("https://b.com", 201), ("https://c.com", 403)]:
        assert (await app.whep(**token, Origin=origin)).status_code == status
    parent = await app.subscribe_token(tracking={"trackingId": "t"})
    assert (await app.whep(**bearer(sign(parent, tracking={"trackingId": "u"})))).status_code == 403
    viewer = session_of(await app.whep(**bearer(sign(parent))))
    assert app.state.live.find_view(viewer).tracking_id == "t"


async def test_self_signed_token_dies_with_its_parent(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    parent = await app.subscribe_token()
    token = sign(parent)
    viewer = session_of(await app.whep(**bearer(token)))
    data(await app.client.put(f"/api/subscribe_token/{parent['id']}", json={"isActive": False}))
    assert (await app.whep(**bearer(token))).status_code == 401
    await app.settle()
    assert viewer in app.core.sessions
    data(await app.client.delete(f"/api/subscribe_token/{parent['id']}"))
    await app.settle()
    assert viewer not in app.core.sessions


async def test_publish_secret_cannot_sign(app: App) -> None:
    publish = await app.publish_token()
    await app.go_live(publish["token"])
    assert (await app.whep(**bearer(sign(publish)))).status_code == 401


async def test_refused_codecs_are_told(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.core_double import CoreError

    def refuse(**_arguments: Any) -> Any:
        raise CoreError(
            "sdp.no_common_codec", "The stream has video in av1, which the offer lacks."
        )

    await app.go_live((await app.publish_token())["token"])
    monkeypatch.setattr(app.core, "view", refuse)
    answer = await app.whep()
    assert (answer.status_code, answer.text) == (
        406,
        "The stream has video in av1, which the offer lacks.",
    )


async def test_viewer_who_left_while_waiting_gets_no_session(app: App, listening: str) -> None:
    publish = await app.publish_token()
    headers = {"Content-Type": "application/sdp"}
    async with httpx2.AsyncClient(base_url=listening) as client:
        path = f"/api/whep/{app.account}/demo?wait=20"
        leaving = asyncio.create_task(client.post(path, content="v=0", headers=headers))
        await until_waiting(app)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    feed = await app.go_live(publish["token"])
    await until(lambda: app.state.whip._waiting == 0)
    assert set(app.core.sessions) == {feed}
