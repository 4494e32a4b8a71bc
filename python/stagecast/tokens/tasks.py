"""Applying token changes to running streams, whichever process made them.

The outbox is read at once after a change made here, and within a second after one of another process. A deleted
token ends its sessions; a changed one updates whether viewers need a token; every change is told to the account's
dashboards.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import cast

import structlog

from stagecast.db.database import Database
from stagecast.db.tables import TokenChange
from stagecast.kit.clock import utc_now
from stagecast.media.engine import Engine
from stagecast.streams.live import LiveStreams, TokenRef, TokenType
from stagecast.tokens.repository import OutboxRepository, publish_tokens
from stagecast.tokens.service import Change, TokenChanged

_log = structlog.stdlib.get_logger(__name__)
_EVERY_SECONDS = 1.0
_BATCH = 1000
_KEPT = timedelta(hours=1)
_PURGE_EVERY = 600


class TokenWatch:
    def __init__(self, database: Database, engine: Engine, live: LiveStreams) -> None:
        self._database = database
        self._engine = engine
        self._live = live
        self._last_id = 0
        self._version: int | None = None
        self._woken = asyncio.Event()
        self._applying = asyncio.Lock()
        self._listeners: list[Callable[[TokenChanged], None]] = []

    async def start(self) -> None:
        """Begin after the changes made so far: no session of an earlier process is running."""
        async with self._database.work() as session:
            self._last_id = await OutboxRepository(session).last_id()

    def wake(self) -> None:
        """Look at the outbox now; called after each commit that wrote to it."""
        self._woken.set()

    def on_change(self, listener: Callable[[TokenChanged], None]) -> None:
        self._listeners.append(listener)

    async def run(self) -> None:
        """Run until cancelled."""
        rounds = 0
        while True:
            try:
                # A commit that comes while it is read is for the next round.
                version = self._database.version()
                if version != self._version:
                    await self.apply()
                    self._version = version
                rounds += 1
                if rounds % _PURGE_EVERY == 0:
                    async with self._database.work() as session:
                        await OutboxRepository(session).delete_before(utc_now() - _KEPT)
            except Exception:  # noqa: BLE001  (the next second tries again, from the same place)
                _log.exception("tokens.watch_failed")
            try:
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                continue
            self._woken.clear()

    async def apply(self) -> None:
        """Apply the changes since the last call."""
        async with self._applying:
            # Whoever calls looks again when there was a commit: nothing may be left for then.
            while await self._apply_batch() == _BATCH:
                pass

    async def _apply_batch(self) -> int:
        async with self._database.work() as session:
            changes = await OutboxRepository(session).after(self._last_id, _BATCH)
            requires_auth = {
                change.token_id: row.subscribe_requires_auth
                for change in changes
                if change.token_type == "Publish"  # noqa: S105
                and (row := await publish_tokens(session).by_id(change.token_id)) is not None
            }
        for change in changes:
            self._apply(change, requires_auth.get(change.token_id))
            self._last_id = change.id
        return len(changes)

    def _apply(self, change: TokenChange, requires_auth: bool | None) -> None:
        kind = cast("TokenType", change.token_type)
        token = TokenRef(kind, change.token_id)
        if change.change == "deleted":
            for ended in self._live.sessions_of(token):
                self._engine.end_session(ended, "stopped")
        elif token.type == "Publish" and requires_auth is not None:
            self._live.set_requires_auth(token, requires_auth)
        changed = TokenChanged(change.account_id, token, cast("Change", change.change))
        for listener in self._listeners:
            listener(changed)
