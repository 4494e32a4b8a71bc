"""How each area of the HTTP surface words a refusal.

WHIP and WHEP answer ``text/plain``, everything else under ``/api`` the Millicast envelope, ``/client/v4`` and
``/v2`` both envelopes of RealtimeKit at once, and the rest problem details (RFC 9457). The dialect follows from
the path alone, so that refusals from anywhere (routing, validation, a service, the body limit) sound alike.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from stagecast.errors import RequestError

TEXT_PREFIXES = ("/api/whip", "/api/whep")
REALTIME_PREFIXES = ("/client/v4/", "/v2/")
_WORDS = {"extra_forbidden": "There is no such field.", "missing": "This field is required."}
_REALTIME_WORDS = {
    "extra_forbidden": "is not allowed",
    "missing": "is required",
    "string_type": "must be a string",
    "bool_parsing": "must be a boolean",
    "int_parsing": "must be a number",
    "json_invalid": "must be valid JSON",
    "dict_type": "must be an object",
    "model_attributes_type": "must be an object",
    "uuid_parsing": "must be a valid GUID",
}
_PARAMETER_SOURCES = {"body", "query", "path", "header", "cookie"}


def refusal(
    path: str,
    status: int,
    message: str,
    *,
    field: str = "message",
    errors: Mapping[str, Sequence[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the response in the dialect of ``path``."""
    if path.startswith(TEXT_PREFIXES):
        lines = [f"{name}: {text}" for name, texts in (errors or {}).items() for text in texts]
        text = f"{message}:\n" + "\n".join(lines) if lines else message
        return PlainTextResponse(text, status, headers)
    if path.startswith(REALTIME_PREFIXES):
        return _realtime(status, message, errors, headers)
    if path.startswith("/api/"):
        if status >= 500:
            body: dict[str, object] = {"status": "error", "message": message, "code": None}
        else:
            data: dict[str, object] = {field: message}
            if errors:
                data["errors"] = {name: list(texts) for name, texts in errors.items()}
            body = {"status": "fail", "data": data}
        return JSONResponse(body, status, headers)
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
    }
    return JSONResponse(problem, status, headers, media_type="application/problem+json")


def _realtime(
    status: int,
    message: str,
    errors: Mapping[str, Sequence[str]] | None,
    headers: Mapping[str, str] | None,
) -> Response:
    """Both envelopes. The SDK would send a 409 three times unless it is told not to."""
    lines = [f'"{name}" {text}' for name, texts in (errors or {}).items() for text in texts]
    if status == 400:
        message = "BAD_REQUEST: " + ("; ".join(lines) or message)
    error = {"code": status, "message": message}
    body: dict[str, object] = {
        "success": False,
        "error": error,
        "errors": [error],
        "messages": [],
        "result": None,
    }
    if status == 401:
        body["message"] = message
    told = {"x-should-retry": "false"} if 400 <= status < 500 and status not in {408, 429} else {}
    return JSONResponse(body, status, {**told, **(headers or {})})


def field_errors(error: RequestValidationError, words: Mapping[str, str]) -> dict[str, list[str]]:
    """Group pydantic's problems by the field's name on the wire: ``streams.0.streamName``."""
    errors: dict[str, list[str]] = {}
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"]]
        if problem["type"] == "json_invalid":
            parts = []  # Where it breaks off is no field.
        if parts and parts[0] in _PARAMETER_SOURCES:
            parts = parts[1:]
        camel = words is _WORDS
        name = ".".join(to_camel(part) if camel and "_" in part else part for part in parts)
        name = name or "body"
        text = words.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
        errors.setdefault(name, []).append(text)
    return errors


def allowed_methods(routers: Sequence[APIRouter], scope: Scope) -> str:
    """What the address can be called with: the router alone names the methods of its first match only."""
    methods: set[str] = set()
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Register the handlers that put every refusal into words."""

    @app.exception_handler(RequestError)
    async def _request_error(request: Request, error: RequestError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return refusal(
            request.url.path,
            error.status,
            error.message,
            field=error.field,
            errors=error.errors,
            headers=error.headers,
        )

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:  # pyright: ignore[reportUnusedFunction]
        path = request.url.path
        words = _REALTIME_WORDS if path.startswith(REALTIME_PREFIXES) else _WORDS
        return refusal(path, 400, "Validation errors", errors=field_errors(error, words))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:  # pyright: ignore[reportUnusedFunction]
        path, headers = request.url.path, dict(error.headers or {})
        if error.status_code == 405 and (methods := allowed_methods(routers, request.scope)):
            headers["Allow"] = methods
        return refusal(path, error.status_code, error.detail, headers=headers)
