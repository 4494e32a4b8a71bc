"""The livestream API: shapes, paging, keys, refusals, and what events of the media core make of a livestream."""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import App, MakeApp, data, refusal
from tests.api.kit import Kit, kit_of, ok, refused


@pytest.fixture
async def kit(app: App) -> Kit:
    return await kit_of(app)


# Shapes


async def test_create_answers_what_the_product_text_shows(kit: Kit) -> None:
    made = await kit.create()
    assert made["status"] == "OFFLINE"
    assert made["name"] == "test_livestream"
    assert made["meeting_id"] is None
    assert made["disabled"] is False
    assert made["ingest_server"] == "rtmp://test:1935/live/"
    assert re.fullmatch("[0-9a-f]{64}", made["stream_key"])
    assert str(uuid.UUID(made["id"])) == made["id"]
    assert re.fullmatch(r"http://test:8081/[0-9a-f]{32}/manifest/video\.m3u8", made["playback_url"])


async def test_fetching_one_satisfies_all_three_documented_shapes(kit: Kit) -> None:
    made = await kit.create()
    body = await kit.get(f"/livestreams/{made['id']}")
    flat = body["data"]
    assert {name: flat[name] for name in made} == made
    assert (flat["ingest_seconds"], flat["viewer_seconds"]) == (0, 0)
    assert flat["livestream"] == made
    assert (flat["sessions"], flat["session"]) == ([], None)
    assert flat["paging"] == body["paging"] == {
        "total_count": 0, "start_offset": 0, "end_offset": 0,
    }  # fmt: skip


async def test_list_is_an_array_with_paging_beside_it(kit: Kit) -> None:
    made = [await kit.create(f"number-{number}") for number in range(5)]
    first = await kit.get("/livestreams", per_page=2)
    assert [one["name"] for one in first["data"]] == ["number-4", "number-3"]
    assert first["paging"] == {"total_count": 5, "start_offset": 1, "end_offset": 2}
    assert await kit.get("/livestreams", per_page=2, page_no=0) == first
    last = await kit.get("/livestreams", per_page=2, page_no=3)
    assert last["data"] == [made[0]]
    assert last["paging"] == {"total_count": 5, "start_offset": 5, "end_offset": 5}
    beyond = await kit.get("/livestreams", page_no=9)
    assert (beyond["data"], beyond["paging"]["total_count"]) == ([], 5)
    oldest = await kit.get("/livestreams", sort_order="ASC", exclude_meetings=True)
    assert oldest["data"] == made
    assert (await kit.get("/livestreams", search="r-3"))["data"] == [made[3]]
    assert (await kit.get("/livestreams", status="LIVE"))["data"] == []
    assert len((await kit.get("/livestreams", start_time=made[0]["created_at"]))["data"]) == 5
    assert (await kit.get("/livestreams", end_time="2020-01-01T00:00:00Z"))["data"] == []


@pytest.mark.parametrize(
    "options", [{}, {"json": {}}, {"json": {"name": None}}, {"json": {"name": ""}}]
)
async def test_a_livestream_needs_no_name(kit: Kit, options: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    made = ok(await kit.call("POST", "/livestreams", headers=headers, **options), 201)["data"]
    assert not made["name"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "no spaces"}, '"name" String should match pattern'),
        ({"name": 5}, '"name" must be a string'),
        ({"name": "x" * 129}, '"name" String should have at most'),
        ({"title": "x"}, '"title" is not allowed'),
        ([], "must be an object"),
    ],
)
async def test_wrong_fields_are_named(kit: Kit, body: Any, message: str) -> None:
    text = refused(await kit.call("POST", "/livestreams", json=body), 400)
    assert text.startswith("BAD_REQUEST: ")
    assert message in text


