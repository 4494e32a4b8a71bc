"""Every route refuses callers without credentials, but for a short list that is public on purpose, and those with
credentials that its description does not name.
"""

import re
import uuid
from typing import Any

import httpx2
import pytest

from stagecast.accounts.schemas import ALL_SCOPES
from stagecast.spec import document
from tests.api.conftest import App
from tests.api.kit import Kit, kit_of

PUBLIC = {
    "login": "logging in is how credentials are checked; it is throttled",
    "health": "load balancers ask without credentials",
    "ready": "load balancers ask without credentials",
    "whepView": "streams are open unless their token has subscribeRequiresAuth",
    "whipOptions": "CORS preflight",
    "whepOptions": "CORS preflight",
    "whipSessionOptions": "CORS preflight",
    "whepSessionOptions": "CORS preflight",
}
# Whoever knows the URL of a session may use it (RFC 9725 §4.2), so a wrong URL is "not found".
BY_URL = {
    "whipPatchSession",
    "whepPatchSession",
    "whipEndSession",
    "whepEndSession",
    "whepSelectLayer",
    "whepUnselectLayer",
    "whipSubscribeEvents",
    "whepSubscribeEvents",
    "whipReadEvents",
    "whepReadEvents",
}
SPEC = document()
OPERATIONS = [
    (operation["operationId"], method, path)
    for path, item in SPEC["paths"].items()
    for method, operation in item.items()
]
GUARDED = [
    (operation["operationId"], method.upper(), path, operation["description"])
    for path, item in SPEC["paths"].items()
    for method, operation in item.items()
    if operation["operationId"] not in PUBLIC.keys() | BY_URL
]
# Credentials of a program, and the words of descriptions that let it in with them.
CREDENTIALS = {
    "API secret": r"(Needs|with) an API secret",
    "API token": r"Needs an API token with `",
    "publish token": r"Needs a publish token",
}


def filled(path: str, kit: Kit | None = None) -> str:
    values = {"tokenId": "999", "secretId": "999", "streamName": "demo"}
    if kit is not None:
        values |= {"account_id": kit.app.account, "app_id": kit.app_id}
        values |= dict.fromkeys(("livestream_id", "livestream_session_id"), str(uuid.uuid4()))
    return re.sub(r"\{(\w+)\}", lambda name: values.get(name[1], name[1]), path)


@pytest.fixture
async def open_app(app: App) -> App:
    await app.publish_token()
    return app


async def test_routes_without_credentials_are_refused(open_app: App) -> None:
    visitor = open_app.visitor("203.0.113.5")
    answers: dict[str, int] = {}
    for operation, method, path in OPERATIONS:
        answer = await visitor.request(method.upper(), filled(path))
        answers[operation] = answer.status_code
    refused = {operation for operation, status in answers.items() if status in {401, 403}}
    hidden = {operation for operation, status in answers.items() if status == 404}
    assert hidden == BY_URL
    assert set(answers) - refused - hidden == set(PUBLIC)


async def test_bodies_do_not_change_that(open_app: App) -> None:
    visitor = open_app.visitor("203.0.113.5")
    for operation, method, path in OPERATIONS:
        if method in {"post", "put", "patch"} and operation not in PUBLIC.keys() | BY_URL:
            body: Any = {"label": "x", "streams": [{"streamName": "demo"}], "tokenIds": [1]}
            answer = await visitor.request(method.upper(), filled(path), json=body)
            assert answer.status_code in {401, 403}, operation


@pytest.mark.parametrize("what", ["operationId", "summary", "description", "tags"])
def test_every_operation_is_described(what: str) -> None:
    for item in SPEC["paths"].values():
        for operation in item.values():
            assert operation.get(what), operation


def test_every_description_says_who_may_call() -> None:
    for item in SPEC["paths"].values():
        for operation in item.values():
            words = ("Needs", "may call", "Anyone may", "For the networks")
            assert any(word in operation["description"] for word in words), operation["operationId"]


def test_operation_ids_are_unique() -> None:
    names = [operation for operation, _method, _path in OPERATIONS]
    assert len(names) == len(set(names))


class Callers:
    """Calls as many programs, each from an address of its own, as wrong credentials are throttled by address."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._calls = 0

    async def call(self, credential: str, method: str, path: str) -> httpx2.Response:
        self._calls += 1
        program = self._kit.app.visitor(f"198.51.100.{self._calls % 250}")
        basic = (self._kit.app_id, credential) if path.startswith("/v2/") else None
        headers = {} if basic else {"Authorization": f"Bearer {credential}"}
        return await program.request(
            method, filled(path, self._kit), auth=basic, headers=headers, json={}
        )


async def test_credentials_open_the_routes_whose_descriptions_name_them_and_no_others(
    app: App,
) -> None:
    kit = await kit_of(app)
    callers = Callers(kit)
    held = {
        "API secret": app.secret,
        "API token": kit.token,
        "publish token": (await app.publish_token())["token"],
    }
    for operation, method, path, description in GUARDED:
        for kind, words in CREDENTIALS.items():
            status = (await callers.call(held[kind], method, path)).status_code
            allowed = re.search(words, description) is not None
            assert (status not in {401, 403}) == allowed, f"{operation}, {kind}: {status}"


@pytest.mark.parametrize("scope", ALL_SCOPES)
async def test_api_tokens_need_the_scope_that_a_description_names(app: App, scope: str) -> None:
    others = set(ALL_SCOPES) - {scope, scope.replace(":read", ":write")}
    kit = await kit_of(app, sorted(others))
    callers = Callers(kit)
    needing = [one for one in GUARDED if f"`{scope}`" in one[3]]
    assert needing
    for operation, method, path, _description in needing:
        answer = await callers.call(kit.token, method, path)
        assert answer.status_code == 403, operation
        assert scope in answer.json()["error"]["message"]


async def test_credentials_of_one_account_open_no_other(app: App) -> None:
    kit = await kit_of(app)
    callers = Callers(kit)
    foreign = [one for one in GUARDED if "{account_id}" in one[2]]
    assert len(foreign) > 10
    for operation, method, path, _description in foreign:
        other = path.replace("{account_id}", "other")
        assert (await callers.call(kit.token, method, other)).status_code == 403, operation
        answer = await app.client.request(method, filled(other, kit), json={})
        assert answer.status_code == 403, operation


async def test_a_cookie_alone_changes_nothing(app: App) -> None:
    kit = await kit_of(app)
    del app.client.headers["X-CSRF-Token"]
    for operation, method, path, _description in GUARDED:
        if method != "GET" and path.startswith(("/api/", "/client/")):
            answer = await app.client.request(method, filled(path, kit), json={})
            assert answer.status_code in {401, 403}, operation
