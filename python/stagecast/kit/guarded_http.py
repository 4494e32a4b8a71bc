"""HTTP connections that cannot be held open for nothing: bounded heads, bounded time to send a request.

uvicorn bounds neither. A client that sends a head over the limit is refused; one that takes too long from the
first byte of a request to its last is cut off. Waiting for a response is not limited here.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class GuardedHttp(HttpToolsProtocol):
    """One connection; `guarded` makes a subclass with the limits."""

    max_head: ClassVar[int] = 32 << 10
    receive_timeout: ClassVar[float] = 20.0
    _deadline: asyncio.TimerHandle | None = None
    _head_complete = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._start_deadline()
        if not self._head_complete:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._head_complete and self._head_bytes > self.max_head:
            self.send_400_response("The request's head is too large.")

    def on_headers_complete(self) -> None:
        self._head_complete = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_deadline()
        self._head_complete = False
        self._head_bytes = 0
        super().on_message_complete()

    def _start_deadline(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self.receive_timeout, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self.transport.close()


def guarded(max_head: int, receive_timeout: float) -> type[GuardedHttp]:
    """The protocol class for these limits."""
    return type(
        "GuardedHttp", (GuardedHttp,), {"max_head": max_head, "receive_timeout": receive_timeout}
    )
