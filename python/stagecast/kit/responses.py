"""How refusals look in the OpenAPI document, for areas that speak the Millicast envelope or plain text."""

from typing import Any

from stagecast.kit.schema import Fail, Failure

FAILS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fail, "description": "Validation errors: `data.errors` names the fields."},
    401: {"model": Fail, "description": "No or wrong credentials."},
    403: {
        "model": Fail,
        "description": "The CSRF token is missing, or the password must be changed first.",
    },
    404: {"model": Fail, "description": "There is no such thing."},
    413: {"model": Fail, "description": "The body is too large."},
    415: {"model": Fail, "description": "The body is not `application/json`."},
    429: {"model": Fail, "description": "Too many tries; see `Retry-After`."},
    500: {"model": Failure, "description": "The server failed; its log has the details."},
    503: {
        "model": Failure,
        "description": "The server is shutting down or full; see `Retry-After`.",
    },
}


def text(description: str) -> dict[str, Any]:
    """A plain-text response, as WHIP and WHEP send refusals."""
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}
