"""One SQLite file in WAL mode, and units of work on it.

`Database.work` is the only place that commits: an endpoint, a task or a CLI command opens one unit,
services and repositories use its session, and it commits when the block ends without an exception.
"""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)


class Database:
    def __init__(self, path: Path, busy_timeout: timedelta) -> None:
        self.path = path
        self.engine: AsyncEngine = create_async_engine(
            f"sqlite+aiosqlite:///{path}", connect_args={"timeout": busy_timeout.total_seconds()}
        )
        event.listen(self.engine.sync_engine, "connect", _configure_connection)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._observer: sqlite3.Connection | None = None

    @asynccontextmanager
    async def work(self) -> AsyncGenerator[AsyncSession]:
        """A unit of work: committed at the end, rolled back on any exception."""
        async with self._sessions() as session:
            async with session.begin():
                yield session
            for callback in _after_commit(session):
                callback()

    def version(self) -> int:
        """Another number whenever somebody has committed, whichever process that was.

        It takes microseconds, where a query that finds nothing new takes milliseconds of threads that wake
        one another. Call it from the event loop's thread.
        """
        if self._observer is None:
            self._observer = sqlite3.connect(self.path, timeout=0)
        (version,) = self._observer.execute("PRAGMA data_version").fetchone()
        return int(version)

    async def close(self) -> None:
        if self._observer is not None:
            self._observer.close()
            self._observer = None
        await self.engine.dispose()


def after_commit(session: AsyncSession, callback: Callable[[], None]) -> None:
    """Run ``callback`` once, if and after the unit of work commits."""
    _after_commit(session).append(callback)


def _after_commit(session: AsyncSession) -> list[Callable[[], None]]:
    return session.info.setdefault("after_commit", [])


def _configure_connection(connection: Any, _record: object) -> None:
    configure_sqlite(connection.cursor())


def configure_sqlite(cursor: sqlite3.Cursor) -> None:
    """WAL: readers never wait for the writer. NORMAL: an operating system crash may lose the last
    transactions, never the file.
    """
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
