"""The server-sent events extension of WHEP (draft-ietf-wish-whep §4.4.1), here on WHIP sessions as well.

A client posts a list of event names to ``{session}/sse``, follows ``Location`` and reads events until its
session ends. A new reader first gets the present state, so that nothing is missed between the two calls.
"""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from stagecast.errors import Invalid, NotFound
from stagecast.kit.sse import KEEP_ALIVE, KEEP_ALIVE_SECONDS, frame
from stagecast.media.events import TrackInfo
from stagecast.streams.live import LiveStreams, Signal
from stagecast.whip.links import SSE_EVENTS

_PER_SESSION = 4
_NAMES = TypeAdapter(Annotated[list[str], Field(min_length=1, max_length=16)])


@dataclass(frozen=True, slots=True)
class _Wanted:
    session: str
    stream: str
    events: frozenset[str]


class EventSubscriptions:
    """Which session asked for which events."""

    def __init__(self, live: LiveStreams) -> None:
        self._live = live
        self._wanted: dict[str, _Wanted] = {}

    def add(self, session: str, stream: str, names: Any) -> str:
        """Remember what a session wants; returns the id of its event stream."""
        try:
            asked = frozenset(_NAMES.validate_python(names))
        except ValidationError:
            raise Invalid(
                'Send a JSON list of event names, such as ["active","inactive"].'
            ) from None
        unknown = sorted(asked - set(SSE_EVENTS))
        if unknown:
            raise Invalid(
                f"Unknown events: {', '.join(unknown)[:200]}. Known: {', '.join(SSE_EVENTS)}."
            )
        self._forget_ended()
        held = [key for key, wanted in self._wanted.items() if wanted.session == session]
        for oldest in held[: max(0, len(held) - _PER_SESSION + 1)]:
            del self._wanted[oldest]
        key = secrets.token_urlsafe(12)
        self._wanted[key] = _Wanted(session, stream, asked)
        return key

    def frames(self, session: str, key: str) -> AsyncIterator[str]:
        wanted = self._wanted.get(key)
        if wanted is None or wanted.session != session:
            raise NotFound("Event stream not found")
        return self._frames(wanted)

    async def _frames(self, wanted: _Wanted) -> AsyncIterator[str]:
        subscription = self._live.subscribe_stream(wanted.stream)
        try:
            for signal in self._present(wanted.stream):
                if signal.event in wanted.events:
                    yield _frame(wanted.stream, signal)
            while self._running(wanted.session):
                signal = await subscription.next(KEEP_ALIVE_SECONDS)
                if signal is not None:
                    if signal.event in wanted.events:
                        yield _frame(wanted.stream, signal)
                elif subscription.closed:
                    return
                else:
                    yield KEEP_ALIVE
        finally:
            subscription.close()

    def _present(self, stream: str) -> list[Signal]:
        state = self._live.get(stream)
        if state is None:
            return [Signal("inactive"), Signal("viewercount")]
        signals = [Signal("active", feed.source, tuple(feed.tracks)) for feed in state.live_feeds]
        return [
            *(signals or [Signal("inactive")]),
            Signal("viewercount", viewer_count=state.viewer_count),
        ]

    def _running(self, session: str) -> bool:
        return (
            self._live.find_feed(session) is not None or self._live.find_view(session) is not None
        )

    def _forget_ended(self) -> None:
        for key in [
            key for key, wanted in self._wanted.items() if not self._running(wanted.session)
        ]:
            del self._wanted[key]


def _frame(stream: str, signal: Signal) -> str:
    if signal.event == "viewercount":
        return frame("viewercount", {"viewercount": signal.viewer_count})
    return frame(
        signal.event,
        {
            "streamId": stream,
            "sourceId": signal.source,
            "tracks": [_track(track) for track in signal.tracks],
        },
    )


def _track(track: TrackInfo) -> dict[str, str]:
    return {"trackId": track.track, "media": track.kind, "codec": track.codec}
