"""ASGI layers around the application, outermost first: headers, client address, body limits, last resort.

They are plain ASGI and hold no state of a request, so that server-sent events and long polls pass
through unbuffered.
"""

from collections.abc import Callable, Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stagecast.kit.dialects import TEXT_PREFIXES, refusal
from stagecast.kit.network import Network, client_behind_proxies, in_networks, parse_address

_log = structlog.stdlib.get_logger(__name__)


class ResponseHeaders:
    """Adds the headers that ``rule(path)`` gives, unless the endpoint has set its own."""

    def __init__(self, app: ASGIApp, rule: Callable[[str], dict[str, str]]) -> None:
        self.app = app
        self.rule = rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.rule(scope["path"]).items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class ClientAddress:
    """Puts the real client and scheme into the scope when the peer is a trusted proxy."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self.app = app
        self.trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client: tuple[str, int] | None = scope.get("client")
        if scope["type"] == "http" and client is not None:
            peer = parse_address(client[0])
            if self.trusted and in_networks(peer, self.trusted):
                headers = Headers(scope=scope)
                hops = [
                    hop for value in headers.getlist("x-forwarded-for") for hop in value.split(",")
                ]
                peer = client_behind_proxies(peer, hops[-32:], self.trusted)
                if headers.get("x-forwarded-proto") in {"http", "https"}:
                    scope["scheme"] = headers["x-forwarded-proto"]
            scope["client"] = (str(peer) if peer is not None else client[0], client[1])
        await self.app(scope, receive, send)


class BodyLimit:
    """Refuses bodies over the limit of their path (413), and JSON calls that do not send JSON (415)."""

    def __init__(self, app: ASGIApp, limit: Callable[[str], int]) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        limit = self.limit(path)
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            await refusal(path, 413, _too_large(limit), headers={"Connection": "close"})(
                scope, receive, send
            )
            return
        has_body = length not in {"", "0"} or "transfer-encoding" in headers
        if has_body and path.startswith("/api/") and not path.startswith(TEXT_PREFIXES):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                await refusal(path, 415, "Unsupported Media Type")(scope, receive, send)
                return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise HTTPException(413, _too_large(limit), {"Connection": "close"})
            return message

        await self.app(scope, counted, send)


class LastResort:
    """Turns an unexpected exception into a logged 500 in the path's dialect."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            path: str = scope["path"]
            _log.exception("request.failed", method=scope["method"], path=path)
            response = refusal(
                path, 500, "Internal server error; the server's log has the details."
            )
            await response(scope, receive, send)


def _too_large(limit: int) -> str:
    return f"The body is larger than {limit} bytes."
