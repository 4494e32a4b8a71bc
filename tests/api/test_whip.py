"""WHIP: RFC 9725 over HTTP, token checks, sessions."""

import asyncio
import base64
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from stagecast.kit.clock import utc_now
from stagecast.tokens import admission
from tests.api.conftest import OFFER, SDP, App, MakeApp, data, session_of

FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


async def test_answer_tells_where_the_session_is_and_what_it_can_do(app: App) -> None:
    token = await app.publish_token()
    answer = await app.whip(token["token"], Origin="https://any.example")
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/sdp"
    assert answer.headers["Location"] == f"/api/whip/session/{session_of(answer)}"
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
    assert "server-sent-events" in answer.headers["Link"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    exposed = answer.headers["Access-Control-Expose-Headers"]
    assert all(name in exposed for name in ("Location", "ETag", "Link", "Accept-Patch"))
    assert answer.text.startswith("v=0")


async def test_ice_servers_are_linked_when_configured(make_app: MakeApp) -> None:
    servers = [{"urls": ["turn:t:3478"], "username": 'u"', "credential": "p"}, {"urls": ["stun:s"]}]
    app = await make_app(media__ice_servers=servers)
    await app.log_in()
    links = (await app.whip((await app.publish_token())["token"])).headers.get_list("Link")
    assert links[0] == (
        '<turn:t:3478>; rel="ice-server"; username="u\\""; credential="p"; credential-type="password"'
    )
    assert links[1] == '<stun:s>; rel="ice-server"'


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, OFFER, 415),
        ({"Content-Type": "application/json"}, OFFER, 415),
        ({**SDP, "Accept": "application/json"}, OFFER, 406),
        ({**SDP, "Accept": "application/sdp;q=0"}, OFFER, 406),
        (SDP, "", 400),
        (SDP, b"\xff\xfe", 400),
        (SDP, "not sdp", 400),
        (SDP, "v" * 70_000, 413),
        ({"Content-Type": "application/sdp; charset=utf-8"}, OFFER, 201),
        ({**SDP, "Accept": "text/plain, application/*"}, OFFER, 201),
    ],
)
async def test_request_is_refused_with_its_own_status(
    app: App, headers: dict[str, str], body: Any, status: int
) -> None:
    token = await app.publish_token()
    bearer = {"Authorization": f"Bearer {token['token']}"}
    answer = await app.visitor().post("/api/whip/demo", content=body, headers={**bearer, **headers})
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    if status != 201:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.text


