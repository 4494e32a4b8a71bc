"""Sessions and counters of livestreams, from the media core's events into the database.

Events change meters in memory at once. What they counted is written once a second, and at once when a livestream
goes live or ends: a crash loses a second at most. Sessions that a crash left open are closed at the next start where
they had got to, and go on when their encoder is soon back.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.db.database import Database, after_commit
from stagecast.db.tables import LivestreamSession
from stagecast.kit.clock import utc_now
from stagecast.livestreams.meter import Meter
from stagecast.livestreams.repository import DayRepository, LivestreamRepository, SessionRepository
from stagecast.livestreams.schemas import Status
from stagecast.livestreams.service import is_livestream_name
from stagecast.media.events import (
    MediaEvent,
    SessionConnected,
    SessionEnded,
    SourceEnded,
    SourceLive,
)
from stagecast.media.figures import Figures
from stagecast.streams.live import LiveStreams

_log = structlog.stdlib.get_logger(__name__)
_EVERY_SECONDS = 1.0
_AFTER_START = 60.0
_NORMAL_ENDS = {"peer_closed", "replaced", "shutdown", "stopped", "deleted"}
_ENDS = {
    "consent_lost": "The encoder fell silent.",
    "connect_timeout": "The encoder did not get its media connection through.",
    "stalled": "The encoder stopped sending.",
}


class LivestreamWatch:
    """Keeps the meters of this process; events and figures come from the event loop."""

    def __init__(
        self,
        database: Database,
        live: LiveStreams,
        reconnect_window: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._live = live
        self._window = reconnect_window.total_seconds()
        self._clock = clock
        self._meters: dict[str, Meter] = {}
        self._resumable: dict[str, tuple[str, float]] = {}
        self._hls_seconds: dict[tuple[str, str | None], float] = {}
        self._woken = asyncio.Event()
        self._writing = asyncio.Lock()

    async def start(self) -> None:
        """Close what an earlier process left open; its encoder may be back in a moment."""
        until = self._clock() + _AFTER_START
        async with self._database.work() as session:
            livestreams, sessions = LivestreamRepository(session), SessionRepository(session)
            for row in await sessions.open():
                row.stopped_time = row.updated_at
                await livestreams.set_status(row.livestream_id, Status.IDLE, row.updated_at)
                self._resumable[row.livestream_id] = (row.id, until)

    async def run(self) -> None:
        """Run until cancelled; `flush` once more afterwards loses nothing."""
        while True:
            try:
                await self.flush()
            except Exception:  # noqa: BLE001  (the meters keep what could not be written)
                _log.exception("livestreams.write_failed")
            try:
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                continue
            self._woken.clear()

    # What the media core tells us; `streams.live` has been told already.

    def on_event(self, event: MediaEvent) -> None:
        if not isinstance(event, SessionConnected | SessionEnded | SourceLive | SourceEnded):
            return
        account_id, _, name = event.stream.partition("/")
        if not is_livestream_name(name):
            return
        now = self._clock()
        meter = self._meters.get(event.stream)
        if meter is not None:
            meter.advance(now)
        match event:
            case SourceLive():
                meter = self._begun(event, meter, account_id, name, now)
                self._woken.set()
            case SourceEnded() if meter is not None:
                meter.end(event.source, event.session, now, utc_now())
                self._woken.set()
            case SessionEnded(kind="publisher") if _failed(event):
                meter = meter or self._meters.setdefault(event.stream, Meter(account_id, name, now))
                text = event.detail or _ENDS.get(event.reason) or f"It ended: {event.reason}."
                let_in = utc_now() - timedelta(seconds=event.seconds)
                meter.invoked_on = meter.invoked_on or let_in
                meter.fail(event.session, text, now, utc_now())
                self._woken.set()
            case _:
                pass
        if meter is not None:
            stream = self._live.get(event.stream)
            meter.viewers = stream.connected_viewers if stream else 0

    def on_figures(self, figures: Figures) -> None:
        """Add what HLS players have watched since the last second."""
        seen: dict[tuple[str, str | None], float] = {}
        for one in figures.hls:
            place = (one.stream, one.source)
            seen[place] = one.viewer_seconds
            before = self._hls_seconds.get(place, 0.0)
            meter = self._meters.get(one.stream)
            if meter is not None:
                # A count below the last one is of a new segmenter, which began at zero.
                meter.viewer_seconds += one.viewer_seconds - (
                    before if one.viewer_seconds >= before else 0.0
                )
        self._hls_seconds = seen

    def _begun(
        self, event: SourceLive, meter: Meter | None, account_id: str, name: str, now: float
    ) -> Meter:
        if meter is None or (meter.quiet_at is not None and now - meter.quiet_at > self._window):
            meter = self._meters[event.stream] = Meter(account_id, name, now)
        if meter.invoked_on is None and (feed := self._live.find_feed(event.session)) is not None:
            meter.invoked_on = feed.accepted_on
        meter.begin(event.source, event.session, utc_now())
        return meter

    # Into the database.

    async def flush(self) -> None:
        """Write what the meters counted; all of it, or nothing."""
        async with self._writing:
            now = self._clock()
            for meter in self._meters.values():
                meter.advance(now)
            news = [meter for meter in self._meters.values() if _has_news(meter)]
            if news:
                async with self._database.work() as session:
                    for meter in news:
                        await self._write(session, meter)
            for key, meter in list(self._meters.items()):
                if meter.quiet_at is not None and now - meter.quiet_at > self._window:
                    del self._meters[key]

    async def _write(self, session: AsyncSession, meter: Meter) -> None:
        livestreams, sessions = LivestreamRepository(session), SessionRepository(session)
        row = await livestreams.get(meter.livestream_id)
        if row is None or row.account_id != meter.account_id:
            meter.foreign = True
            return
        now, state = utc_now(), _state(meter)
        interrupted = None
        if meter.session_id is None:
            interrupted = await self._interrupted(sessions, meter)
        before = (
            (interrupted.ingest_seconds, interrupted.viewer_seconds) if interrupted else (0.0, 0.0)
        )
        ingest, viewer = meter.ingest_seconds + before[0], meter.viewer_seconds + before[1]
        invoked_on = interrupted.invoked_time if interrupted else meter.invoked_on
        started_on = interrupted.started_time if interrupted else meter.started_on
        session_id = interrupted.id if interrupted else meter.session_id
        if session_id is None:
            session_id = await _open(sessions, meter)
        await sessions.write(
            session_id,
            {
                "ingest_seconds": ingest,
                "viewer_seconds": viewer,
                "invoked_time": invoked_on,
                "started_time": started_on,
                "stopped_time": meter.stopped_on,
                "err_message": meter.error,
                "updated_at": now,
            },
        )
        if state != meter.written_state:
            await livestreams.set_status(meter.livestream_id, state[0], now)
        begins = started_on is not None and not meter.counted and interrupted is None
        await DayRepository(session).add(
            row.id,
            row.app_id,
            now.date(),
            sessions=int(begins),
            ingest_seconds=ingest - before[0] - meter.written_ingest,
            viewer_seconds=viewer - before[1] - meter.written_viewer,
        )

        def written() -> None:
            meter.session_id, meter.started_on = session_id, started_on
            meter.counted = meter.counted or started_on is not None
            meter.ingest_seconds += before[0]
            meter.viewer_seconds += before[1]
            meter.written_ingest, meter.written_viewer = ingest, viewer
            meter.written_state = state
            if meter.live:
                self._resumable.pop(meter.livestream_id, None)

        after_commit(session, written)

    async def _interrupted(
        self, sessions: SessionRepository, meter: Meter
    ) -> LivestreamSession | None:
        """The session that a crash interrupted and that this meter goes on with, where there is one."""
        held, until = self._resumable.get(meter.livestream_id, ("", 0.0))
        return await sessions.get(held) if held and meter.live and meter.at <= until else None


def _failed(event: SessionEnded) -> bool:
    """Whether a person has to look at it; a worker that fails is started again."""
    return event.reason not in _NORMAL_ENDS and event.protocol != "worker"


async def _open(sessions: SessionRepository, meter: Meter) -> str:
    now = utc_now()
    row = LivestreamSession(
        id=str(uuid.uuid4()),
        livestream_id=meter.livestream_id,
        err_message=None,
        invoked_time=meter.invoked_on,
        started_time=meter.started_on,
        stopped_time=meter.stopped_on,
        ingest_seconds=0,
        viewer_seconds=0,
        created_at=now,
        updated_at=now,
    )
    await sessions.add(row)
    return row.id


def _state(meter: Meter) -> tuple[str, str | None]:
    if meter.live:
        return (Status.LIVE, None)
    return (Status.ERRORED, meter.error) if meter.error else (Status.IDLE, None)


def _has_news(meter: Meter) -> bool:
    return not meter.foreign and (
        meter.ingest_seconds != meter.written_ingest
        or meter.viewer_seconds != meter.written_viewer
        or _state(meter) != meter.written_state
    )
