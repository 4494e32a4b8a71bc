"""Alembic's entry point; the connection comes from `stagecast.db.migrate`, or from a file for developers."""

from alembic import context
from sqlalchemy import Connection, create_engine

from stagecast.db.tables import Base


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = context.get_x_argument(as_dictionary=True).get("url", "sqlite://")
    with create_engine(url).connect() as developer_connection:
        run(developer_connection)
