"""All SQL about livestreams, their sessions and their days."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.db.tables import Livestream, LivestreamDay, LivestreamSession


class LivestreamRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: Livestream) -> None:
        self._session.add(row)
        await self._session.flush()

    async def get(self, livestream_id: str) -> Livestream | None:
        return await self._session.get(Livestream, livestream_id)

    async def of_app(self, app_id: str, livestream_id: str) -> Livestream | None:
        row = await self.get(livestream_id)
        return row if row is not None and row.app_id == app_id else None

    async def by_key_hash(self, key_hash: bytes) -> Livestream | None:
        return await self._session.scalar(select(Livestream).where(Livestream.key_hash == key_hash))

    async def by_playback_id(self, playback_id: str) -> Livestream | None:
        return await self._session.scalar(
            select(Livestream).where(Livestream.playback_id == playback_id)
        )

    async def by_idempotency_key(self, app_id: str, key: str) -> Livestream | None:
        return await self._session.scalar(
            select(Livestream).where(Livestream.app_id == app_id, Livestream.idempotency_key == key)
        )

    async def page(
        self,
        app_id: str,
        *,
        status: str | None,
        search: str,
        since: datetime | None,
        until: datetime | None,
        ascending: bool,
        limit: int,
        offset: int,
    ) -> tuple[Sequence[Livestream], int]:
        """One page of an app's livestreams by their creation, and how many there are in all."""
        where: list[ColumnElement[bool]] = [Livestream.app_id == app_id]
        if status is not None:
            where.append(Livestream.status == status)
        if search:
            where.append(Livestream.name.icontains(search, autoescape=True))
        if since is not None:
            where.append(Livestream.created_at >= since)
        if until is not None:
            where.append(Livestream.created_at <= until)
        total = await self._session.scalar(
            select(func.count()).select_from(Livestream).where(*where)
        )
        order = (
            (Livestream.created_at, Livestream.id)
            if ascending
            else (Livestream.created_at.desc(), Livestream.id.desc())
        )
        rows = await self._session.scalars(
            select(Livestream).where(*where).order_by(*order).limit(limit).offset(offset)
        )
        return rows.all(), total or 0

    async def delete(self, row: Livestream) -> None:
        await self._session.delete(row)
        await self._session.flush()

    async def set_status(self, livestream_id: str, status: str, at: datetime) -> None:
        await self._session.execute(
            update(Livestream)
            .where(Livestream.id == livestream_id)
            .values(status=status, updated_at=at)
        )


class SessionRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: LivestreamSession) -> None:
        self._session.add(row)
        await self._session.flush()

    async def get(self, session_id: str) -> LivestreamSession | None:
        return await self._session.get(LivestreamSession, session_id)

    async def page(
        self, livestream_id: str, limit: int, offset: int
    ) -> tuple[Sequence[LivestreamSession], int]:
        """Sessions of a livestream, newest first."""
        where = LivestreamSession.livestream_id == livestream_id
        total = await self._session.scalar(
            select(func.count()).select_from(LivestreamSession).where(where)
        )
        rows = await self._session.scalars(
            select(LivestreamSession)
            .where(where)
            .order_by(LivestreamSession.created_at.desc(), LivestreamSession.id)
            .limit(limit)
            .offset(offset)
        )
        return rows.all(), total or 0

    async def active(self, livestream_id: str) -> LivestreamSession | None:
        return await self._session.scalar(
            select(LivestreamSession).where(
                LivestreamSession.livestream_id == livestream_id,
                LivestreamSession.started_time.is_not(None),
                LivestreamSession.stopped_time.is_(None),
            )
        )

    async def open(self) -> Sequence[LivestreamSession]:
        rows = await self._session.scalars(
            select(LivestreamSession).where(LivestreamSession.stopped_time.is_(None))
        )
        return rows.all()

    async def sums(self, livestream_id: str) -> tuple[float, float]:
        """Seconds sent and watched in all sessions."""
        row = (
            await self._session.execute(
                select(
                    func.coalesce(func.sum(LivestreamSession.ingest_seconds), 0.0),
                    func.coalesce(func.sum(LivestreamSession.viewer_seconds), 0.0),
                ).where(LivestreamSession.livestream_id == livestream_id)
            )
        ).one()
        return row[0], row[1]

    async def write(self, session_id: str, values: dict[str, object]) -> None:
        await self._session.execute(
            update(LivestreamSession).where(LivestreamSession.id == session_id).values(**values)
        )


class DayRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self,
        livestream_id: str,
        app_id: str,
        day: date,
        *,
        sessions: int,
        ingest_seconds: float,
        viewer_seconds: float,
    ) -> None:
        """Add to a day of a livestream."""
        new = insert(LivestreamDay).values(
            livestream_id=livestream_id,
            day=day,
            app_id=app_id,
            sessions=sessions,
            ingest_seconds=ingest_seconds,
            viewer_seconds=viewer_seconds,
        )
        await self._session.execute(
            new.on_conflict_do_update(
                index_elements=["livestream_id", "day"],
                set_={
                    "sessions": LivestreamDay.sessions + sessions,
                    "ingest_seconds": LivestreamDay.ingest_seconds + ingest_seconds,
                    "viewer_seconds": LivestreamDay.viewer_seconds + viewer_seconds,
                },
            )
        )

    async def overall(
        self, app_id: str, first: date | None, last: date | None, livestream_id: str | None
    ) -> tuple[int, float, float]:
        """Livestreams that were live, seconds sent, seconds watched."""
        row = (
            await self._session.execute(
                select(
                    func.count(LivestreamDay.livestream_id.distinct()),
                    func.coalesce(func.sum(LivestreamDay.ingest_seconds), 0.0),
                    func.coalesce(func.sum(LivestreamDay.viewer_seconds), 0.0),
                ).where(*_within(app_id, first, last, livestream_id))
            )
        ).one()
        return row[0], row[1], row[2]

    async def daywise(
        self, app_id: str, first: date | None, last: date | None, livestream_id: str | None
    ) -> Sequence[tuple[date, int, float, float]]:
        """Each day on which there was something: sessions begun, seconds sent, seconds watched."""
        rows = await self._session.execute(
            select(
                LivestreamDay.day,
                func.sum(LivestreamDay.sessions),
                func.sum(LivestreamDay.ingest_seconds),
                func.sum(LivestreamDay.viewer_seconds),
            )
            .where(*_within(app_id, first, last, livestream_id))
            .group_by(LivestreamDay.day)
            .order_by(LivestreamDay.day)
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]


def _within(
    app_id: str, first: date | None, last: date | None, livestream_id: str | None
) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [LivestreamDay.app_id == app_id]
    if livestream_id is not None:
        where.append(LivestreamDay.livestream_id == livestream_id)
    if first is not None:
        where.append(LivestreamDay.day >= first)
    if last is not None:
        where.append(LivestreamDay.day <= last)
    return where