async def test_body_that_is_no_json_is_refused(kit: Kit) -> None:
    answer = await kit.call(
        "POST", "/livestreams", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert refused(answer, 400) == 'BAD_REQUEST: "body" must be valid JSON'


async def test_the_same_idempotency_key_makes_one_livestream(kit: Kit) -> None:
    async def post(name: str, key: str) -> httpx2.Response:
        return await kit.call(
            "POST", "/livestreams", json={"name": name}, headers={"Idempotency-Key": key}
        )

    made = ok(await post("a", "k1"), 201)
    assert ok(await post("a", "k1"), 201) == made
    assert ok(await post("a", "k2"), 201) != made
    refused(await post("b", "k1"), 409)
    assert (await kit.get("/livestreams"))["paging"]["total_count"] == 2


@pytest.mark.parametrize(
    "path",
    ["/livestreams/{}", "/livestreams/{}/active-livestream-session", "/livestreams/sessions/{}"],
)
async def test_unknown_ids_are_not_found_and_others_are_no_guid(kit: Kit, path: str) -> None:
    refused(await kit.call("GET", path.format(uuid.uuid4())), 404)
    text = refused(await kit.call("GET", path.format("nonsense")), 400)
    assert text == 'BAD_REQUEST: "id" must be a valid GUID'


async def test_unknown_addresses_answer_in_both_envelopes(kit: Kit) -> None:
    refused(await kit.call("GET", "/nothing"), 404)
    refused(await kit.call("PATCH", "/livestreams"), 405)
    refused(await kit.client.get("/v2/nothing"), 404)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    query=st.dictionaries(
        st.sampled_from(
            ["page_no", "per_page", "status", "start_time", "end_time", "sort_order", "search",
             "exclude_meetings", "filters", "livestream_id"]
        ),
        st.text(max_size=40) | st.integers().map(str) | st.floats().map(str),
    )
)  # fmt: skip
async def test_no_query_makes_the_server_fail(kit: Kit, query: dict[str, str]) -> None:
    for path in (
        "/livestreams",
        "/analytics/livestreams/overall",
        "/analytics/livestreams/daywise",
    ):
        answer = await kit.call("GET", path, params=query)
        assert answer.status_code in {200, 400}, answer.text


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200))
async def test_no_body_makes_the_server_fail(kit: Kit, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "same"}
    answer = await kit.call("POST", "/livestreams", content=body, headers=headers)
    assert answer.status_code in {201, 400, 409}, answer.text


# Keys, switching off, deleting


async def test_reset_makes_a_new_key_and_the_old_one_is_refused(kit: Kit) -> None:
    made = await kit.create()
    path = f"/livestreams/{made['id']}/reset-stream-key"
    headers = {"Content-Type": "application/json"}
    after = ok(await kit.call("POST", path, headers=headers))["data"]
    assert after["stream_key"] != made["stream_key"]
    assert after["playback_url"] == made["playback_url"]
    assert after["org_id"] == kit.app_id
    old = await kit.answered(kit.app.core.ask(f"live/{made['stream_key']}"))
    assert (old["verdict"], old["code"]) == ("refuse", "unauthorized")
    new = await kit.answered(kit.app.core.ask(f"live/{after['stream_key']}"))
    assert new["verdict"] == "admit"


async def test_disabling_ends_what_is_live_and_refuses_encoders_and_players(kit: Kit) -> None:
    made = await kit.create()
    session = await kit.publish(made)
    path = f"/livestreams/{made['id']}"
    for _again in range(2):
        assert ok(await kit.call("PUT", f"{path}/disable"))["data"]["disabled"] is True
    assert session not in kit.app.core.sessions
    await kit.flushed()
    assert (await kit.get(path))["data"]["status"] == "IDLE"
    playback_id = made["playback_url"].split("/")[3]
    for question in (
        kit.app.core.ask(f"live/{made['stream_key']}"),
        kit.app.core.ask(playback_id, action="play", protocol="hls"),
        kit.app.core.ask(f"{kit.app.account}/{made['id']}", action="play", protocol="hls"),
    ):
        verdict = await kit.answered(question)
        assert (verdict["verdict"], verdict["code"]) == ("refuse", "forbidden")
    assert ok(await kit.call("PUT", f"{path}/enable"))["data"]["disabled"] is False
    assert (await kit.answered(kit.app.core.ask(f"live/{made['stream_key']}")))[
        "verdict"
    ] == "admit"


