"""Every route refuses callers without credentials, but for a short list that is public on purpose."""

from typing import Any

import pytest

from stagecast.spec import document
from tests.api.conftest import App

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


def filled(path: str) -> str:
    for name in ("tokenId", "secretId"):
        path = path.replace("{" + name + "}", "1")
    return path.replace("{", "").replace("}", "")


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
