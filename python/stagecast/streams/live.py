"""The live state of every stream, in memory, built from the media core's events.

A *feed* is one publishing connection, a *view* one watching connection. A stream is live while at least one
source of it has media. Streams that ended are kept for the monitoring API for a bounded time and number.
Session ids are capabilities (whoever knows one may end the session), so everything shown to others uses
the feed id or view id derived from it.
"""

import asyncio
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import structlog

from stagecast.kit.clock import from_unix, utc_now
from stagecast.kit.fanout import Fanout, Subscription
from stagecast.media.events import (
    LayersAsked,
    MediaEvent,
    SessionConnected,
    SessionEnded,
    SourceEnded,
    SourceLive,
    TrackInfo,
)
from stagecast.media.figures import Figures, LayerFigures, SessionFigures, SourceFigures

_log = structlog.stdlib.get_logger(__name__)
_FEED_NAMESPACE = uuid.UUID("8f0b5e0a-3f5e-4c5b-9a51-6c1d6f3e2d10")
_HISTORY_SECONDS = 120
_PAST_FEEDS = 50
_LAYERS_EVERY = 5

TokenType = Literal["Publish", "Subscribe"]


@dataclass(frozen=True, slots=True)
class TokenRef:
    """Which token a session was started with."""

    type: TokenType
    id: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One second of a feed."""

    at: datetime
    packet_loss: float
    rtt_ms: float | None
    video_bps: float
    audio_bps: float
    frames: float
    width: int | None
    height: int | None


@dataclass(slots=True)
class Feed:
    """One publishing connection; without a token when a livestream's key let it in."""

    session: str
    stream: str
    source: str | None
    token: TokenRef | None
    token_hash: bytes | None
    requires_auth: bool
    client_ip: str | None
    accepted_on: datetime
    protocol: str = "webrtc"
    ladder: bool | None = None
    feed_id: str = ""
    started_on: datetime | None = None
    ended_on: datetime | None = None
    active: bool = False
    tracks: list[TrackInfo] = field(default_factory=list[TrackInfo])
    figures: SourceFigures | None = None
    connection: SessionFigures | None = None
    layers_shape: object = None
    layers_age: int = 0
    asked: dict[str, dict[str, bool]] = field(default_factory=dict[str, dict[str, bool]])
    history: deque[Sample] = field(default_factory=lambda: deque[Sample](maxlen=_HISTORY_SECONDS))

    def __post_init__(self) -> None:
        self.feed_id = public_id(self.session)

    @property
    def codecs(self) -> dict[str, str]:
        """The codec of each kind of track: ``{"video": "h264", "audio": "opus"}``."""
        return {track.kind: track.codec for track in self.tracks}


@dataclass(slots=True)
class View:
    """One watching connection."""

    session: str
    stream: str
    source: str | None
    token: TokenRef | None
    token_hash: bytes | None
    client_ip: str | None
    tracking_id: str | None
    accepted_on: datetime
    video_mid: str | None = None
    connected: bool = False
    connection: SessionFigures | None = None


@dataclass(slots=True)
class Stream:
    """A stream that is live, was live, or is being connected to."""

    key: str
    feeds: dict[str, Feed] = field(default_factory=dict[str, Feed])
    views: dict[str, View] = field(default_factory=dict[str, View])
    sources: dict[str | None, str] = field(default_factory=dict[str | None, str])
    past_feeds: deque[Feed] = field(default_factory=lambda: deque[Feed](maxlen=_PAST_FEEDS))
    started_on: datetime | None = None
    ended_on: datetime | None = None
    connected_viewers: int = 0
    hls_viewers: int = 0
    announced_viewer_count: int = 0

    @property
    def account_id(self) -> str:
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        return self.key.partition("/")[2]

    @property
    def live(self) -> bool:
        return bool(self.sources)

    @property
    def viewer_count(self) -> int:
        return self.connected_viewers + self.hls_viewers

    @property
    def live_feeds(self) -> list[Feed]:
        """The feed of each live source, the main source first."""
        order = sorted(self.sources, key=lambda source: (source is not None, source or ""))
        return [feed for source in order if (feed := self.feeds.get(self.sources[source]))]

    @property
    def requires_auth(self) -> bool:
        """Whether viewers need a token: any feed says so, even one whose media is still to come.

        Of a stream that has ended, whether the last feed said so.
        """
        feeds = self.feeds.values() or list(self.past_feeds)[-1:]
        return any(feed.requires_auth for feed in feeds)

    @property
    def shown(self) -> bool:
        """Whether monitoring lists it: live now or before."""
        return self.started_on is not None