async def test_deleting_ends_what_is_live_and_keeps_the_sums(kit: Kit) -> None:
    made = await kit.create()
    session = await kit.publish(made)
    kit.clock.now += 5
    await kit.flushed()
    assert ok(await kit.call("DELETE", f"/livestreams/{made['id']}"))["data"] == {"id": made["id"]}
    assert session not in kit.app.core.sessions
    await kit.flushed()
    refused(await kit.call("GET", f"/livestreams/{made['id']}"), 404)
    overall = (await kit.get("/analytics/livestreams/overall"))["data"]
    assert overall == {"count": 1, "total_ingest_seconds": 5, "total_viewer_seconds": 0}


async def test_keys_are_not_stored_in_the_clear(kit: Kit) -> None:
    made = await kit.create()
    for file in kit.app.state.settings.data.glob("stagecast.db*"):
        content = file.read_bytes()
        assert made["stream_key"].encode() not in content
        assert bytes.fromhex(made["stream_key"]) not in content
        assert kit.token.encode() not in content


# Status, sessions, counters


async def test_a_livestream_goes_live_idles_and_counts(kit: Kit) -> None:
    made = await kit.create()
    path = f"/livestreams/{made['id']}"
    refused(await kit.call("GET", f"{path}/active-livestream-session"), 404)
    session = await kit.publish(made)
    assert (await kit.get(path))["data"]["status"] == "LIVE"
    assert [one["id"] for one in (await kit.get("/livestreams", status="LIVE"))["data"]] == [
        made["id"]
    ]
    kit.clock.now += 4
    viewer = (await kit.app.whep(made["id"])).headers["Location"].rpartition("/")[2]
    kit.app.core.connect(viewer)
    await kit.flushed()
    kit.clock.now += 6
    await kit.flushed()
    active = (await kit.get(f"{path}/active-livestream-session"))["data"]
    assert active["livestream"]["status"] == "LIVE"
    running = active["session"]
    assert (running["ingest_seconds"], running["viewer_seconds"]) == (10, 6)
    assert running["stopped_time"] is None
    assert running["invoked_time"] <= running["started_time"]
    kit.clock.now += 1
    kit.app.core.end_session(session, "peer_closed")
    await kit.flushed()
    kit.clock.now += 100
    await kit.flushed()
    details = (await kit.get(path))["data"]
    assert (details["status"], details["ingest_seconds"], details["viewer_seconds"]) == (
        "IDLE",
        11,
        7,
    )
    assert details["sessions"] == [details["session"]]
    ended = ok(await kit.call("GET", f"/livestreams/sessions/{running['id']}"))["data"]
    assert ended == details["session"]
    assert ended["stopped_time"] is not None
    assert ended["err_message"] is None
    refused(await kit.call("GET", f"{path}/active-livestream-session"), 404)


async def test_an_encoder_soon_back_goes_on_with_its_session(kit: Kit) -> None:
    made = await kit.create()
    path = f"/livestreams/{made['id']}"
    session = await kit.publish(made)
    kit.clock.now += 3
    kit.app.core.end_session(session, "peer_closed")
    await kit.flushed()
    kit.clock.now += 9
    session = await kit.publish(made)
    kit.clock.now += 2
    await kit.flushed()
    sessions = (await kit.get(path))["data"]["sessions"]
    assert [(one["ingest_seconds"], one["stopped_time"]) for one in sessions] == [(5, None)]
    kit.app.core.end_session(session, "peer_closed")
    await kit.flushed()
    kit.clock.now += 11
    await kit.flushed()
    await kit.publish(made)
    body = await kit.get(path, per_page=1)
    assert body["paging"] == {"total_count": 2, "start_offset": 1, "end_offset": 1}
    assert body["data"]["session"]["ingest_seconds"] == 0
    days = (await kit.get("/analytics/livestreams/daywise"))["data"]
    assert [(day["count"], day["total_ingest_seconds"]) for day in days] == [(2, 5)]


