"""Counting how long a livestream was sent and watched, in memory and without waiting.

A meter begins with the first media of a livestream. It goes on when the encoder is back within the reconnect
window, else the next media begins another one. What it counted is written once a second by `tasks`.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class Meter:
    """One session of one livestream."""

    account_id: str
    livestream_id: str
    at: float  # of the monotonic clock, up to which time is counted
    sources: dict[str | None, str] = field(default_factory=dict[str | None, str])
    viewers: int = 0
    ingest_seconds: float = 0
    viewer_seconds: float = 0
    invoked_on: datetime | None = None
    started_on: datetime | None = None
    stopped_on: datetime | None = None
    quiet_at: float | None = None
    error: str | None = None

    # What the database has.
    app_id: str | None = None
    session_id: str | None = None
    written_ingest: float = 0
    written_viewer: float = 0
    written_state: tuple[str, str | None] | None = None
    counted: bool = False  # among the sessions of its day
    foreign: bool = False  # there is no such livestream: somebody else's stream is named like one

    @property
    def live(self) -> bool:
        return bool(self.sources)

    def advance(self, now: float) -> None:
        """Count up to now what the state so far says."""
        passed = max(0.0, now - self.at)
        self.at = max(self.at, now)
        if self.sources:
            self.ingest_seconds += passed
            self.viewer_seconds += passed * self.viewers

    def begin(self, source: str | None, session: str, on: datetime) -> None:
        """Media of a source arrives."""
        self.sources[source] = session
        self.started_on = self.started_on or on
        self.stopped_on = self.quiet_at = self.error = None

    def end(self, source: str | None, session: str, now: float, on: datetime) -> None:
        """A source has no publisher any more, unless a newer session has taken it."""
        if self.sources.get(source) == session:
            del self.sources[source]
            if not self.sources:
                self.stopped_on, self.quiet_at = on, now

    def fail(self, session: str, text: str, now: float, on: datetime) -> None:
        """The encoder's connection failed; one that tries again and again stays one session."""
        for source in [source for source, held in self.sources.items() if held == session]:
            del self.sources[source]
        if not self.sources:
            self.error = text[:512]
            self.stopped_on = self.stopped_on or on
            self.quiet_at = now
