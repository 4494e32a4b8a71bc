"""What the core's refusals mean to an HTTP client: one table, code to exception."""

from stagecast.errors import (
    Conflict,
    Invalid,
    NotAcceptable,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    RequestError,
    Unavailable,
    Unprocessable,
)

BY_CODE: dict[str, type[RequestError]] = {
    "sdp.invalid": Invalid,
    "sdp.direction": Invalid,
    "sdp.no_common_codec": NotAcceptable,
    "stream.not_live": Conflict,
    "session.not_found": NotFound,
    "layer.invalid": Invalid,
    "ice.fragment_invalid": Invalid,
    "ice.precondition_failed": PreconditionFailed,
    "ice.precondition_required": PreconditionRequired,
    "ice.unsupported": Unprocessable,
    "limit.sessions": Unavailable,
    "engine.closed": Unavailable,
}

STREAM_NOT_FOUND = "Stream not found"


def request_error(code: str, detail: str) -> RequestError | None:
    """The exception for a refusal of the core, or None when it is not about the request."""
    if code == "stream.not_live":
        return Conflict(STREAM_NOT_FOUND)
    if code == "engine.closed":
        return Unavailable("The server is shutting down.")
    kind = BY_CODE.get(code)
    return None if kind is None else kind(detail)
