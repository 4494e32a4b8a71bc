"""JSON of livestreams, as RealtimeKit shapes it.

Where the original's documents differ, an answer carries every shape at once (`LivestreamDetails`). Fields after
the original's own are this server's: the other ways to send to and to watch the same livestream.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from stagecast.apps.schemas import Paging, RealtimeModel
from stagecast.kit.clock import Timestamp

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9-_]*$", max_length=128)]


LADDER = "Smaller pictures for HLS players, transcoded while somebody watches; null leaves it to the server."


class Status(StrEnum):
    OFFLINE = "OFFLINE"
    INVOKED = "INVOKED"
    LIVE = "LIVE"
    IDLE = "IDLE"
    ERRORED = "ERRORED"


class LivestreamCreate(RealtimeModel):
    """A new livestream."""

    name: Name | None = Field(default=None, description="Letters, digits, `-` and `_`.")
    ladder: bool | None = Field(default=None, description=LADDER)


class LadderChange(RealtimeModel):
    """Whether HLS players get smaller pictures, from the next time the livestream goes live."""

    ladder: bool | None = Field(description=LADDER)


class Livestream(RealtimeModel):
    """A livestream: where to send and where to watch."""

    id: str
    name: str | None
    meeting_id: None = Field(default=None, description="Always null: it stands alone.")
    status: Status = Field(
        description="OFFLINE: nothing was sent yet. LIVE. IDLE: it was live. ERRORED: the last session failed."
    )
    disabled: bool
    ingest_server: str = Field(
        description="RTMP server; with `stream_key` behind it the whole address."
    )
    stream_key: str
    playback_url: str = Field(description="HLS playlist.")
    created_at: Timestamp
    updated_at: Timestamp
    playback_id: str
    stream_name: str = Field(description="The livestream is this stream of the account, for WHEP.")
    rtmps_server: str | None = Field(description="The RTMP server over TLS; null where it is off.")
    srt_url: str | None = Field(description="SRT address with the key; null where SRT is off.")
    whip_url: str = Field(description="WHIP address; `stream_key` is its Bearer token.")
    whep_url: str = Field(description="WHEP address, for less than half a second of delay.")
    viewer_url: str = Field(description="Hosted player.")
    ladder: bool | None = Field(description=LADDER)


class LivestreamSession(RealtimeModel):
    """One run of a livestream."""

    id: str
    livestream_id: str
    err_message: str | None = Field(description="Why it failed, where it did.")
    invoked_time: Timestamp | None = Field(description="When the encoder was let in.")
    started_time: Timestamp | None = Field(description="First media.")
    stopped_time: Timestamp | None = Field(description="Last media; null while it is live.")
    created_at: Timestamp
    updated_at: Timestamp
    ingest_seconds: float = Field(description="How long media came in.")
    viewer_seconds: float = Field(description="How long all viewers together watched.")


class LivestreamDetails(Livestream):
    """A livestream flat, with its sums, and nested, with its sessions: each as some client expects it."""

    ingest_seconds: float
    viewer_seconds: float
    livestream: Livestream
    session: LivestreamSession | None = Field(description="The latest.")
    sessions: list[LivestreamSession] = Field(description="Newest first.")
    paging: Paging


class ActiveSession(RealtimeModel):
    livestream: Livestream
    session: LivestreamSession


class LivestreamOfApp(Livestream):
    org_id: str = Field(description="The app.")


class Deleted(RealtimeModel):
    id: str


class Overall(RealtimeModel):
    """Sums of the livestreams of an app."""

    count: int = Field(description="Livestreams that were live.")
    total_ingest_seconds: int
    total_viewer_seconds: int


class Day(RealtimeModel):
    """One day (UTC)."""

    date: str
    count: int = Field(description="Sessions that began on this day.")
    total_ingest_seconds: int
    total_viewer_seconds: int


def _moment(value: object) -> object:
    """A date-time, a date, or Unix seconds, as different clients send it."""
    if isinstance(value, str):
        text = value.strip()
        try:
            seconds = float(text)
        except ValueError:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise ValueError("must be an ISO 8601 time or Unix seconds") from None
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            raise ValueError("must be an ISO 8601 time or Unix seconds") from None
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
SortOrder = Literal["ASC", "DSC", "DESC"]