async def test_a_failed_connection_is_told_with_its_reason(kit: Kit) -> None:
    made = await kit.create()
    path = f"/livestreams/{made['id']}"
    for attempt in range(3):
        question = kit.app.core.ask(f"live/{made['stream_key']}")
        await kit.answered(question)
        kit.app.core.end_session(kit.app.core.come_in(question), "error", f"No codec {attempt}.")
        await kit.flushed()
        kit.clock.now += 5
    details = (await kit.get(path))["data"]
    assert details["status"] == "ERRORED"
    assert [one["err_message"] for one in details["sessions"]] == ["No codec 2."]
    assert details["session"]["started_time"] is None
    invoked = details["session"]["invoked_time"]
    assert invoked is not None
    assert invoked <= details["session"]["stopped_time"]
    await kit.publish(made)
    details = (await kit.get(path))["data"]
    assert (details["status"], details["session"]["err_message"]) == ("LIVE", None)
    assert details["session"]["started_time"] is not None
    assert details["session"]["invoked_time"] == invoked
    days = (await kit.get("/analytics/livestreams/daywise"))["data"]
    assert [day["count"] for day in days] == [1]


async def test_an_encoder_that_stalls_is_told_of_in_words(kit: Kit) -> None:
    made = await kit.create()
    session = await kit.publish(made)
    kit.app.core.end_session(session, "stalled")
    await kit.flushed()
    details = (await kit.get(f"/livestreams/{made['id']}"))["data"]
    assert details["status"] == "ERRORED"
    assert details["session"]["err_message"] == "The encoder stopped sending."


async def test_hls_players_count_as_viewers(kit: Kit) -> None:
    made = await kit.create()
    await kit.publish(made)
    stream = f"{kit.app.account}/{made['id']}"

    async def figures(viewers: int, seconds: float) -> None:
        hls = [{"stream": stream, "source": None, "viewers": viewers, "viewer_seconds": seconds}]
        kit.app.core.figures_json = {"at": 1, "hls": hls}
        kit.app.state.engine.refresh()
        await kit.app.state.livestreams.flush()

    await figures(2, 1.5)
    await figures(3, 4.0)
    watched = data(await kit.app.client.get("/api/monitoring/streams/" + made["id"]))
    assert watched["viewerCount"] == 3
    await figures(1, 0.5)  # a new segmenter counts from zero
    details = (await kit.get(f"/livestreams/{made['id']}"))["data"]
    assert details["viewer_seconds"] == 4.5


async def test_a_crash_loses_nothing_that_was_written(make_app: MakeApp) -> None:
    before = await make_app()
    await before.log_in()
    kit = await kit_of(before)
    made = await kit.create()
    await kit.publish(made)
    kit.clock.now += 7
    await kit.flushed()

    after = await make_app()  # on the same data, while the first never said goodbye
    again = Kit(after, kit.token)
    again.app_id = kit.app_id
    path = f"/livestreams/{made['id']}"
    details = (await again.get(path))["data"]
    assert (details["status"], details["ingest_seconds"]) == ("IDLE", 7)
    assert details["stream_key"] == made["stream_key"]
    assert details["session"]["stopped_time"] is not None
    await after.state.livestreams.start()  # the clock of the test is another
    await again.publish(made)
    again.clock.now += 2
    await again.flushed()
    details = (await again.get(path))["data"]
    assert (details["status"], details["ingest_seconds"]) == ("LIVE", 9)
    assert len(details["sessions"]) == 1
    days = (await again.get("/analytics/livestreams/daywise"))["data"]
    assert [(day["count"], day["total_ingest_seconds"]) for day in days] == [(1, 9)]


