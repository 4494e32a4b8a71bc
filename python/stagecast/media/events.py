"""Lifecycle events of the media core, as it sends them: one JSON object each, told apart by ``type``."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

SessionKind = Literal["publisher", "viewer"]
TrackKind = Literal["audio", "video"]
Codec = Literal["h264", "vp8", "vp9", "av1", "h265", "opus", "aac"]


@dataclass(frozen=True, slots=True)
class TrackInfo:
    """One track of a live source."""

    track: str
    kind: TrackKind
    codec: str


@dataclass(frozen=True, slots=True)
class SessionConnected:
    """ICE and DTLS are up."""

    type: Literal["session_connected"]
    session: str
    kind: SessionKind
    stream: str
    source: str | None
    remote: str
    protocol: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The session is gone, whatever ended it; sent once for every session that was answered."""

    type: Literal["session_ended"]
    session: str
    kind: SessionKind
    stream: str
    source: str | None
    reason: str
    seconds: float
    detail: str | None = None
    remote: str | None = None
    protocol: str | None = None


@dataclass(frozen=True, slots=True)
class SourceLive:
    """First media of a source arrived, or a newer session took the source over."""

    type: Literal["source_live"]
    stream: str
    source: str | None
    session: str
    tracks: list[TrackInfo]


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """The source has no publisher any more."""

    type: Literal["source_ended"]
    stream: str
    source: str | None
    session: str


@dataclass(frozen=True, slots=True)
class AdmissionAsked:
    """A peer whose request does not pass through the control plane wants to come in.

    ``path`` is what it asked for without its query: ``live/KEY``, the resource of an SRT stream id, the playback
    id of an HLS address. Answered by `Engine.decide` within 5 seconds.
    """

    type: Literal["admission_asked"]
    question: int
    protocol: str
    action: Literal["publish", "play"]
    path: str
    query: list[tuple[str, str]]
    remote: str
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class TranscodeWanted:
    """A source has readers who can only take another audio codec than it has."""

    type: Literal["transcode_wanted"]
    stream: str
    source: str | None
    from_: Annotated[Codec, Field(alias="from")]
    to: Codec


@dataclass(frozen=True, slots=True)
class TranscodeUnwanted:
    """Those readers are gone, and have been for a while."""

    type: Literal["transcode_unwanted"]
    stream: str
    source: str | None
    from_: Annotated[Codec, Field(alias="from")]
    to: Codec


@dataclass(frozen=True, slots=True)
class AskedLayer:
    """A layer that a publisher is to send, or not."""

    layer: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class LayersAsked:
    """Which layers of a track a publisher is to send from now on: nobody reads the others."""

    type: Literal["layers_asked"]
    stream: str
    source: str | None
    session: str
    track: str
    layers: list[AskedLayer]


MediaEvent = (
    SessionConnected
    | SessionEnded
    | SourceLive
    | SourceEnded
    | AdmissionAsked
    | TranscodeWanted
    | TranscodeUnwanted
    | LayersAsked
)

EVENTS: TypeAdapter[list[MediaEvent]] = TypeAdapter(
    list[Annotated[MediaEvent, Field(discriminator="type")]]
)
