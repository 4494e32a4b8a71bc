"""What monitoring shows of live streams, and stopping them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stagecast.kit.clock import from_unix, utc_now
from stagecast.media.engine import Engine
from stagecast.media.figures import TrackFigures
from stagecast.streams.live import Feed, LiveStreams, Stream, top_layer, video_layers
from stagecast.streams.schemas import (
    BitRate,
    EncodingDetails,
    EncodingStat,
    FeedClient,
    FeedStat,
    FeedType,
    FigureCodecs,
    FiguresEvent,
    LayerDetails,
    MonitoredFeed,
    MonitoredFeedDetails,
    MonitoredStream,
    MonitoredStreamDetails,
    StreamFigures,
    StreamSortBy,
    StreamsSummary,
    StreamSummary,
    TrackDetails,
)


@dataclass(frozen=True, slots=True)
class StreamFilter:
    """Which streams of the account to list; None means "either"."""

    is_active: bool | None = None
    is_secure: bool | None = None
    is_multisource: bool | None = None
    search: str = ""
    clusters: list[str] = field(default_factory=list[str])
    never: bool = False

    def admits(self, stream: Stream) -> bool:
        return not self.never and all(
            (
                self.is_active in {None, stream.live},
                self.is_secure in {None, stream.requires_auth},
                self.is_multisource in {None, _multisource(stream)},
                self.search.casefold() in stream.name.casefold(),
                not self.clusters or "auto" in self.clusters,
            )
        )


class StreamService:
    def __init__(self, live: LiveStreams, engine: Engine) -> None:
        self._live = live
        self._engine = engine

    def listed(
        self, account_id: str, wanted: StreamFilter, sort_by: StreamSortBy, *, descending: bool
    ) -> list[Stream]:
        streams = [stream for stream in self._live.of_account(account_id) if wanted.admits(stream)]
        return sorted(streams, key=_SORT_KEYS[sort_by], reverse=descending)

    def find(self, account_id: str, name: str) -> Stream | None:
        stream = self._live.get(f"{account_id}/{name}")
        return stream if stream is not None and stream.shown else None

    def live(self, account_id: str) -> list[Stream]:
        return [stream for stream in self._live.of_account(account_id) if stream.live]

    def stop(self, account_id: str, key: str) -> bool:
        """End every feed of a stream; whether there was one."""
        stream = self._live.get(key)
        if stream is None or stream.account_id != account_id:
            return False
        return self._end_feeds([stream])

    def stop_all(self, account_id: str) -> bool:
        return self._end_feeds(self._live.of_account(account_id))

    def summary(self, account_id: str) -> StreamsSummary:
        streams = self._live.of_account(account_id)
        live = [stream for stream in streams if stream.live]
        return StreamsSummary(
            total_streams=len(streams),
            live_streams=len(live),
            ended_streams=len(streams) - len(live),
            viewer_count=sum(stream.viewer_count for stream in streams),
            incoming_bitrate=sum(incoming_bitrate(stream) for stream in live),
        )

    def figures(self, account_id: str) -> FiguresEvent:
        """The `figures` event of an account."""
        at = self._engine.figures.at
        return FiguresEvent(
            at=from_unix(at) if at else utc_now(),
            streams=[stream_figures(stream) for stream in self.live(account_id)],
        )

    def _end_feeds(self, streams: list[Stream]) -> bool:
        ended = [
            self._engine.end_session(session, "stopped")
            for stream in streams
            for session in list(stream.feeds)
        ]
        return any(ended)


_EPOCH = from_unix(0)
_FEED_TYPES: dict[str, FeedType] = {"rtmp": "Rtmp", "rtmps": "Rtmp", "srt": "Srt"}


def _duration(stream: Stream) -> float:
    if stream.started_on is None:
        return 0.0
    return ((stream.ended_on or utc_now()) - stream.started_on).total_seconds()


def _start(stream: Stream) -> datetime:
    return stream.started_on or _EPOCH


_SORT_KEYS: dict[StreamSortBy, Callable[[Stream], Any]] = {
    StreamSortBy.STREAM_ID: lambda stream: stream.key,
    StreamSortBy.CLUSTER: lambda stream: stream.key,
    StreamSortBy.START_TIME: _start,
    StreamSortBy.DURATION: _duration,
    StreamSortBy.LIVE: lambda stream: (stream.live, stream.key),
    StreamSortBy.VIEWER_COUNT: lambda stream: (stream.viewer_count, stream.key),
    StreamSortBy.RESTREAM: lambda stream: stream.key,
}


def _multisource(stream: Stream) -> bool:
    return len({feed.source for feed in _feeds(stream)}) > 1


def _feeds(stream: Stream) -> list[Feed]:
    """Feeds that have or had media, newest first."""
    running = [feed for feed in stream.feeds.values() if feed.started_on is not None]
    return [*reversed(running), *reversed(stream.past_feeds)]


def incoming_bitrate(stream: Stream) -> int:
    return round(
        sum(
            layer.bitrate_bps
            for feed in stream.live_feeds
            for track in (feed.figures.tracks if feed.figures else [])
            for layer in track.layers
        )
    )


def monitored(stream: Stream) -> MonitoredStream:
    """A stream as lists and events show it."""
    return MonitoredStream(**_stream_fields(stream), feeds=[_feed(feed) for feed in _feeds(stream)])


def monitored_details(stream: Stream) -> MonitoredStreamDetails:
    """A stream with the figures of its feeds."""
    return MonitoredStreamDetails(
        **_stream_fields(stream), feeds=[_feed_details(feed) for feed in _feeds(stream)]
    )


def stream_summary(stream: Stream) -> StreamSummary:
    return StreamSummary(
        stream_id=stream.key,
        stream_name=stream.name,
        live=stream.live,
        start_time=stream.started_on,
        end_time=stream.ended_on,
        viewer_count=stream.viewer_count,
        active_feeds=len(stream.live_feeds),
        incoming_bitrate=incoming_bitrate(stream),
    )


def stream_figures(stream: Stream) -> StreamFigures:
    feeds = stream.live_feeds
    main = feeds[0] if feeds else None
    top = top_layer(main) if main else None
    connection = main.connection if main else None
    codecs = main.codecs if main else {}
    return StreamFigures(
        stream_id=stream.key,
        viewer_count=stream.viewer_count,
        bitrate_bps=incoming_bitrate(stream),
        fps=top.fps if top else None,
        width=top.width if top else None,
        height=top.height if top else None,
        packet_loss=connection.loss if connection else None,
        rtt_ms=connection.rtt_ms if connection else None,
        codecs=FigureCodecs(video=codecs.get("video"), audio=codecs.get("audio")),
        b_frames=any(layer.b_frames for feed in feeds for layer in video_layers(feed)),
    )


def _stream_fields(stream: Stream) -> dict[str, Any]:
    return {
        "stream_id": stream.key,
        "stream_name": stream.name,
        "secure_stream": stream.requires_auth,
        "multisource": _multisource(stream),
        "live": stream.live,
        "start_time": stream.started_on,
        "end_time": stream.ended_on,
        "viewer_count": stream.viewer_count,
    }


def _feed_fields(feed: Feed) -> dict[str, Any]:
    return {
        "feed_id": feed.feed_id,
        "source_id": feed.source,
        "active": feed.active,
        "start_time": feed.started_on,
        "end_time": feed.ended_on,
        "token_id": feed.token.id if feed.token else None,
        "client": FeedClient(ip=feed.client_ip),
    }


def _feed(feed: Feed) -> MonitoredFeed:
    return MonitoredFeed(**_feed_fields(feed))


def _feed_details(feed: Feed) -> MonitoredFeedDetails:
    top = top_layer(feed)
    tracks = feed.figures.tracks if feed.figures else []
    return MonitoredFeedDetails(
        **_feed_fields(feed),
        type=_FEED_TYPES.get(feed.protocol, "WebRtc"),
        packet_loss=feed.connection.loss if feed.connection else None,
        frame_rate=top.fps if top else None,
        feed_stats=[FeedStat(timestamp=s.at, packet_loss=s.packet_loss) for s in feed.history],
        track_details=[_track(feed, track) for track in tracks],
    )


def _track(feed: Feed, track: TrackFigures) -> TrackDetails:
    top = top_layer(feed)
    return TrackDetails(
        track_id=track.track,
        kind=track.kind,
        codec=track.codec,
        encoding_details=[
            EncodingDetails(
                encoding_id=layer.layer,
                bitrate=round(layer.bitrate_bps),
                width=layer.width,
                height=layer.height,
                frame_rate=layer.fps,
                key_frame_interval=layer.keyframe_interval_ms,
                packets_lost=layer.packets_lost,
                nacks=layer.nacks,
                plis=layer.plis,
                jitter=layer.jitter_ms,
                active=layer.active,
                layers=[
                    LayerDetails(
                        spatial_layer_id=level.spatial,
                        temporal_layer_id=level.temporal,
                        bitrate=level.bitrate_bps,
                        width=level.width,
                        height=level.height,
                    )
                    for level in layer.levels
                ],
                encoding_stats=_history(feed) if layer is top else [],
            )
            for layer in track.layers
        ],
    )


def _history(feed: Feed) -> list[EncodingStat]:
    codecs = feed.codecs
    return [
        EncodingStat(
            timestamp=sample.at,
            resolution=f"{sample.width}x{sample.height}"
            if sample.width and sample.height
            else None,
            bit_rate=BitRate(
                audio_bitrate=round(sample.audio_bps), video_bitrate=round(sample.video_bps)
            ),
            video_codec=codecs.get("video"),
            audio_codec=codecs.get("audio"),
            frames=sample.frames,
            rtt=sample.rtt_ms,
        )
        for sample in feed.history
    ]
