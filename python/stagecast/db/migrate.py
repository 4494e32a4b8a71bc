"""Bringing the database file to the newest schema, under a lock that other processes respect."""

import fcntl
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from stagecast.db.database import configure_sqlite
from stagecast.errors import StartError

_SCRIPTS = Path(__file__).parent / "migrations"


@contextmanager
def start_lock(data: Path) -> Generator[None]:
    """Hold the data directory's lock while keys are made and the schema changes."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / ".start.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def upgrade(path: Path) -> None:
    """Run the missing migrations, each in a transaction; callers hold the start lock."""
    engine = _sync_engine(path)
    try:
        with engine.connect() as connection:
            if _revision(connection) == head():
                return
            if (found := _revision(connection)) is not None and found not in _known():
                raise StartError(
                    f"{path} was written by a newer Stagecast (schema {found}). Install that version, "
                    "or restore a backup made before the upgrade."
                )
            connection.rollback()
            config = Config()
            config.set_main_option("script_location", str(_SCRIPTS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except (sqlite3.DatabaseError, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StartError(f"{path} cannot be opened: {cause}") from error
    finally:
        engine.dispose()


def head() -> str:
    """The newest schema revision this code knows."""
    revision = _scripts().get_current_head()
    if revision is None:
        raise StartError("No migrations are installed; reinstall the stagecast package.")
    return revision


def current_revision(path: Path) -> str | None:
    engine = _sync_engine(path)
    try:
        with engine.connect() as connection:
            return _revision(connection)
    finally:
        engine.dispose()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_SCRIPTS))


def _known() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


def _sync_engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        # The driver must not start transactions by itself: it would leave DDL outside of them.
        connection.isolation_level = None
        configure_sqlite(connection.cursor())

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
