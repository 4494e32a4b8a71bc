"""Rules of livestreams: making and reading them, their keys, switching them off, and what they added up to.

A livestream is the stream of its account that is named by its id, so that every protocol that reads streams plays
it. Its key is stored as tokens are: a hash to look it up by, and sealed because the API shows it again.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.apps.schemas import Page
from stagecast.db.database import after_commit
from stagecast.db.tables import Livestream, LivestreamSession
from stagecast.errors import Conflict, Forbidden, Invalid, NotFound
from stagecast.kit.clock import utc_now
from stagecast.kit.secret import Vault, lookup_hash, new_hex_secret
from stagecast.livestreams import schemas
from stagecast.livestreams.links import Links
from stagecast.livestreams.repository import DayRepository, LivestreamRepository, SessionRepository
from stagecast.livestreams.schemas import Status
from stagecast.streams.live import stream_key

_VAULT_CONTEXT = "Livestream key"
_DEFAULT_DAYS = timedelta(days=30)
DISABLED = "The livestream is disabled."


@dataclass(frozen=True, slots=True)
class LivestreamFilter:
    """Which livestreams of an app to list."""

    status: Status | None
    search: str
    since: datetime | None
    until: datetime | None
    ascending: bool


class LivestreamService:
    def __init__(
        self,
        session: AsyncSession,
        vault: Vault,
        stop: Callable[[str, str], None] | None = None,
    ) -> None:
        """``stop(account id, stream key)`` ends what publishes to a stream; called after the commit."""
        self._session = session
        self._vault = vault
        self._stop = stop
        self._rows = LivestreamRepository(session)
        self._sessions = SessionRepository(session)
        self._days = DayRepository(session)

    # Making and changing

    async def create(
        self,
        account_id: str,
        app_id: str,
        name: str | None,
        idempotency_key: str | None,
        ladder: bool | None = None,
    ) -> Livestream:
        """Make a livestream; the same idempotency key gives the one that was made with it."""
        if idempotency_key is not None:
            made = await self._rows.by_idempotency_key(app_id, idempotency_key)
            if made is not None and made.name != name:
                raise Conflict("This Idempotency-Key made a livestream with another name.")
            if made is not None:
                return made
        now = utc_now()
        key = new_hex_secret()
        row = Livestream(
            id=str(uuid.uuid4()),
            account_id=account_id,
            app_id=app_id,
            name=name,
            status=Status.OFFLINE,
            disabled=False,
            key_hash=lookup_hash(key),
            sealed_key=self._vault.seal(key, _VAULT_CONTEXT),
            playback_id=uuid.uuid4().hex,
            idempotency_key=idempotency_key,
            ladder=ladder,
            created_at=now,
            updated_at=now,
        )
        await self._rows.add(row)
        return row

    async def reset_key(self, app_id: str, livestream_id: str) -> Livestream:
        """Make a new key; who sends now goes on, whoever connects next needs the new one."""
        row = await self.get(app_id, livestream_id)
        key = new_hex_secret()
        row.key_hash, row.sealed_key = lookup_hash(key), self._vault.seal(key, _VAULT_CONTEXT)
        row.updated_at = utc_now()
        return row

    async def set_disabled(self, app_id: str, livestream_id: str, *, disabled: bool) -> Livestream:
        """Switch off or on. Off: what is live ends, and nobody may send or play."""
        row = await self.get(app_id, livestream_id)
        if row.disabled != disabled:
            row.disabled, row.updated_at = disabled, utc_now()
        if disabled:
            self._end_feeds(row)
        return row

    async def set_ladder(self, app_id: str, livestream_id: str, ladder: bool | None) -> Livestream:
        """Choose whether it has smaller pictures; what is live goes on as it is."""
        row = await self.get(app_id, livestream_id)
        if row.ladder != ladder:
            row.ladder, row.updated_at = ladder, utc_now()
        return row

    async def delete(self, app_id: str, livestream_id: str) -> None:
        """Delete with its sessions; what is live ends. Its share in the sums of the past stays."""
        row = await self.get(app_id, livestream_id)
        await self._rows.delete(row)
        self._end_feeds(row)

    # Reading

    async def get(self, app_id: str, livestream_id: str) -> Livestream:
        row = await self._rows.of_app(app_id, _guid(livestream_id))
        if row is None:
            raise NotFound(f"No livestream found with id {livestream_id}")
        return row

    async def page(
        self, app_id: str, page: Page, wanted: LivestreamFilter
    ) -> tuple[list[Livestream], int]:
        rows, total = await self._rows.page(
            app_id,
            status=wanted.status,
            search=wanted.search,
            since=wanted.since,
            until=wanted.until,
            ascending=wanted.ascending,
            limit=page.limit,
            offset=page.offset,
        )
        return list(rows), total

    async def details(
        self, app_id: str, livestream_id: str, page: Page, links: Links
    ) -> schemas.LivestreamDetails:
        row = await self.get(app_id, livestream_id)
        sessions, total = await self._sessions.page(row.id, page.limit, page.offset)
        newest, _ = await self._sessions.page(row.id, 1, 0)
        ingest, viewer = await self._sessions.sums(row.id)
        shown = self.shown(row, links)
        return schemas.LivestreamDetails(
            **shown.model_dump(),
            ingest_seconds=round(ingest, 3),
            viewer_seconds=round(viewer, 3),
            livestream=shown,
            session=shown_session(newest[0]) if newest else None,
            sessions=[shown_session(one) for one in sessions],
            paging=page.paging(total, len(sessions)),
        )

    async def active(self, app_id: str, livestream_id: str) -> tuple[Livestream, LivestreamSession]:
        row = await self.get(app_id, livestream_id)
        session = await self._sessions.active(row.id)
        if session is None:
            raise NotFound(f"No active session found for livestream_id {row.id}")
        return row, session

    async def session(self, app_id: str, session_id: str) -> LivestreamSession:
        row = await self._sessions.get(_guid(session_id))
        if row is None or await self._rows.of_app(app_id, row.livestream_id) is None:
            raise NotFound(f"No livestream session found with id {session_id}")
        return row

    async def overall(
        self, app_id: str, since: datetime | None, until: datetime | None, livestream_id: str | None
    ) -> schemas.Overall:
        first, last = since.date() if since else None, until.date() if until else None
        count, ingest, viewer = await self._days.overall(app_id, first, last, livestream_id)
        return schemas.Overall(
            count=count, total_ingest_seconds=round(ingest), total_viewer_seconds=round(viewer)
        )

    async def daywise(
        self, app_id: str, since: datetime | None, until: datetime | None, livestream_id: str | None
    ) -> list[schemas.Day]:
        """Days with something on them; of the last 30 when nothing is said."""
        last = until or utc_now()
        first = since or last - _DEFAULT_DAYS
        rows = await self._days.daywise(app_id, first.date(), last.date(), livestream_id)
        return [
            schemas.Day(
                date=_midnight(day),
                count=count,
                total_ingest_seconds=round(ingest),
                total_viewer_seconds=round(viewer),
            )
            for day, count, ingest, viewer in rows
        ]

    def shown(self, row: Livestream, links: Links) -> schemas.Livestream:
        """The livestream as the API shows it."""
        key = self.key(row)
        return schemas.Livestream(
            id=row.id,
            name=row.name,
            status=Status(row.status),
            disabled=row.disabled,
            ingest_server=links.rtmp_server or links.rtmps_server or "",
            stream_key=key,
            playback_url=links.playback_url(row.playback_id),
            created_at=row.created_at,
            updated_at=row.updated_at,
            playback_id=row.playback_id,
            stream_name=row.id,
            rtmps_server=links.rtmps_server,
            srt_url=links.srt_url(key),
            whip_url=links.whip_url(row.id),
            whep_url=links.whep_url(row.account_id, row.id),
            viewer_url=links.viewer_url(row.account_id, row.id),
            ladder=row.ladder,
        )

    def key(self, row: Livestream) -> str:
        return self._vault.unseal(row.sealed_key, _VAULT_CONTEXT)

    # Coming in

    async def to_publish(self, key: str) -> Livestream | None:
        """The livestream of a key, or None; raise `Forbidden` when it is disabled."""
        return _enabled(await self._rows.by_key_hash(lookup_hash(key)))

    async def to_play(self, playback_id: str) -> Livestream | None:
        """The livestream of a playback id, or None; raise `Forbidden` when it is disabled."""
        return _enabled(await self._rows.by_playback_id(playback_id))

    async def named(self, account_id: str, stream_name: str) -> Livestream | None:
        """The livestream that a stream is, or None; raise `Forbidden` when it is disabled."""
        if not is_livestream_name(stream_name):
            return None
        row = await self._rows.get(stream_name)
        return _enabled(row) if row is not None and row.account_id == account_id else None

    def _end_feeds(self, row: Livestream) -> None:
        if self._stop is not None:
            after_commit(
                self._session,
                partial(self._stop, row.account_id, stream_key(row.account_id, row.id)),
            )


def is_livestream_name(stream_name: str) -> bool:
    """Whether a stream of this name may be a livestream, without asking the database."""
    try:
        return len(stream_name) == 36 and str(uuid.UUID(stream_name)) == stream_name
    except ValueError:
        return False


def shown_session(row: LivestreamSession) -> schemas.LivestreamSession:
    """A session as the API shows it."""
    shown = schemas.LivestreamSession.model_validate(row)
    shown.ingest_seconds = round(row.ingest_seconds, 3)
    shown.viewer_seconds = round(row.viewer_seconds, 3)
    return shown


def _enabled(row: Livestream | None) -> Livestream | None:
    if row is not None and row.disabled:
        raise Forbidden(DISABLED)
    return row


def _guid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Invalid("Validation errors", errors={"id": ["must be a valid GUID"]}) from None


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00.000Z"
