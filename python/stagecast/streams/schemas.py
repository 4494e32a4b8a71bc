"""JSON of the monitoring API and of stopping streams."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from stagecast.kit.clock import Timestamp
from stagecast.kit.schema import Schema

CLUSTER = "auto"


FeedType = Literal["WebRtc", "Rtmp", "Srt"]


class StreamSortBy(StrEnum):
    STREAM_ID = "StreamId"
    CLUSTER = "Cluster"
    START_TIME = "StartTime"
    DURATION = "Duration"
    LIVE = "Live"
    VIEWER_COUNT = "ViewerCount"
    RESTREAM = "Restream"


class FeedClient(Schema):
    """Where a feed comes from; places are not looked up on this server."""

    country: str | None = None
    city: str | None = None
    continent: str | None = None
    coordinates: str | None = None
    sub: str | None = None
    ip: str | None = None


class RestreamState(Schema):
    label: str | None
    index: int
    url: str
    active: bool


class MonitoredFeed(Schema):
    """One publishing connection."""

    feed_id: str
    cluster_id: str = CLUSTER
    source_id: str | None = Field(description="Null is the main source.")
    simulcast_id: str | None = None
    server_id: str | None = None
    active: bool = Field(description="Whether its media is what viewers get now.")
    start_time: Timestamp | None
    end_time: Timestamp | None
    is_recording_allowed: bool = False
    is_redundant: bool = False
    priority: int | None = None
    token_id: int | None = Field(description="Null when a livestream's key let it in.")
    client: FeedClient
    restreams: list[RestreamState] = []


class FeedStat(Schema):
    timestamp: Timestamp
    packet_loss: float = Field(description="Share of packets lost, 0 to 1.")


class BitRate(Schema):
    audio_bitrate: int = Field(description="Bits a second.")
    video_bitrate: int = Field(description="Bits a second.")


class EncodingStat(Schema):
    """One second of an encoding."""

    timestamp: Timestamp
    resolution: str | None = Field(description="`1280x720`, or null without video.")
    bit_rate: BitRate
    video_codec: str | None
    audio_codec: str | None
    frames: float = Field(description="Frames a second.")
    rtt: float | None = Field(description="Round trip to the publisher in milliseconds.")
    buffer_time: float | None = None
    b_frames: int | None = None


class LayerDetails(Schema):
    """A spatial and temporal layer of an encoding, with all below it."""

    spatial_layer_id: int | None = Field(description="Null when there is one only.")
    temporal_layer_id: int | None = Field(description="Null when there is one only.")
    bitrate: int = Field(description="Bits a second that a viewer of it is sent.")
    width: int | None
    height: int | None


class EncodingDetails(Schema):
    encoding_id: str = Field(description="RTP stream id of the layer, or empty.")
    i_frame_rate: float | None = None
    b_frame_rate: float | None = None
    p_frame_rate: float | None = None
    bitrate: int = Field(description="Bits a second in the last second.")
    width: int | None
    height: int | None
    frame_rate: float | None
    key_frame_interval: float | None = Field(description="Milliseconds between the last keyframes.")
    packets_lost: int
    nacks: int
    plis: int
    jitter: float | None = Field(description="Milliseconds.")
    active: bool = Field(default=True, description="Whether media of it comes now.")
    layers: list[LayerDetails] = Field(
        default=[], description="What viewers can be given of it, worst first."
    )
    encoding_stats: list[EncodingStat] = Field(
        default=[],
        description="The last two minutes, second by second; on the best video encoding only.",
    )


class TrackDetails(Schema):
    track_id: str
    kind: Literal["audio", "video"]
    codec: str
    encoding_details: list[EncodingDetails]


class MonitoredFeedDetails(MonitoredFeed):
    """One publishing connection with its figures."""

    packet_loss: float | None = Field(description="Share of packets lost, 0 to 1.")
    frame_rate: float | None
    type: FeedType = "WebRtc"
    feed_stats: list[FeedStat]
    track_details: list[TrackDetails]


class MonitoredStream(Schema):
    """A stream that is live or ended within the last hour."""

    stream_id: str = Field(description="`accountId/streamName`.")
    stream_name: str
    cluster_id: str = CLUSTER
    clusters: list[str] = [CLUSTER]
    secure_stream: bool = Field(description="Viewers need a subscribe token.")
    is_recording_allowed: bool = False
    multisource: bool = Field(description="More than one source was seen.")
    live: bool
    start_time: Timestamp | None
    end_time: Timestamp | None
    viewer_count: int
    has_redundant: bool = False
    restreaming: bool = False
    feeds: list[MonitoredFeed]


class MonitoredStreamDetails(MonitoredStream):
    feeds: list[MonitoredFeedDetails]  # pyright: ignore[reportIncompatibleVariableOverride]  (a narrower item)


class Pagination(Schema):
    total_items: int
    total_pages: int
    items_on_page: int


class MonitoredStreams(Schema):
    pagination: Pagination
    data: list[MonitoredStream]


class StreamsSummary(Schema):
    """The account's streams in numbers."""

    total_streams: int
    live_streams: int
    ended_streams: int
    viewer_count: int
    incoming_bitrate: int = Field(description="Bits a second of all live feeds.")


class StreamSummary(Schema):
    """One stream in numbers."""

    stream_id: str
    stream_name: str
    live: bool
    start_time: Timestamp | None
    end_time: Timestamp | None
    viewer_count: int
    active_feeds: int
    incoming_bitrate: int = Field(description="Bits a second of its live feeds.")


class StreamStop(Schema):
    stream_id: Annotated[str, StringConstraints(min_length=3, max_length=170)] = Field(
        description="`accountId/streamName`."
    )


class Stopped(Schema):
    stopping_level: Literal["Account", "Stream", "Feed", "Server", "Token", "None"] = Field(
        description="What was stopped; `None` when nothing was live."
    )


class FigureCodecs(Schema):
    video: str | None
    audio: str | None


class StreamFigures(Schema):
    """One live stream in the `figures` event."""

    stream_id: str
    viewer_count: int
    bitrate_bps: int
    fps: float | None
    width: int | None
    height: int | None
    packet_loss: float | None
    rtt_ms: float | None
    codecs: FigureCodecs
    b_frames: bool = Field(
        description="Whether its video has B-frames, of which WebRTC viewers get fewer pictures."
    )


class FiguresEvent(Schema):
    """`event: figures`, once a second."""

    at: Timestamp
    streams: list[StreamFigures]


class TokenEvent(Schema):
    """`event: token`, after every change of a token."""

    token_id: int
    token_type: Literal["Publish", "Subscribe"]
    change: Literal["created", "updated", "deleted"]


class HelloEvent(Schema):
    """`event: hello`, first on every connection."""

    version: str
