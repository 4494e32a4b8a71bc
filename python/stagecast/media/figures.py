"""Figures of the media core, refreshed once a second. Counters grow from the start of their session."""

from dataclasses import dataclass, field

from pydantic import TypeAdapter

from stagecast.media.events import SessionKind, TrackKind


@dataclass(frozen=True, slots=True)
class ThreadFigures:
    """One media thread."""

    thread: int
    sessions: int
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    datagrams_dropped: int


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """A spatial and temporal layer of an encoding, with all below it, as a viewer is sent it."""

    spatial: int | None = None
    temporal: int | None = None
    bitrate_bps: int = 0
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """One encoding of a track as received; ``layer`` is its RTP stream id or empty."""

    layer: str
    ssrc: int
    bitrate_bps: float
    packets: int
    packets_lost: int
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    keyframe_interval_ms: float | None = None
    nacks: int = 0
    plis: int = 0
    jitter_ms: float | None = None
    active: bool = True
    resting: bool = False
    levels: list[LevelFigures] = field(default_factory=list[LevelFigures])
    b_frames: bool = False


@dataclass(frozen=True, slots=True)
class TrackFigures:
    track: str
    kind: TrackKind
    codec: str
    layers: list[LayerFigures]


@dataclass(frozen=True, slots=True)
class SourceFigures:
    stream: str
    source: str | None
    session: str
    tracks: list[TrackFigures]


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """One publisher or viewer session."""

    session: str
    kind: SessionKind
    stream: str
    source: str | None
    connected: bool
    seconds: float
    remote: str | None = None
    protocol: str | None = None
    rtt_ms: float | None = None
    loss: float | None = None
    jitter_ms: float | None = None
    bitrate_bps: float = 0
    packets: int = 0
    bytes: int = 0
    packets_lost: int = 0
    nacks: int = 0
    plis: int = 0
    estimate_bps: float | None = None


@dataclass(frozen=True, slots=True)
class HlsFigures:
    """HLS players of one source; ``viewer_seconds`` grows as long as the source has a segmenter."""

    stream: str
    source: str | None
    viewers: int = 0
    viewer_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Figures:
    at: float = 0
    threads: list[ThreadFigures] = field(default_factory=list[ThreadFigures])
    sources: list[SourceFigures] = field(default_factory=list[SourceFigures])
    sessions: list[SessionFigures] = field(default_factory=list[SessionFigures])
    hls: list[HlsFigures] = field(default_factory=list[HlsFigures])


FIGURES: TypeAdapter[Figures] = TypeAdapter(Figures)