@dataclass(frozen=True, slots=True)
class Signal:
    """What the readers of one stream are told."""

    event: Literal["active", "inactive", "layers", "viewercount", "wantedlayers"]
    source: str | None = None
    tracks: tuple[TrackInfo, ...] = ()
    viewer_count: int = 0


def public_id(session: str) -> str:
    """The id that may be shown for a session: a GUID from which the session cannot be derived."""
    return str(uuid.uuid5(_FEED_NAMESPACE, session))


def stream_key(account_id: str, name: str) -> str:
    return f"{account_id}/{name}"


class LiveStreams:
    """All streams of this process; used from the event loop only."""

    def __init__(self, retention: timedelta, ended_max: int) -> None:
        self._retention = retention
        self._ended_max = ended_max
        self._streams: dict[str, Stream] = {}
        self._by_session: dict[str, Stream] = {}
        self._ended_early: deque[str] = deque(maxlen=1024)
        self._listeners: list[Callable[[str, str], None]] = []
        self._signals: dict[str, Fanout[Signal]] = {}

    # What the signalling endpoints tell us.

    def add_feed(self, feed: Feed) -> None:
        stream = self._stream(feed.stream)
        stream.feeds[feed.session] = feed
        self._by_session[feed.session] = stream
        self._forget_if_ended_early(feed.session)

    def add_view(self, view: View) -> None:
        stream = self._stream(view.stream)
        stream.views[view.session] = view
        self._by_session[view.session] = stream
        self._forget_if_ended_early(view.session)

    # What others ask.

    def get(self, key: str) -> Stream | None:
        return self._streams.get(key)

    def of_account(self, account_id: str) -> list[Stream]:
        """Streams to show: live ones and those that ended within the retention time."""
        self._drop_expired()
        return [s for s in self._streams.values() if s.account_id == account_id and s.shown]

    def live(self) -> list[Stream]:
        return [stream for stream in self._streams.values() if stream.live]

    def find_feed(self, session: str) -> Feed | None:
        stream = self._by_session.get(session)
        return stream.feeds.get(session) if stream else None

    def find_view(self, session: str) -> View | None:
        stream = self._by_session.get(session)
        return stream.views.get(session) if stream else None

    def sessions_of(self, token: TokenRef) -> list[str]:
        """The running sessions that were started with a token."""
        return [
            session
            for stream in self._streams.values()
            for session, held in (*stream.feeds.items(), *stream.views.items())
            if held.token == token
        ]

    def publishing_tokens(self, account_id: str, key: str | None = None) -> list[int]:
        """Ids of the publish tokens with a live feed, in one stream or anywhere."""
        ids = {
            feed.token.id
            for stream in self._streams.values()
            if stream.account_id == account_id and (key is None or stream.key == key)
            for feed in stream.live_feeds
            if feed.token is not None
        }
        return sorted(ids)

    def set_requires_auth(self, token: TokenRef, requires_auth: bool) -> None:
        for stream in self._streams.values():
            for feed in stream.feeds.values():
                if feed.token == token:
                    feed.requires_auth = requires_auth

    # Waiting and listening.

    def on_change(self, listener: Callable[[str, str], None]) -> None:
        """Call ``listener(account id, stream key)`` whenever a stream starts, ends or changes its feeds."""
        self._listeners.append(listener)

    def subscribe_stream(self, key: str) -> Subscription[Signal]:
        for idle in [k for k, fanout in self._signals.items() if not len(fanout)]:
            del self._signals[idle]
        return self._signals.setdefault(key, Fanout[Signal]()).subscribe(64)

    async def wait_live(self, key: str, source: str | None, seconds: float) -> bool:
        """Whether the source is live now or becomes so in time."""
        subscription = self.subscribe_stream(key)
        try:
            async with asyncio.timeout(seconds):
                while not self._source_live(key, source):
                    if subscription.closed:
                        return False
                    await subscription.next(seconds)
        except TimeoutError:
            return False
        finally:
            subscription.close()
        return True

    def close(self) -> None:
        """End every subscription, so that long responses finish."""
        for fanout in self._signals.values():
            fanout.close()

    # What the media core tells us.

    def on_event(self, event: MediaEvent) -> None:
        match event:
            case SessionConnected():
                self._on_connected(event)
            case SourceLive():
                self._on_source_live(event)
            case SourceEnded():
                self._on_source_ended(event)
            case SessionEnded():
                self._on_session_ended(event)
            case LayersAsked():
                self._on_layers_asked(event)
            case _:
                pass

    def on_figures(self, figures: Figures) -> None:
        """Attach the latest figures to feeds and views, and announce changed viewer counts."""
        at = from_unix(figures.at) if figures.at else utc_now()
        by_session = {session.session: session for session in figures.sessions}
        sources = {source.session: source for source in figures.sources}
        players = Counter[str]()
        for one in figures.hls:
            players[one.stream] += one.viewers
        for stream in list(self._streams.values()):
            for view in stream.views.values():
                view.connection = by_session.get(view.session, view.connection)
            for feed in stream.feeds.values():
                feed.connection = by_session.get(feed.session, feed.connection)
                feed.figures = sources.get(feed.session, feed.figures)
                if feed.active:
                    feed.history.append(_sample(feed, at))
            stream.hls_viewers = players[stream.key]
            self._announce_viewers(stream)
            self._announce_layers(stream)
        self._drop_expired()

    def _on_connected(self, event: SessionConnected) -> None:
        _log.info(
            "session.connected",
            kind=event.kind,
            stream=event.stream,
            source=event.source,
            id=public_id(event.session),
            protocol=event.protocol,
        )
        stream = self._by_session.get(event.session)
        view = stream.views.get(event.session) if stream else None
        if stream is not None and view is not None and not view.connected:
            view.connected = True
            stream.connected_viewers += 1

    def _on_source_live(self, event: SourceLive) -> None:
        stream = self._stream(event.stream)
        now = utc_now()
        if not stream.live:
            stream.started_on, stream.ended_on = now, None
        replaced = stream.feeds.get(stream.sources.get(event.source, ""))
        if replaced is not None and replaced.session != event.session:
            replaced.active = False
        stream.sources[event.source] = event.session
        feed = stream.feeds.get(event.session)
        if feed is not None:
            feed.tracks, feed.active = event.tracks, True
            feed.started_on = feed.started_on or now
        _log.info(
            "source.live", stream=event.stream, source=event.source, id=public_id(event.session)
        )
        self._signal(stream, Signal("active", event.source, tuple(event.tracks)))
        self._changed(stream)

    def _on_layers_asked(self, event: LayersAsked) -> None:
        stream = self._by_session.get(event.session)
        feed = stream.feeds.get(event.session) if stream else None
        if stream is None or feed is None:
            return
        feed.asked[event.track] = {layer.layer: layer.wanted for layer in event.layers}
        self._signal(stream, Signal("wantedlayers", feed.source))

    def _on_source_ended(self, event: SourceEnded) -> None:
        stream = self._streams.get(event.stream)
        if stream is None or stream.sources.get(event.source) != event.session:
            return
        del stream.sources[event.source]
        feed = stream.feeds.get(event.session)
        if feed is not None:
            feed.active = False
        if not stream.live:
            stream.ended_on = utc_now()
        _log.info("source.ended", stream=event.stream, source=event.source)
        self._signal(stream, Signal("inactive", event.source))
        self._changed(stream)

    def _on_session_ended(self, event: SessionEnded) -> None:
        _log.info(
            "session.ended",
            kind=event.kind,
            stream=event.stream,
            source=event.source,
            id=public_id(event.session),
            reason=event.reason,
            detail=event.detail,
            seconds=event.seconds,
        )
        stream = self._by_session.pop(event.session, None)
        if stream is None:
            self._ended_early.append(event.session)
            return
        self._remove(stream, event.session)

    def _remove(self, stream: Stream, session: str) -> None:
        feed = stream.feeds.pop(session, None)
        if feed is not None:
            feed.active = False
            feed.ended_on = utc_now()
            if feed.started_on is not None:
                stream.past_feeds.append(feed)
                self._changed(stream)
        view = stream.views.pop(session, None)
        if view is not None and view.connected:
            stream.connected_viewers -= 1
        self._drop_if_empty(stream)

    # Bookkeeping.

    def _stream(self, key: str) -> Stream:
        return self._streams.setdefault(key, Stream(key))

    def _source_live(self, key: str, source: str | None) -> bool:
        stream = self._streams.get(key)
        return stream is not None and source in stream.sources

    def _forget_if_ended_early(self, session: str) -> None:
        """The end of a session can arrive before its caller has told us that it began."""
        if session in self._ended_early:
            self._ended_early.remove(session)
            self._remove(self._by_session.pop(session), session)

    def _announce_viewers(self, stream: Stream) -> None:
        if stream.viewer_count != stream.announced_viewer_count:
            stream.announced_viewer_count = stream.viewer_count
            self._signal(stream, Signal("viewercount", viewer_count=stream.viewer_count))
            self._changed(stream)

    def _announce_layers(self, stream: Stream) -> None:
        """Tell readers of the stream's events of its layers: when they change, else now and then."""
        if stream.key not in self._signals:
            return
        for feed in stream.live_feeds:
            shape = _layer_shape(feed)
            feed.layers_age += 1
            if shape != feed.layers_shape or feed.layers_age >= _LAYERS_EVERY:
                feed.layers_shape, feed.layers_age = shape, 0
                self._signal(stream, Signal("layers", feed.source))

    def _signal(self, stream: Stream, signal: Signal) -> None:
        fanout = self._signals.get(stream.key)
        if fanout is not None:
            fanout.publish(signal)

    def _changed(self, stream: Stream) -> None:
        for listener in self._listeners:
            listener(stream.account_id, stream.key)

    def _drop_if_empty(self, stream: Stream) -> None:
        if not (stream.feeds or stream.views or stream.sources or stream.shown):
            self._streams.pop(stream.key, None)

    def _drop_expired(self) -> None:
        limit = utc_now() - self._retention
        ended = [
            s
            for s in self._streams.values()
            if s.ended_on is not None and not s.feeds and not s.views
        ]
        ended.sort(key=lambda stream: stream.ended_on or limit, reverse=True)
        for index, stream in enumerate(ended):
            if index >= self._ended_max or (stream.ended_on or limit) < limit:
                del self._streams[stream.key]


