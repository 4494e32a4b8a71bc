"""Migrations lead to the tables of the code, alone, together and from a newer version."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from stagecast.db.migrate import current_revision, head, upgrade
from stagecast.db.store import open_store
from stagecast.db.tables import Base
from stagecast.errors import StartError
from stagecast.settings import Settings


def test_migrations_lead_to_the_tables_of_the_code(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    upgrade(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    assert current_revision(path) == head()


def test_database_is_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    upgrade(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    upgrade(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StartError, match="newer Stagecast"):
        upgrade(path)
    assert current_revision(path) == "9999"


def test_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stagecast.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StartError, match="cannot be opened"):
        upgrade(path)


def test_failed_migration_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    def fail(*_arguments: object, **_options: object) -> None:
        raise sqlite3.OperationalError("disk full")

    path = tmp_path / "new.db"
    with monkeypatch.context() as patch:
        patch.setattr(op, "batch_alter_table", fail)
        with pytest.raises(StartError):
            upgrade(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()
    upgrade(path)
    assert current_revision(path) == head()


def _open(data: Path) -> bool:
    _database, vault = open_store(Settings(data=data))
    return vault.unseal(vault.seal("x", "c"), "c") == "x"


def test_processes_that_start_together_share_one_database(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(3) as pool:
        assert pool.map(_open, [tmp_path / "data"] * 3) == [True] * 3
    assert current_revision(tmp_path / "data" / "stagecast.db") == head()


def test_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be used"):
        open_store(Settings(data=tmp_path / "file" / "data"))