async def test_body_without_length_is_cut_off_at_the_limit(app: App) -> None:
    token = await app.publish_token()

    async def endless():
        for _ in range(100):
            yield b"v" * 1000

    headers = {**SDP, "Authorization": f"Bearer {token['token']}"}
    answer = await app.visitor().post("/api/whip/demo", content=endless(), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_method_the_endpoint_lacks_is_refused_with_those_it_has(
    app: App, method: str
) -> None:
    answer = await app.visitor().request(method, "/api/whip/demo")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "OPTIONS, POST"


async def test_options_tell_the_types(app: App) -> None:
    endpoint = await app.visitor().options("/api/whip/demo")
    assert endpoint.status_code == 200
    assert endpoint.headers["Accept-Post"] == "application/sdp"
    assert endpoint.headers["Access-Control-Allow-Methods"]
    assert "If-Match" in endpoint.headers["Access-Control-Allow-Headers"]
    session = await app.visitor().options("/api/whip/session/abc")
    assert session.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"


def in_base64(token: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(token)).rstrip(b"=").decode()


async def test_token_is_found_wherever_it_may_be(app: App) -> None:
    token = (await app.publish_token())["token"]
    for header, query in [
        (f"bearer  {token}", ""),
        ("", f"?token={token}"),
        ("", f"?auth={token}"),
        ("", f"?t={in_base64(token)}"),
    ]:
        headers = {**SDP, "Authorization": header}
        answer = await app.visitor().post(f"/api/whip/demo{query}", content=OFFER, headers=headers)
        assert answer.status_code == 201


@pytest.mark.parametrize("token", ["", "wrong", "0" * 64, "a.b.c", "ü"])
async def test_wrong_token_is_refused(app: App, token: str) -> None:
    params = {"token": token} if token else None
    answer = await app.visitor().post("/api/whip/demo", content=OFFER, headers=SDP, params=params)
    assert answer.status_code == 401
    assert answer.text.startswith("Unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_expired_token_is_refused_and_its_feed_goes_on(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await app.publish_token(expires=3600)
    session = await app.go_live(token["token"])
    monkeypatch.setattr(admission, "utc_now", lambda: utc_now() + timedelta(seconds=3600))
    answer = await app.whip(token["token"])
    assert (answer.status_code, answer.text) == (401, "Unauthorized: Token expired")
    await app.settle()
    assert session in app.core.sessions


async def test_name_outside_the_tokens_list_is_refused(app: App) -> None:
    token = await app.publish_token(
        streams=[{"streamName": "demo"}, {"streamName": "cam-[0-9]", "isRegex": True}]
    )
    for name, status in [
        ("demo", 201),
        ("cam-7", 201),
        ("cam-77", 403),
        ("Demo", 403),
        ("a%2Fb", 404),
    ]:
        answer = await app.whip(token["token"], name)
        assert answer.status_code == status, name
    answer = await app.whip(token["token"], "other")
    assert answer.text == "Unauthorized: StreamName is not valid for token"


async def test_origin_outside_the_tokens_list_is_refused(app: App) -> None:
    token = (await app.publish_token(allowedOrigins=["*.demo.com"]))["token"]
    assert (await app.whip(token, Origin="https://a.demo.com")).status_code == 201
    for headers in ({"Origin": "https://demo.org"}, {}):
        answer = await app.whip(token, **headers)
        assert (answer.status_code, answer.text) == (403, "Unauthorized: Origin not allowed")


async def test_address_outside_the_tokens_list_is_refused(app: App) -> None:
    token = (await app.publish_token(allowedIpAddresses=["192.0.2.0/24", "2001:db8::/32"]))["token"]
    headers = {**SDP, "Authorization": f"Bearer {token}"}
    for address, status in [
        ("192.0.2.9", 201),
        ("::ffff:192.0.2.9", 201),
        ("2001:db8::7", 201),
        ("198.51.100.1", 403),
    ]:
        answer = await app.visitor(address).post("/api/whip/demo", content=OFFER, headers=headers)
        assert answer.status_code == status, address
    assert answer.text == "Unauthorized: IP Address not allowed"


async def test_first_addresses_that_use_a_token_are_its_only_ones(app: App) -> None:
    token = await app.publish_token(bindIpsOnUsage=2)
    headers = {**SDP, "Authorization": f"Bearer {token['token']}"}

    async def publish(address: str) -> int:
        answer = await app.visitor(address).post("/api/whip/demo", content=OFFER, headers=headers)
        return answer.status_code

    at_once = await asyncio.gather(*(publish(f"192.0.2.{n}") for n in range(1, 6)))
    assert sorted(at_once) == [201, 201, 403, 403, 403]
    bound = f"192.0.2.{at_once.index(201) + 1}"
    assert await publish(bound) == 201
    cleared = {"bindIpsOnUsage": 0}
    data(await app.client.put(f"/api/v2/publish_token/{token['id']}", json=cleared))
    assert await publish("192.0.2.99") == 201


async def test_publishing_parameters_reach_the_core(app: App) -> None:
    token = (await app.publish_token())["token"]
    answer = await app.whip(
        token, query="?codec=H264&sourceId=cam%201&audioOnly=false&noRecord&noRestream"
    )
    session = app.core.sessions[session_of(answer)]
    assert session.stream == f"{app.account}/demo"
    assert session.source == "cam 1"
    assert session.options == {"codec": "h264", "audio": True, "video": True, "local": True}
    answer = await app.whip(token, query="?audioOnly")
    assert app.core.sessions[session_of(answer)].options["video"] is False


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("codec=mpeg2", "codec"),
        ("audioOnly&videoOnly", "audioOnly"),
        ("record", "record"),
        ("priority=1", "priority"),
        ("simulcastId=x", "simulcastId"),
        (f"sourceId={'x' * 129}", "sourceId"),
    ],
)
async def test_parameter_that_cannot_be_honoured_is_named(app: App, query: str, named: str) -> None:
    answer = await app.whip((await app.publish_token())["token"], query=f"?{query}")
    assert answer.status_code == 400
    assert answer.text.startswith(f"Validation errors:\n{named}: ")


