"""First tables: accounts, users, secrets, tokens and the outbox of their changes.

Revision 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_on", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_table(
        "token_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("token_type", sa.String(length=16), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("change", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_change")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("token_change", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_token_change_at"), ["at"], unique=False)

    op.create_table(
        "api_secret",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("added_on", sa.DateTime(), nullable=False),
        sa.Column("last_used_on", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_api_secret_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_secret")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_secret_secret_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("api_secret", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_secret_account_id"), ["account_id"], unique=False)

    op.create_table(
        "publish_token",
        sa.Column("subscribe_requires_auth", sa.Boolean(), nullable=False),
        sa.Column("multisource", sa.Boolean(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("added_on", sa.DateTime(), nullable=False),
        sa.Column("expires_on", sa.DateTime(), nullable=True),
        sa.Column("allowed_origins", sa.JSON(), nullable=False),
        sa.Column("allowed_ip_addresses", sa.JSON(), nullable=False),
        sa.Column("bind_ips_on_usage", sa.Integer(), nullable=False),
        sa.Column("bound_ips", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_publish_token_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publish_token")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_publish_token_secret_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("publish_token", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_publish_token_account_id"), ["account_id"], unique=False
        )

    op.create_table(
        "subscribe_token",
        sa.Column("tracking_id", sa.String(length=128), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("added_on", sa.DateTime(), nullable=False),
        sa.Column("expires_on", sa.DateTime(), nullable=True),
        sa.Column("allowed_origins", sa.JSON(), nullable=False),
        sa.Column("allowed_ip_addresses", sa.JSON(), nullable=False),
        sa.Column("bind_ips_on_usage", sa.Integer(), nullable=False),
        sa.Column("bound_ips", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_subscribe_token_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscribe_token")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_subscribe_token_secret_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("subscribe_token", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_subscribe_token_account_id"), ["account_id"], unique=False
        )

    op.create_table(
        "user",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.Column("must_change_password", sa.Boolean(), nullable=False),
        sa.Column("created_on", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_user_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("email", name=op.f("uq_user_email")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "login_session",
        sa.Column("id_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_on", sa.DateTime(), nullable=False),
        sa.Column("expires_on", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_login_session_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_login_session")),
    )
    with op.batch_alter_table("login_session", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_login_session_expires_on"), ["expires_on"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_login_session_user_id"), ["user_id"], unique=False)

    op.create_table(
        "publish_token_stream",
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("stream_name", sa.String(length=128), nullable=False),
        sa.Column("is_regex", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["token_id"],
            ["publish_token.id"],
            name=op.f("fk_publish_token_stream_token_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publish_token_stream")),
    )
    with op.batch_alter_table("publish_token_stream", schema=None) as batch_op:
        batch_op.create_index("ix_publish_token_stream_token_id", ["token_id"], unique=False)

    op.create_table(
        "subscribe_token_stream",
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("stream_name", sa.String(length=128), nullable=False),
        sa.Column("is_regex", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["token_id"],
            ["subscribe_token.id"],
            name=op.f("fk_subscribe_token_stream_token_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscribe_token_stream")),
    )
    with op.batch_alter_table("subscribe_token_stream", schema=None) as batch_op:
        batch_op.create_index("ix_subscribe_token_stream_token_id", ["token_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("subscribe_token_stream", schema=None) as batch_op:
        batch_op.drop_index("ix_subscribe_token_stream_token_id")

    op.drop_table("subscribe_token_stream")
    with op.batch_alter_table("publish_token_stream", schema=None) as batch_op:
        batch_op.drop_index("ix_publish_token_stream_token_id")

    op.drop_table("publish_token_stream")
    with op.batch_alter_table("login_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_login_session_user_id"))
        batch_op.drop_index(batch_op.f("ix_login_session_expires_on"))

    op.drop_table("login_session")
    op.drop_table("user")
    with op.batch_alter_table("subscribe_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_subscribe_token_account_id"))

    op.drop_table("subscribe_token")
    with op.batch_alter_table("publish_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_publish_token_account_id"))

    op.drop_table("publish_token")
    with op.batch_alter_table("api_secret", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_secret_account_id"))

    op.drop_table("api_secret")
    with op.batch_alter_table("token_change", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_token_change_at"))

    op.drop_table("token_change")
    op.drop_table("account")
