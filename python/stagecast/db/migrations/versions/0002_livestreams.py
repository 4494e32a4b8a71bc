"""Apps, livestreams with their sessions and days, and API tokens.

Revision 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SECONDS: sa.Double[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("added_on", sa.DateTime(), nullable=False),
        sa.Column("last_used_on", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_api_token_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_api_token_account_id"), "api_token", ["account_id"])
    op.create_table(
        "app",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_app_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app")),
        sa.UniqueConstraint("account_id", "name", name="uq_app_account_id_name"),
    )
    op.create_table(
        "livestream",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("app_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("playback_id", sa.String(length=32), nullable=False),
        sa.Column("idempotency_key", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_livestream_account_id")
        ),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_livestream_app_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_livestream")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_livestream_key_hash")),
        sa.UniqueConstraint("playback_id", name=op.f("uq_livestream_playback_id")),
        sa.UniqueConstraint(
            "app_id", "idempotency_key", name="uq_livestream_app_id_idempotency_key"
        ),
    )
    op.create_index("ix_livestream_app_id_created_at", "livestream", ["app_id", "created_at"])
    op.create_table(
        "livestream_session",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("livestream_id", sa.String(length=36), nullable=False),
        sa.Column("err_message", sa.String(length=512), nullable=True),
        sa.Column("invoked_time", sa.DateTime(), nullable=True),
        sa.Column("started_time", sa.DateTime(), nullable=True),
        sa.Column("stopped_time", sa.DateTime(), nullable=True),
        sa.Column("ingest_seconds", _SECONDS, nullable=False),
        sa.Column("viewer_seconds", _SECONDS, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["livestream_id"],
            ["livestream.id"],
            name=op.f("fk_livestream_session_livestream_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_livestream_session")),
    )
    op.create_index(
        op.f("ix_livestream_session_stopped_time"), "livestream_session", ["stopped_time"]
    )
    op.create_index(
        "ix_livestream_session_livestream_id_created_at",
        "livestream_session",
        ["livestream_id", "created_at"],
    )
    op.create_table(
        "livestream_day",
        sa.Column("livestream_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("app_id", sa.String(length=36), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column("ingest_seconds", _SECONDS, nullable=False),
        sa.Column("viewer_seconds", _SECONDS, nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_livestream_day_app_id")),
        sa.PrimaryKeyConstraint("livestream_id", "day", name=op.f("pk_livestream_day")),
    )
    op.create_index(op.f("ix_livestream_day_app_id"), "livestream_day", ["app_id"])


def downgrade() -> None:
    for table in ("livestream_day", "livestream_session", "livestream", "app", "api_token"):
        op.drop_table(table)