def _sample(feed: Feed, at: datetime) -> Sample:
    top = top_layer(feed)
    connection = feed.connection
    return Sample(
        at=at,
        packet_loss=(connection.loss if connection else None) or 0.0,
        rtt_ms=connection.rtt_ms if connection else None,
        video_bps=_bitrate(feed, "video"),
        audio_bps=_bitrate(feed, "audio"),
        frames=(top.fps if top else None) or 0.0,
        width=top.width if top else None,
        height=top.height if top else None,
    )


def _layer_shape(feed: Feed) -> object:
    """What viewers choose layers by: without the figures that change every second."""
    tracks = feed.figures.tracks if feed.figures else []
    return [
        (
            layer.layer,
            layer.active,
            layer.resting,
            layer.width,
            layer.height,
            [(level.spatial, level.temporal) for level in layer.levels],
        )
        for track in tracks
        if track.kind == "video"
        for layer in track.layers
    ]


def _bitrate(feed: Feed, kind: str) -> float:
    tracks = feed.figures.tracks if feed.figures else []
    return sum(
        layer.bitrate_bps for track in tracks if track.kind == kind for layer in track.layers
    )


def video_layers(feed: Feed) -> list[LayerFigures]:
    tracks = feed.figures.tracks if feed.figures else []
    return [layer for track in tracks if track.kind == "video" for layer in track.layers]


def top_layer(feed: Feed) -> LayerFigures | None:
    """The video layer with the most pixels of those that come, or None without video."""
    layers = video_layers(feed)
    return max(
        layers,
        key=lambda layer: (not layer.resting, layer.height or 0, layer.bitrate_bps),
        default=None,
    )
