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
from stagecast.whip.layers import video_layers
from stagecast.whip.links import PUBLISHER_EVENTS

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
        unknown = sorted(asked - set(PUBLISHER_EVENTS))
        if unknown:
            raise Invalid(
                f"Unknown events: {', '.join(unknown)[:200]}. Known: {', '.join(PUBLISHER_EVENTS)}."
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
                if signal.event in wanted.events and (told := self._frame(wanted, signal)):
                    yield told
            while self._running(wanted.session):
                signal = await subscription.next(KEEP_ALIVE_SECONDS)
                if signal is not None:
                    if signal.event in wanted.events and (told := self._frame(wanted, signal)):
                        yield told
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
        layers = [Signal("layers", feed.source) for feed in state.live_feeds]
        return [
            *(signals or [Signal("inactive")]),
            *layers,
            *(Signal("wantedlayers", feed.source) for feed in state.live_feeds),
            Signal("viewercount", viewer_count=state.viewer_count),
        ]

    def _frame(self, wanted: _Wanted, signal: Signal) -> str | None:
        """An event as a session reads it; None when it does not concern it."""
        if signal.event == "layers":
            return self._layers(wanted, signal)
        if signal.event == "wantedlayers":
            return self._wanted_layers(wanted)
        if signal.event == "viewercount":
            return frame("viewercount", {"viewercount": signal.viewer_count})
        return frame(
            signal.event,
            {
                "streamId": wanted.stream,
                "sourceId": signal.source,
                "tracks": [_track(track) for track in signal.tracks],
            },
        )

    def _layers(self, wanted: _Wanted, signal: Signal) -> str | None:
        """The layers of the source that a session watches or feeds, under the name of its video."""
        view = self._live.find_view(wanted.session)
        feed = self._live.find_feed(wanted.session)
        state = self._live.get(wanted.stream)
        if view is not None and view.source == signal.source and state is not None:
            mid = view.video_mid
            feed = state.feeds.get(state.sources.get(view.source, ""))
        elif feed is not None and feed.source == signal.source:
            mid = next((track.track for track in feed.tracks if track.kind == "video"), None)
        else:
            return None
        layers = video_layers(feed.figures) if feed is not None else None
        if mid is None or layers is None:
            return None
        return frame("layers", {"medias": {mid: layers}})

    def _wanted_layers(self, wanted: _Wanted) -> str | None:
        """Which layers a publisher is to send, once it was asked for others than all."""
        feed = self._live.find_feed(wanted.session)
        if feed is None or not feed.asked:
            return None
        medias = {
            mid: {
                "wanted": [layer for layer, sends in layers.items() if sends],
                "unwanted": [layer for layer, sends in layers.items() if not sends],
            }
            for mid, layers in feed.asked.items()
        }
        return frame("wantedlayers", {"medias": medias})

    def _running(self, session: str) -> bool:
        return (
            self._live.find_feed(session) is not None or self._live.find_view(session) is not None
        )

    def _forget_ended(self) -> None:
        for key in [
            key for key, wanted in self._wanted.items() if not self._running(wanted.session)
        ]:
            del self._wanted[key]


def _track(track: TrackInfo) -> dict[str, str]:
    return {"trackId": track.track, "media": track.kind, "codec": track.codec}
