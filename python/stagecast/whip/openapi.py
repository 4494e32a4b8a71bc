"""What the OpenAPI document says of WHIP and WHEP, whose bodies are not JSON."""

from typing import Any

from pydantic import BaseModel

from stagecast.kit.responses import text

_TEXT = {"schema": {"type": "string"}}


def body(media_type: str, description: str) -> dict[str, Any]:
    """A required text body."""
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {media_type: _TEXT},
        }
    }


def json_body(model: type[BaseModel], description: str) -> dict[str, Any]:
    """A required JSON body, read by hand so that refusals are plain text."""
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {"application/json": {"schema": model.model_json_schema()}},
        }
    }


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The session runs; the body is the SDP answer.",
        "content": {"application/sdp": _TEXT},
        "headers": {
            "Location": _header(
                "The session's URL: PATCH to trickle or restart ICE, DELETE to end."
            ),
            "ETag": _header("The ICE session, for `If-Match`."),
            "Link": _header(
                "ICE servers (`rel=ice-server`), and the extensions for events and layers."
            ),
            "Accept-Patch": _header("`application/trickle-ice-sdpfrag`."),
        },
    }
}
POST_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: text("The offer or a parameter is not valid."),
    401: text("`Unauthorized: <reason>`: no, wrong, disabled or expired token."),
    403: text("The token is not for this stream, origin or address."),
    406: text("No codec in common, or `Accept` does not allow SDP."),
    413: text("The body is too large."),
    415: text("The body is not `application/sdp`."),
    503: text("Full or shutting down; see `Retry-After`."),
}
SESSION_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: text("A token was sent, and it is not the session's."),
    404: text("There is no such session (any more)."),
}
LAYER_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: text("The layer is not valid."),
    415: text("The body is not `application/json`."),
}
PATCH_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "ICE restarted; the body has the new credentials and candidates.",
        "content": {"application/trickle-ice-sdpfrag": _TEXT},
    },
    204: {"description": "Candidates taken."},
    400: text("The fragment is not valid."),
    412: text("`If-Match` names another ICE session."),
    413: text("The body is too large."),
    415: text("The body is not `application/trickle-ice-sdpfrag`."),
    422: text("ICE cannot be restarted on this session."),
    428: text("`If-Match` is required."),
    **SESSION_REFUSALS,
}
OPTIONS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Methods and types.",
        "headers": {
            "Accept-Post": _header("What POST takes."),
            "Accept-Patch": _header("What PATCH takes."),
        },
    }
}
