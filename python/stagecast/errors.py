"""The exceptions of the control plane, by what the caller does next.

    StagecastError
    ├── SettingsError        the operator changes a setting and starts again
    ├── StartError           the operator frees a port, a file, a certificate
    └── RequestError         an HTTP client is told; `status` is on the class
        ├── Invalid          400  changes the request (fields named in `errors`)
        ├── Unauthorized     401  sends other credentials
        ├── Forbidden        403  asks for the right
        ├── NotFound         404
        ├── NotAcceptable    406
        ├── Conflict         409  waits, or changes something else first
        ├── PreconditionFailed 412
        ├── TooLarge         413
        ├── UnsupportedMediaType 415
        ├── Unprocessable    422
        ├── PreconditionRequired 428
        ├── Throttled        429  waits `retry_after` seconds
        └── Unavailable      503  tries again later

Each area of the HTTP surface writes them in its own dialect (`kit.dialects`): the Millicast envelope,
plain text for WHIP and WHEP, problem details (RFC 9457) elsewhere.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class StagecastError(Exception):
    """Base of every error raised on purpose."""


class SettingsError(StagecastError):
    """The settings cannot be used."""


class StartError(StagecastError):
    """The server cannot start; the message says what to do."""


class RequestError(StagecastError):
    """An HTTP request is refused."""

    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        field: str = "message",
        errors: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``field`` is the key of the message in the Millicast envelope's ``data``."""
        super().__init__(message)
        self.message = message
        self.field = field
        self.errors = errors
        self.headers = dict(headers or {})


class Invalid(RequestError):
    status = 400


class Unauthorized(RequestError):
    status = 401

    def __init__(self, message: str = "Unauthorized") -> None:
        super().__init__(message, headers={"WWW-Authenticate": 'Bearer realm="stagecast"'})


class Forbidden(RequestError):
    status = 403


class NotFound(RequestError):
    status = 404


class NotAcceptable(RequestError):
    status = 406


class Conflict(RequestError):
    status = 409


class PreconditionFailed(RequestError):
    status = 412


class TooLarge(RequestError):
    status = 413


class UnsupportedMediaType(RequestError):
    status = 415


class Unprocessable(RequestError):
    status = 422


class PreconditionRequired(RequestError):
    status = 428


class Throttled(RequestError):
    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class Unavailable(RequestError):
    status = 503

    def __init__(self, message: str, retry_after: int = 2) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})
