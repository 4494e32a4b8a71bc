"""Who may come in by RTMP, SRT and HLS: what the media core asks, and what it is told."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import App, MakeApp, data
from tests.api.kit import Kit, kit_of


@pytest.fixture
async def kit(app: App) -> Kit:
    return await kit_of(app)


async def ask(app: App, path: str, **options: Any) -> dict[str, Any]:
    """The verdict on somebody who knocks."""
    question = app.core.ask(path, **options)
    app.state.engine._pump()
    while question not in app.core.verdicts:
        await asyncio.gather(*app.state.door._answering)
    return app.core.verdicts[question]


async def refused(app: App, code: str, path: str, **options: Any) -> str:
    verdict = await ask(app, path, **options)
    assert (verdict["verdict"], verdict.get("code")) == ("refuse", code), verdict
    assert set(verdict) == {"verdict", "code", "message"}
    return verdict["message"]


def playing(path: str, protocol: str = "hls", **query: str) -> dict[str, Any]:
    return {"path": path, "action": "play", "protocol": protocol, "query": query}


# Publishing with a livestream's key


@pytest.mark.parametrize(
    ("protocol", "path"),
    [("rtmp", "live/{}"), ("rtmps", "/live/{}/"), ("srt", "live/{}"), ("srt", "{}")],
)
async def test_a_key_opens_its_livestream(kit: Kit, protocol: str, path: str) -> None:
    made = await kit.create()
    verdict = await ask(kit.app, path.format(made["stream_key"]), protocol=protocol)
    stream = f"{kit.app.account}/{made['id']}"
    assert verdict == {"verdict": "admit", "stream": stream, "source": None}


@pytest.mark.parametrize(
    "path", ["live/" + "0" * 64, "live/", "live", "0" * 64, "live/x", "live/' OR 1=1", "live/\0"]
)
async def test_wrong_keys_are_refused(kit: Kit, path: str) -> None:
    await kit.create()
    await refused(kit.app, "unauthorized", path)


async def test_the_other_ids_of_a_livestream_are_no_keys(kit: Kit) -> None:
    made = await kit.create()
    for name in (made["id"], made["playback_id"], made["stream_key"].upper()):
        await refused(kit.app, "unauthorized", f"live/{name}")


# Publishing with a token


async def test_a_publish_token_opens_its_stream(app: App) -> None:
    token = (await app.publish_token())["token"]
    wanted = {"verdict": "admit", "stream": f"{app.account}/demo", "source": None}
    packed = base64.urlsafe_b64encode(bytes.fromhex(token)).rstrip(b"=").decode()
    digits = base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
    assert await ask(app, "v2/pub/demo", query={"token": token}) == wanted
    for text in (packed, digits, token):
        assert await ask(app, "demo", protocol="srt", query={"t": text}) == wanted


@pytest.mark.parametrize(
    ("fields", "path", "query", "code"),
    [
        ({}, "v2/pub/demo", {}, "unauthorized"),
        ({}, "v2/pub/demo", {"token": "0" * 64}, "unauthorized"),
        ({}, "v2/pub/other", {"token": "TOKEN"}, "forbidden"),
        ({}, "v2/pub/", {"token": "TOKEN"}, "not_found"),
        ({}, "app/demo", {"token": "TOKEN"}, "not_found"),
        ({"multisource": False}, "v2/pub/demo", {"token": "TOKEN", "sourceId": "cam"}, "forbidden"),
        ({}, "v2/pub/demo", {"token": "TOKEN", "videoOnly": ""}, "forbidden"),
        ({"allowedIpAddresses": ["198.51.100.0/24"]}, "v2/pub/demo", {"token": "TOKEN"}, "forbidden"),
    ],
)  # fmt: skip
async def test_a_publish_token_is_held_to_its_limits(
    app: App, fields: Any, path: str, query: dict[str, str], code: str
) -> None:
    token = (await app.publish_token(**fields))["token"]
    query = {name: value.replace("TOKEN", token) for name, value in query.items()}
    assert token not in await refused(app, code, path, query=query)


async def test_a_disabled_token_is_refused(app: App) -> None:
    token = await app.publish_token()
    data(await app.client.put(f"/api/v2/publish_token/{token['id']}", json={"isActive": False}))
    text = await refused(app, "unauthorized", "v2/pub/demo", query={"token": token["token"]})
    assert "disabled" in text


async def test_a_multisource_token_names_sources(app: App) -> None:
    token = (await app.publish_token(multisource=True))["token"]
    verdict = await ask(app, "v2/pub/demo", query={"token": token, "sourceId": "cam-2"})
    assert verdict["source"] == "cam-2"
    await refused(app, "forbidden", "v2/pub/demo", query={"token": token, "sourceId": "x" * 200})


# The session that follows


async def test_an_admitted_encoder_is_a_feed_of_its_token(app: App) -> None:
    token = await app.publish_token(subscribeRequiresAuth=True)
    question = app.core.ask("v2/pub/demo", query={"token": token["token"]})
    await ask(app, "live/x")  # somebody else, at the same time
    session = app.core.come_in(question)
    app.core.go_live(session, "h264")
    await app.settle()
    monitored = data(await app.client.get("/api/monitoring/streams/demo"))
    assert (monitored["live"], monitored["secureStream"]) == (True, True)
    feed = monitored["feeds"][0]
    assert (feed["tokenId"], feed["type"], feed["client"]["ip"]) == (
        token["id"],
        "Rtmp",
        "192.0.2.1",
    )
    assert (await app.whep("demo")).status_code == 401
    data(await app.client.delete(f"/api/publish_token/{token['id']}"))
    await app.settle()
    assert session not in app.core.sessions


async def test_a_livestreams_encoder_is_a_feed_without_token(kit: Kit) -> None:
    made = await kit.create()
    await kit.publish(made)
    monitored = data(await kit.app.client.get(f"/api/monitoring/streams/{made['id']}"))
    assert (monitored["secureStream"], monitored["feeds"][0]["tokenId"]) == (False, None)
    active = data(await kit.app.client.get("/api/publish_token/active/all"))
    assert active == {"tokenIds": []}
    assert (await kit.app.whep(made["id"])).status_code == 201


async def test_a_token_deleted_in_between_leaves_no_session(app: App) -> None:
    token = await app.publish_token()
    question = app.core.ask("v2/pub/demo", query={"token": token["token"]})
    await ask(app, "live/x")
    data(await app.client.delete(f"/api/publish_token/{token['id']}"))
    session = app.core.come_in(question)
    app.state.engine._pump()
    await asyncio.gather(*app.state.door._answering)
    assert session not in app.core.sessions


async def test_a_livestream_deleted_in_between_leaves_no_session(kit: Kit) -> None:
    made = await kit.create()
    question = kit.app.core.ask(f"live/{made['stream_key']}")
    await kit.answered(question)
    await kit.call("DELETE", f"/livestreams/{made['id']}")
    session = kit.app.core.come_in(question)
    await kit.flushed()
    assert session not in kit.app.core.sessions


# Playing


async def test_a_livestream_plays_by_its_playback_id(kit: Kit) -> None:
    made = await kit.create()
    stream = f"{kit.app.account}/{made['id']}"
    wanted = {"verdict": "admit", "stream": stream, "source": None}
    assert await ask(kit.app, **playing(made["playback_id"])) == wanted
    assert await ask(kit.app, **playing(stream)) == wanted
    await refused(kit.app, "not_found", **playing("live/" + made["playback_id"], "rtmp"))
    await kit.publish(made)
    for path in ("live/", "play/", ""):
        assert await ask(kit.app, **playing(path + made["playback_id"], "rtmp")) == wanted
    await refused(kit.app, "not_found", **playing(made["stream_key"]))
    await refused(kit.app, "not_found", **playing(uuid.uuid4().hex))


async def test_an_open_stream_plays_while_and_after_it_is_live(app: App) -> None:
    stream = f"{app.account}/demo"
    await refused(app, "not_found", **playing(stream))
    session = await app.go_live((await app.publish_token())["token"])
    for protocol in ("hls", "rtmp", "srt"):
        assert (await ask(app, **playing(stream, protocol)))["verdict"] == "admit"
    assert (await ask(app, **playing("v2/sub/" + stream, "rtmp")))["verdict"] == "admit"
    app.core.end_session(session, "peer_closed")
    await app.settle()
    assert (await ask(app, **playing(stream)))["verdict"] == "admit"
    await refused(app, "not_found", **playing(stream, "rtmp"))


@pytest.mark.parametrize(
    "path", ["", "/", "demo", "a/", "/demo", "a/b/c", "a/..", "\0/x", "x" * 5000]
)
async def test_other_paths_play_nothing(app: App, path: str) -> None:
    await refused(app, "not_found", **playing(path))


async def test_a_secure_stream_plays_with_a_subscribe_token_only(app: App) -> None:
    stream = f"{app.account}/demo"
    await app.go_live((await app.publish_token(subscribeRequiresAuth=True))["token"])
    token = (await app.subscribe_token(allowedOrigins=["good.example"]))["token"]
    await refused(app, "unauthorized", **playing(stream))
    await refused(app, "unauthorized", **playing(stream, token="0" * 64))
    await refused(app, "forbidden", **playing(stream, token=token))
    bad = {**playing(stream, token=token), "origin": "https://bad.example"}
    await refused(app, "forbidden", **bad)
    good = {**playing(stream, token=token), "origin": "https://good.example"}
    assert (await ask(app, **good))["verdict"] == "admit"


async def test_an_admitted_player_with_a_session_is_a_viewer(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    question = app.core.ask(**playing(f"{app.account}/demo", "rtmp"))
    await ask(app, "live/x")
    app.core.come_in(question, kind="viewer")
    await app.settle()
    assert data(await app.client.get("/api/monitoring/streams/demo"))["viewerCount"] == 1


async def test_an_audience_costs_one_look_a_second(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecast.livestreams import door
    from stagecast.livestreams.service import LivestreamService

    looks: list[str] = []
    look = LivestreamService.to_play

    async def counted(self: LivestreamService, playback_id: str) -> Any:
        looks.append(playback_id)
        return await look(self, playback_id)

    monkeypatch.setattr(LivestreamService, "to_play", counted)
    made = await kit.create()
    clock = kit.app.state.door._clock = kit.clock
    for number in range(20):
        verdict = await ask(kit.app, **playing(made["playback_id"]), remote=f"198.51.100.{number}")
        assert verdict["verdict"] == "admit"
    assert len(looks) == 1
    await kit.call("PUT", f"/livestreams/{made['id']}/disable")
    clock.now += door._PLACE_SECONDS
    await refused(kit.app, "forbidden", **playing(made["playback_id"]))


# Hostile and failing


async def test_guessing_is_throttled_by_address(make_app: MakeApp) -> None:
    app = await make_app(livestreams__wrong_keys=3)
    await app.log_in()
    made = await (await kit_of(app)).create()
    for _ in range(3):
        await refused(app, "unauthorized", "live/" + "0" * 64, remote="198.51.100.1")
    text = await refused(app, "unavailable", f"live/{made['stream_key']}", remote="198.51.100.1")
    assert "Too many wrong keys" in text
    verdict = await ask(app, f"live/{made['stream_key']}", remote="198.51.100.2")
    assert verdict["verdict"] == "admit"


async def test_a_player_without_token_is_no_guesser(make_app: MakeApp) -> None:
    app = await make_app(livestreams__wrong_keys=1)
    await app.log_in()
    stream = f"{app.account}/demo"
    await app.go_live((await app.publish_token(subscribeRequiresAuth=True))["token"])
    for _ in range(3):
        await refused(app, "unauthorized", **playing(stream))


async def test_what_goes_wrong_here_is_a_refusal_too(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecast.livestreams.service import LivestreamService

    async def fail(*_arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(LivestreamService, "to_publish", fail)
    assert "disk" not in await refused(kit.app, "unavailable", "live/x")


async def test_an_answer_comes_in_time(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecast.livestreams import door
    from stagecast.livestreams.service import LivestreamService

    async def hang(*_arguments: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(LivestreamService, "to_publish", hang)
    monkeypatch.setattr(door, "_ANSWER_SECONDS", 0.02)
    assert "too busy" in await refused(kit.app, "unavailable", "live/x")
    assert door._ANSWER_SECONDS < 5


async def test_nobody_comes_in_while_the_server_drains(kit: Kit) -> None:
    from stagecast.app import drain

    made = await kit.create()
    drain(kit.app.asgi)
    await refused(kit.app, "unavailable", f"live/{made['stream_key']}")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.text(max_size=80)
    | st.sampled_from(["live/", "v2/pub/", "v2/sub/", "play/"]).flatmap(
        lambda prefix: st.text(max_size=40).map(lambda rest: prefix + rest)
    ),
    query=st.dictionaries(
        st.sampled_from(["token", "t", "auth", "sourceId", "priority"]) | st.text(max_size=8),
        st.text(max_size=90),
        max_size=4,
    ),
    action=st.sampled_from(["publish", "play"]),
    protocol=st.sampled_from(["rtmp", "rtmps", "srt", "hls"]),
    remote=st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "nonsense"]),
    origin=st.none() | st.text(max_size=20),
)
async def test_every_question_is_answered_with_a_known_verdict(app: App, **options: Any) -> None:
    app.state.door._wrong_keys._failures.clear()
    verdict = await ask(app, options.pop("path"), **options)
    assert verdict["verdict"] == "refuse"
    assert verdict["code"] in {"unauthorized", "forbidden", "not_found", "conflict"}
    json.dumps(verdict)
