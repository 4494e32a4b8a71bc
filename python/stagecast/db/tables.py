"""Every table of the database. Rows are read and written by the `repository` of their domain only.

A change here needs a migration in `db/migrations/versions`; a test compares the two.
"""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python, a naive UTC timestamp in the database."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, bytes: LargeBinary}


class Account(Base):
    """The owner of streams and tokens; its id is the first part of every stream id."""

    __tablename__ = "account"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_on: Mapped[datetime]


class User(Base):
    """A person who logs in to the dashboard."""

    __tablename__ = "user"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(256))
    must_change_password: Mapped[bool]
    created_on: Mapped[datetime]


class LoginSession(Base):
    """A logged-in browser: the hash of its cookie, never the cookie."""

    __tablename__ = "login_session"

    id_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    created_on: Mapped[datetime]
    expires_on: Mapped[datetime] = mapped_column(index=True)


class ApiSecret(Base):
    """A credential of the REST API: its hash, and the first characters to recognise it by."""

    __tablename__ = "api_secret"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    label: Mapped[str] = mapped_column(String(128))
    prefix: Mapped[str] = mapped_column(String(16))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    added_on: Mapped[datetime]
    last_used_on: Mapped[datetime | None]


class ApiToken(Base):
    """A credential of the RealtimeKit-shaped API with the rights it gives; stored as `ApiSecret` is."""

    __tablename__ = "api_token"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    label: Mapped[str] = mapped_column(String(128))
    prefix: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    added_on: Mapped[datetime]
    last_used_on: Mapped[datetime | None]


class App(Base):
    """What groups the livestreams of an account; the `app_id` of the RealtimeKit-shaped API."""

    __tablename__ = "app"
    __table_args__ = (UniqueConstraint("account_id", "name", name="uq_app_account_id_name"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    name: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime]


class Livestream(Base):
    """A stream with an ingest key and a playback address. Its stream name is its id."""

    __tablename__ = "livestream"
    __table_args__ = (
        Index("ix_livestream_app_id_created_at", "app_id", "created_at"),
        UniqueConstraint("app_id", "idempotency_key", name="uq_livestream_app_id_idempotency_key"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    app_id: Mapped[str] = mapped_column(ForeignKey("app.id"))
    name: Mapped[str | None] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(16))
    disabled: Mapped[bool]
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    sealed_key: Mapped[bytes]
    playback_id: Mapped[str] = mapped_column(String(32), unique=True)
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    ladder: Mapped[bool | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LivestreamSession(Base):
    """One run of a livestream, from first media to the last, with what was sent and watched."""

    __tablename__ = "livestream_session"
    __table_args__ = (
        Index("ix_livestream_session_livestream_id_created_at", "livestream_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    livestream_id: Mapped[str] = mapped_column(ForeignKey("livestream.id", ondelete="CASCADE"))
    err_message: Mapped[str | None] = mapped_column(String(512))
    invoked_time: Mapped[datetime | None]
    started_time: Mapped[datetime | None]
    stopped_time: Mapped[datetime | None] = mapped_column(index=True)
    ingest_seconds: Mapped[float]
    viewer_seconds: Mapped[float]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LivestreamDay(Base):
    """What a livestream did on one day (UTC). It outlives the livestream, so that sums of the past stay."""

    __tablename__ = "livestream_day"

    livestream_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    app_id: Mapped[str] = mapped_column(ForeignKey("app.id"), index=True)
    sessions: Mapped[int]
    ingest_seconds: Mapped[float]
    viewer_seconds: Mapped[float]


class TokenColumns:
    """What publish and subscribe tokens have in common."""

    __table_args__ = {"sqlite_autoincrement": True}  # an id is never used twice

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    label: Mapped[str] = mapped_column(String(128))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    sealed_secret: Mapped[bytes]
    is_active: Mapped[bool]
    added_on: Mapped[datetime]
    expires_on: Mapped[datetime | None]
    allowed_origins: Mapped[list[str]] = mapped_column(JSON)
    allowed_ip_addresses: Mapped[list[str]] = mapped_column(JSON)
    bind_ips_on_usage: Mapped[int]
    bound_ips: Mapped[list[str]] = mapped_column(JSON)


class StreamColumns:
    """One stream name, or pattern of names, that a token is good for."""

    id: Mapped[int] = mapped_column(primary_key=True)
    stream_name: Mapped[str] = mapped_column(String(128))
    is_regex: Mapped[bool]


class PublishToken(TokenColumns, Base):
    __tablename__ = "publish_token"

    subscribe_requires_auth: Mapped[bool]
    multisource: Mapped[bool]
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    streams: Mapped[list["PublishTokenStream"]] = relationship(
        cascade="all, delete-orphan", order_by="PublishTokenStream.id", lazy="selectin"
    )


class PublishTokenStream(StreamColumns, Base):
    __tablename__ = "publish_token_stream"
    __table_args__ = (Index("ix_publish_token_stream_token_id", "token_id"),)

    token_id: Mapped[int] = mapped_column(ForeignKey("publish_token.id", ondelete="CASCADE"))


class SubscribeToken(TokenColumns, Base):
    __tablename__ = "subscribe_token"

    tracking_id: Mapped[str | None] = mapped_column(String(128))
    streams: Mapped[list["SubscribeTokenStream"]] = relationship(
        cascade="all, delete-orphan", order_by="SubscribeTokenStream.id", lazy="selectin"
    )


class SubscribeTokenStream(StreamColumns, Base):
    __tablename__ = "subscribe_token_stream"
    __table_args__ = (Index("ix_subscribe_token_stream_token_id", "token_id"),)

    token_id: Mapped[int] = mapped_column(ForeignKey("subscribe_token.id", ondelete="CASCADE"))


class TokenChange(Base):
    """The outbox of token changes, written with the change itself.

    Every process that runs streams reads what is new in it (`tokens.tasks`), so that a change made by
    another process, such as the command line, has the same effect as one made here.
    """

    __tablename__ = "token_change"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(String(32))
    token_type: Mapped[str] = mapped_column(String(16))
    token_id: Mapped[int]
    change: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(index=True)
