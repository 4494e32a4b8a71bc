"""Every refusal of the media core has an HTTP status, and the door has the shape that is used."""

import inspect
from typing import Any

import pytest

from stagecast.errors import RequestError
from stagecast.media.engine import Core
from stagecast.media.errors import BY_CODE, request_error
from tests.core_double import CoreDouble

STATUS = {
    "sdp.invalid": 400,
    "sdp.direction": 400,
    "sdp.no_common_codec": 406,
    "stream.not_live": 409,
    "session.not_found": 404,
    "layer.invalid": 400,
    "ice.fragment_invalid": 400,
    "ice.precondition_failed": 412,
    "ice.precondition_required": 428,
    "ice.unsupported": 422,
    "limit.sessions": 503,
    "engine.closed": 503,
}


@pytest.mark.parametrize("code", list(BY_CODE))
def test_refusal_of_the_core_has_its_status(code: str) -> None:
    error = request_error(code, "why")
    assert isinstance(error, RequestError)
    assert error.status == STATUS[code]


def test_unknown_refusal_is_our_fault() -> None:
    assert request_error("config.port", "in use") is None


def public(kind: Any) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_double_has_the_door_and_the_binary_has_it_too() -> None:
    from stagecast import _core

    names = public(Core)
    assert names <= set(dir(CoreDouble))
    assert names <= set(dir(_core.Engine))
    for name in ("publish", "view"):
        wanted = inspect.signature(getattr(Core, name)).parameters.keys() - {"self"}
        assert wanted == inspect.signature(getattr(_core.Engine, name)).parameters.keys() - {"self"}
