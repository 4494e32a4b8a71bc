"""Server-sent events (HTML Living Standard §9.2), written by hand: one frame is four lines."""

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

KEEP_ALIVE = ": keep-alive\n\n"
KEEP_ALIVE_SECONDS = 15.0


def frame(event: str, data: Any) -> str:
    """One event; ``data`` becomes JSON on a single line."""
    return (
        f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'), ensure_ascii=False)}\n\n"
    )


def event_stream(frames: AsyncIterator[str]) -> StreamingResponse:
    """A response that no proxy should store or buffer."""
    return StreamingResponse(
        frames,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
