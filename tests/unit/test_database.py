"""The version of the database, which tells when there may be something new."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from stagecast.db.database import Database

PATIENCE = timedelta(seconds=5)


async def test_version_changes_with_every_commit_whoever_makes_it(tmp_path: Path) -> None:
    database, other = (Database(tmp_path / "stagecast.db", PATIENCE) for _ in range(2))
    async with database.work() as session:
        await session.execute(text("CREATE TABLE thing (id INTEGER)"))
    versions = [database.version()]
    for writer in (database, other):
        assert database.version() == versions[-1]
        async with writer.work() as session:
            await session.execute(text("INSERT INTO thing VALUES (1)"))
            # Nobody sees what is not committed.
            assert database.version() == versions[-1]
        versions.append(database.version())
    async with other.work() as session:
        await session.execute(text("SELECT * FROM thing"))
    assert database.version() == versions[-1]
    assert len(set(versions)) == 3
    await database.close()
    await other.close()