async def test_token_without_multisource_takes_the_main_source_only(app: App) -> None:
    token = (await app.publish_token(multisource=False))["token"]
    assert (await app.whip(token)).status_code == 201
    assert (await app.whip(token, query="?sourceId=cam")).status_code == 400


async def test_candidate_of_this_machine_is_offered_to_itself_only(app: App) -> None:
    token = (await app.publish_token())["token"]
    headers = {**SDP, "Authorization": f"Bearer {token}"}
    for address, local in [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False)]:
        answer = await app.visitor(address).post("/api/whip/demo", content=OFFER, headers=headers)
        assert app.core.sessions[session_of(answer)].options["local"] is local


async def patch(app: App, answer: httpx2.Response, body: str, **headers: str) -> httpx2.Response:
    url = answer.headers["Location"]
    return await app.visitor().patch(url, content=body, headers={**FRAGMENT, **headers})


async def test_trickle_and_ice_restart(app: App) -> None:
    answer = await app.whip((await app.publish_token())["token"])
    trickled = await patch(app, answer, "a=candidate:1", **{"If-Match": '"1"'})
    assert (trickled.status_code, trickled.text) == (204, "")
    assert (await patch(app, answer, "a=candidate:1")).status_code == 428
    assert (await patch(app, answer, "a=candidate:1", **{"If-Match": '"0"'})).status_code == 412
    restarted = await patch(app, answer, "a=ice-ufrag:new", **{"If-Match": "*"})
    assert restarted.status_code == 200
    assert restarted.headers["Content-Type"] == "application/trickle-ice-sdpfrag"
    assert restarted.headers["ETag"] == '"2"'


async def test_patch_of_another_type_is_refused(app: App) -> None:
    answer = await app.whip((await app.publish_token())["token"])
    refused = await patch(app, answer, "x", **{"Content-Type": "application/sdp"})
    assert refused.status_code == 415
    assert (await patch(app, answer, "")).status_code == 400


async def test_session_is_ended_by_whoever_knows_its_url(app: App) -> None:
    answer = await app.whip((await app.publish_token())["token"])
    url = answer.headers["Location"]
    assert (await app.visitor().delete(url)).status_code == 200
    assert (await app.visitor().delete(url)).status_code == 404
    assert (await patch(app, answer, "x", **{"If-Match": "*"})).status_code == 404


async def test_token_that_is_sent_along_must_be_the_sessions(app: App) -> None:
    token, other = (await app.publish_token())["token"], (await app.publish_token())["token"]
    url = (await app.whip(token)).headers["Location"]
    wrong = await app.visitor().delete(url, headers={"Authorization": f"Bearer {other}"})
    assert wrong.status_code == 401
    right = await app.visitor().delete(url, headers={"Authorization": f"Bearer {token}"})
    assert right.status_code == 200


async def test_viewer_session_is_not_reached_by_the_publishers_url(app: App) -> None:
    await app.go_live((await app.publish_token())["token"])
    viewer = session_of(await app.whep())
    assert (await app.visitor().delete(f"/api/whip/session/{viewer}")).status_code == 404
    assert (await app.visitor().delete(f"/api/whep/session/{viewer}")).status_code == 200


async def test_token_deleted_while_joining_leaves_no_session(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await app.publish_token()
    publish = app.core.publish

    def delete_meanwhile(**arguments: Any) -> Any:
        answer = publish(**arguments)
        asyncio.run_coroutine_threadsafe(
            app.client.delete(f"/api/publish_token/{token['id']}"), loop
        ).result(10)
        return answer

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(app.core, "publish", delete_meanwhile)
    assert (await app.whip(token["token"])).status_code == 401
    assert app.core.sessions == {}


async def test_draining_server_takes_no_new_session(app: App) -> None:
    token = (await app.publish_token())["token"]
    app.state.whip.drain()
    answer = await app.whip(token)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