async def test_a_write_that_fails_is_made_up_for(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecast.livestreams.repository import DayRepository

    made = await kit.create()

    async def fail(*_arguments: object, **_options: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(DayRepository, "add", fail)
        with pytest.raises(OSError, match="disk full"):
            await kit.publish(made)
    kit.clock.now += 3
    await kit.flushed()
    details = (await kit.get(f"/livestreams/{made['id']}"))["data"]
    assert (details["status"], details["ingest_seconds"]) == ("LIVE", 3)
    assert len(details["sessions"]) == 1


async def test_analytics_take_unix_seconds_and_iso_times(kit: Kit) -> None:
    made = await kit.create()
    await kit.publish(made)
    kit.clock.now += 60
    await kit.flushed()
    for times in (
        {"start_time": 0, "end_time": 4_000_000_000},
        {"start_time": "2020-01-01T00:00:00.000Z", "end_time": "2096-01-01"},
        {"livestream_id": made["id"]},
        {"filters": "x"},
    ):
        overall = (await kit.get("/analytics/livestreams/overall", **times))["data"]
        assert overall == {"count": 1, "total_ingest_seconds": 60, "total_viewer_seconds": 0}
    none = (await kit.get("/analytics/livestreams/overall", end_time=0))["data"]
    assert none == {"count": 0, "total_ingest_seconds": 0, "total_viewer_seconds": 0}
    day = (await kit.get("/analytics/livestreams/daywise"))["data"][0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00\.000Z", day["date"])
    answer = await kit.call("GET", "/analytics/livestreams/daywise", params={"start_time": "soon"})
    assert '"start_time" must be an ISO 8601 time or Unix seconds' in refused(answer, 400)


# WHIP


async def test_a_livestream_takes_whip_with_its_key(kit: Kit) -> None:
    made = await kit.create()
    session = await kit.app.go_live(made["stream_key"], made["id"])
    await kit.flushed()
    assert (await kit.get(f"/livestreams/{made['id']}"))["data"]["status"] == "LIVE"
    kit.app.core.end_session(session, "peer_closed")
    assert (await kit.app.whip(made["stream_key"], "demo")).status_code == 401
    ok(await kit.call("PUT", f"/livestreams/{made['id']}/disable"))
    assert (await kit.app.whip(made["stream_key"], made["id"])).status_code == 403
    anything = await kit.app.publish_token(streams=[{"streamName": ".*", "isRegex": True}])
    assert (await kit.app.whip(anything["token"], made["id"])).status_code == 403


# Who may call


async def test_scopes_limit_a_token(kit: Kit) -> None:
    made = await kit.create()
    reader = await kit_of(kit.app, ["livestreams:read"])
    assert (await reader.get(f"/livestreams/{made['id']}"))["data"]["id"] == made["id"]
    text = refused(await reader.call("POST", "/livestreams", json={}), 403)
    assert "livestreams:write" in text
    writer = await kit_of(kit.app, ["livestreams:write"])
    assert len((await writer.get("/livestreams"))["data"]) == 1
    nothing = await kit_of(kit.app, ["apps:read"])
    refused(await nothing.call("GET", "/livestreams"), 403)


async def test_tokens_are_shown_once_and_deleted_ones_are_refused(kit: Kit) -> None:
    listed = data(await kit.app.client.get("/api/api_token"))
    assert [one["label"] for one in listed] == ["tests"]
    assert "token" not in listed[0]
    assert kit.token.startswith(listed[0]["prefix"])
    data(await kit.app.client.delete(f"/api/api_token/{listed[0]['id']}"))
    assert refused(await kit.call("GET", "/livestreams"), 401) == "Unauthorized"
    refusal(await kit.app.client.delete(f"/api/api_token/{listed[0]['id']}"), 404)
    empty = {"label": "x", "scopes": []}
    refusal(await kit.app.client.post("/api/api_token", json=empty), 400)


async def test_last_use_is_kept(kit: Kit) -> None:
    await kit.get("/livestreams")
    await kit.app.state.housekeeping.flush()
    assert data(await kit.app.client.get("/api/api_token"))[0]["lastUsedOn"] is not None


async def test_api_secrets_and_publish_tokens_open_nothing_here(kit: Kit) -> None:
    for token in (kit.app.secret, (await kit.app.publish_token())["token"]):
        other = Kit(kit.app, token)
        other.app_id = kit.app_id
        refused(await other.call("GET", "/livestreams"), 401)


async def test_another_account_or_app_in_the_path_is_refused(kit: Kit) -> None:
    headers = {"Authorization": f"Bearer {kit.token}"}
    foreign = f"/client/v4/accounts/other/realtime/kit/{kit.app_id}/livestreams"
    refused(await kit.client.get(foreign, headers=headers), 403)
    kit.app_id = str(uuid.uuid4())
    refused(await kit.call("GET", "/livestreams"), 404)


async def test_the_dashboards_cookie_needs_its_csrf_token(kit: Kit) -> None:
    made = ok(await kit.app.client.post(f"{kit.base}/livestreams", json={}), 201)["data"]
    del kit.app.client.headers["X-CSRF-Token"]
    assert ok(await kit.app.client.get(f"{kit.base}/livestreams"))["data"] == [made]
    refused(await kit.app.client.post(f"{kit.base}/livestreams", json={}), 403)


async def test_rate_is_limited_per_token(make_app: MakeApp) -> None:
    app = await make_app(api__requests=3)
    await app.log_in()
    kit = await kit_of(app)
    for _ in range(3):
        await kit.get("/livestreams")
    answer = await kit.call("GET", "/livestreams")
    refused(answer, 429)
    assert int(answer.headers["Retry-After"]) >= 1
    other = await kit_of(app)
    await other.get("/livestreams")


async def test_guessing_tokens_is_throttled_by_address(make_app: MakeApp) -> None:
    app = await make_app(api__wrong_tokens=3)
    await app.log_in()
    kit = await kit_of(app)
    wrong = Kit(app, "sct_wrong")
    wrong.app_id = kit.app_id
    for _ in range(3):
        refused(await wrong.call("GET", "/livestreams"), 401)
    refused(await wrong.call("GET", "/livestreams"), 429)
    kit.client = app.visitor("203.0.113.77")
    await kit.get("/livestreams")


async def test_v2_takes_the_app_and_a_token_as_basic(kit: Kit) -> None:
    made = await kit.create()
    auth = (kit.app_id, kit.token)
    assert ok(await kit.client.get("/v2/livestreams", auth=auth))["data"] == [made]
    one = ok(await kit.client.get(f"/v2/livestreams/{made['id']}", auth=auth))["data"]
    assert one["livestream"] == made
    second = ok(await kit.client.post("/v2/livestreams", auth=auth, json={"name": "b"}), 201)
    assert second["data"]["name"] == "b"
    ok(await kit.client.put(f"/v2/livestreams/{made['id']}/disable", auth=auth))
    refused(await kit.client.get("/v2/livestreams", auth=(kit.app_id, "sct_x")), 401)
    refused(await kit.client.get("/v2/livestreams", auth=(str(uuid.uuid4()), kit.token)), 404)
    for header in ("Basic %%%", "Basic", f"Bearer {kit.token}", "Basic " + "YQ=="):
        refused(await kit.client.get("/v2/livestreams", headers={"Authorization": header}), 401)


async def test_apps_are_made_and_keep_their_livestreams_apart(kit: Kit) -> None:
    apps = f"/client/v4/accounts/{kit.app.account}/realtime/kit/apps"
    headers = {"Authorization": f"Bearer {kit.token}"}
    made = ok(await kit.client.post(apps, headers=headers, json={"name": "second"}), 201)
    assert set(made["data"]["app"]) == {"id", "name", "created_at"}
    refused(await kit.client.post(apps, headers=headers, json={"name": "second"}), 409)
    assert '"name" is required' in refused(
        await kit.client.post(apps, headers=headers, json={}), 400
    )
    listed = ok(await kit.client.get(apps, headers=headers))
    assert [one["name"] for one in listed["data"]] == ["default", "second"]
    assert listed["paging"] == {"total_count": 2, "start_offset": 1, "end_offset": 2}
    found = ok(await kit.client.get(apps, headers=headers, params={"search": "sec"}))
    assert found["data"] == [made["data"]["app"]]
    first = await kit.create()
    kit.app_id = made["data"]["app"]["id"]
    assert (await kit.get("/livestreams"))["data"] == []
    refused(await kit.call("GET", f"/livestreams/{first['id']}"), 404)


# The ladder


@pytest.mark.parametrize("ladder", [True, False, None])
async def test_a_livestream_chooses_whether_it_has_smaller_pictures(
    kit: Kit, ladder: bool | None
) -> None:
    made = await kit.create()
    assert made["ladder"] is None
    path = f"/livestreams/{made['id']}"
    changed = ok(await kit.call("PUT", f"{path}/ladder", json={"ladder": ladder}))["data"]
    assert changed["ladder"] is ladder
    assert (await kit.get(path))["data"]["ladder"] is ladder
    await kit.publish(made)
    question = kit.app.core.ask(made["playback_id"], protocol="hls", action="play")
    verdict = await kit.answered(question)
    assert verdict.get("ladder") is (True if ladder else None)


async def test_a_livestream_can_be_made_with_smaller_pictures(kit: Kit) -> None:
    body = {"name": "show", "ladder": True}
    assert ok(await kit.call("POST", "/livestreams", json=body), 201)["data"]["ladder"] is True
