"""Rules of tokens: making, reading, changing, disabling and deleting them.

Every change is written to the outbox in the same unit of work; `tokens.tasks` applies it to running
streams and tells dashboards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.db import tables
from stagecast.db.database import after_commit
from stagecast.errors import Invalid, NotFound, RequestError
from stagecast.kit.clock import utc_now
from stagecast.kit.secret import Vault, lookup_hash, new_hex_secret
from stagecast.streams.live import TokenRef, TokenType
from stagecast.tokens.repository import (
    OutboxRepository,
    Row,
    TokenRepository,
    publish_tokens,
    subscribe_tokens,
)
from stagecast.tokens.schemas import (
    MAX_LIST,
    DisabledTokens,
    EffectiveSettings,
    FailedToken,
    FilterBy,
    GeoCascade,
    NewToken,
    Page,
    PublishToken,
    PublishTokenCreate,
    ShownToken,
    SubscribeEffectiveSettings,
    SubscribeToken,
    SubscribeTokenCreate,
    TokenStream,
    Tracking,
)

Change = Literal["created", "updated", "deleted"]
New = TypeVar("New", bound=NewToken)
Shown = TypeVar("Shown", bound=ShownToken)

_OPTIONS = ("origin_cluster", "geo_cascade", "enable_utc_insertion", "ladder")
_COLUMNS = {
    "label",
    "is_active",
    "allowed_origins",
    "allowed_ip_addresses",
    "bind_ips_on_usage",
    "subscribe_requires_auth",
    "multisource",
}


@dataclass(frozen=True, slots=True)
class TokenChanged:
    """What dashboards are told."""

    account_id: str
    token: TokenRef
    change: Change


class TokenService(Generic[Row, New, Shown]):
    """What both kinds of token share."""

    kind: TokenType

    def __init__(
        self,
        session: AsyncSession,
        vault: Vault,
        rows: TokenRepository[Row],
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """``on_change`` is called after a unit of work that changed a token has committed."""
        self._session = session
        self._vault = vault
        self._rows = rows
        self._outbox = OutboxRepository(session)
        self._on_change = on_change

    @property
    def vault_context(self) -> str:
        return f"{self.kind} token"

    async def row(self, account_id: str, token_id: int) -> Row:
        row = await self._rows.get(account_id, token_id)
        if row is None:
            raise NotFound(f"No {self.kind.lower()} token with id: {token_id}", field="tokenId")
        return row

    async def page(
        self, account_id: str, page: Page, filter_by: FilterBy = FilterBy.NONE, name: str = ""
    ) -> tuple[list[Row], int]:
        rows, total = await self._rows.page(account_id, page, filter_by, name)
        return list(rows), total

    async def create(self, account_id: str, new: New) -> Row:
        row = self._rows.new(
            _distinct(new.streams),
            account_id=account_id,
            label=new.label,
            is_active=True,
            added_on=utc_now(),
            expires_on=expiry(new.expires),
            allowed_origins=new.allowed_origins,
            allowed_ip_addresses=new.allowed_ip_addresses,
            bind_ips_on_usage=new.bind_ips_on_usage,
            bound_ips=[],
            **self._own(new),
        )
        self._new_secret(row)
        await self._rows.add(row)
        await self._changed(row, "created")
        return row

    async def delete(self, account_id: str, token_id: int) -> None:
        """Delete a token; the sessions that were started with it end within a second."""
        row = await self.row(account_id, token_id)
        await self._rows.delete(row)
        await self._changed(row, "deleted")

    async def disable(self, account_id: str, token_ids: list[int]) -> DisabledTokens:
        """Disable several tokens; running feeds go on."""
        done: list[int] = []
        failed: list[FailedToken] = []
        for token_id in dict.fromkeys(token_ids):
            try:
                await self.set_active(account_id, token_id, active=False)
                done.append(token_id)
            except RequestError as error:
                failed.append(FailedToken(token_id=token_id, error_message=error.message))
        return DisabledTokens(successful_tokens=done, failed_tokens=failed)

    async def set_active(self, account_id: str, token_id: int, *, active: bool) -> Row:
        return await self.update(account_id, token_id, {"is_active": active})

    async def update(self, account_id: str, token_id: int, changes: dict[str, Any]) -> Row:
        """Apply the changes a client sent (`TokenChanges.changes`)."""
        row = await self.row(account_id, token_id)
        if not changes:
            raise Invalid("No properties specified to update.", field="token")
        self._change_streams(
            row, changes.get("add_token_streams") or [], changes.get("remove_token_streams") or []
        )
        for name in _COLUMNS & changes.keys():
            setattr(row, name, changes[name])
        if "bind_ips_on_usage" in changes:
            row.bound_ips = []
        if row.bind_ips_on_usage and row.allowed_ip_addresses:
            raise Invalid(
                "Validation errors",
                errors={
                    "bindIpsOnUsage": ["Use either allowedIpAddresses or bindIpsOnUsage, not both."]
                },
            )
        if "expires" in changes:
            row.expires_on = expiry(changes["expires"])
        if changes.get("refresh_token"):
            self._new_secret(row)
        self._change_own(row, changes)
        await self._rows.flush()
        await self._changed(row, "updated")
        return row

    def secret(self, row: Row) -> str:
        """The token as it is handed to publishers and viewers."""
        return self._vault.unseal(row.sealed_secret, self.vault_context)

    def shown(self, row: Row) -> Shown:
        """The token as the API shows it."""
        raise NotImplementedError

    def _shown(self, row: Row) -> dict[str, Any]:
        """What every kind of token shows."""
        return {
            "id": row.id,
            "name": row.label,
            "label": row.label,
            "token": self.secret(row),
            "added_on": row.added_on,
            "expires_on": row.expires_on,
            "is_active": row.is_active,
            "streams": [
                TokenStream.model_construct(stream_name=s.stream_name, is_regex=s.is_regex)
                for s in row.streams
            ],
            "allowed_origins": row.allowed_origins,
            "allowed_ip_addresses": row.allowed_ip_addresses,
            "bind_ips_on_usage": row.bind_ips_on_usage,
        }

    def _own(self, new: New) -> dict[str, Any]:
        """The columns that only this kind of token has."""
        raise NotImplementedError

    def _change_own(self, row: Row, changes: dict[str, Any]) -> None:
        """Apply what only this kind of token has."""
        raise NotImplementedError

    def _change_streams(self, row: Row, add: list[TokenStream], remove: list[str]) -> None:
        held = {stream.stream_name: stream for stream in row.streams}
        unknown = [name for name in remove if name not in held]
        if unknown:
            raise Invalid(
                "Validation errors",
                errors={
                    "removeTokenStreams": [f"The token has no stream {name!r}." for name in unknown]
                },
            )
        for name in remove:
            held.pop(name, None)
        for stream in add:
            held[stream.stream_name] = self._rows.stream(stream)
        if not held:
            raise Invalid(
                "Validation errors",
                errors={"removeTokenStreams": ["A token needs at least one stream."]},
            )
        if len(held) > MAX_LIST:
            raise Invalid(
                "Validation errors",
                errors={"addTokenStreams": [f"A token has at most {MAX_LIST} streams."]},
            )
        if add or remove:
            cast("list[Any]", row.streams)[:] = held.values()

    def _new_secret(self, row: Row) -> None:
        secret = new_hex_secret()
        row.secret_hash = lookup_hash(secret)
        row.sealed_secret = self._vault.seal(secret, self.vault_context)

    async def _changed(self, row: Row, change: Change) -> None:
        await self._outbox.add(
            tables.TokenChange(
                account_id=row.account_id,
                token_type=self.kind,
                token_id=row.id,
                change=change,
                at=utc_now(),
            )
        )
        if self._on_change is not None:
            after_commit(self._session, self._on_change)


class PublishTokenService(TokenService[tables.PublishToken, PublishTokenCreate, PublishToken]):
    kind = "Publish"

    def __init__(
        self, session: AsyncSession, vault: Vault, on_change: Callable[[], None] | None = None
    ) -> None:
        super().__init__(session, vault, publish_tokens(session), on_change)

    def shown(self, row: tables.PublishToken) -> PublishToken:
        options = row.options
        geo_cascade = (
            GeoCascade.model_validate(options["geo_cascade"]) if "geo_cascade" in options else None
        )
        return PublishToken(
            **self._shown(row),
            subscribe_requires_auth=row.subscribe_requires_auth,
            multisource=row.multisource,
            origin_cluster=options.get("origin_cluster"),
            geo_cascade=geo_cascade,
            ladder=options.get("ladder"),
            enableUTCInsertion=options.get("enable_utc_insertion"),
            effective_settings=EffectiveSettings(),
        )

    def _own(self, new: PublishTokenCreate) -> dict[str, Any]:
        return {
            "subscribe_requires_auth": new.subscribe_requires_auth,
            "multisource": new.multisource,
            "options": new.model_dump(include=set(_OPTIONS), exclude_none=True),
        }

    def _change_own(self, row: tables.PublishToken, changes: dict[str, Any]) -> None:
        options = dict(row.options)
        for name in _OPTIONS:
            if name in changes:
                value = changes[name]
                options[name] = value.model_dump() if isinstance(value, GeoCascade) else value
        row.options = {name: value for name, value in options.items() if value is not None}


class SubscribeTokenService(
    TokenService[tables.SubscribeToken, SubscribeTokenCreate, SubscribeToken]
):
    kind = "Subscribe"

    def __init__(
        self, session: AsyncSession, vault: Vault, on_change: Callable[[], None] | None = None
    ) -> None:
        super().__init__(session, vault, subscribe_tokens(session), on_change)

    def shown(self, row: tables.SubscribeToken) -> SubscribeToken:
        return SubscribeToken(
            **self._shown(row),
            tracking=Tracking(tracking_id=row.tracking_id) if row.tracking_id else None,
            effective_settings=SubscribeEffectiveSettings(),
        )

    def _own(self, new: SubscribeTokenCreate) -> dict[str, Any]:
        return {"tracking_id": new.tracking.tracking_id if new.tracking else None}

    def _change_own(self, row: tables.SubscribeToken, changes: dict[str, Any]) -> None:
        if "tracking" in changes:
            tracking: Tracking | None = changes["tracking"]
            row.tracking_id = tracking.tracking_id if tracking else None


def expiry(seconds: int | None) -> datetime | None:
    return None if seconds is None else utc_now() + timedelta(seconds=seconds)


def _distinct(streams: list[TokenStream]) -> list[TokenStream]:
    return list({stream.stream_name: stream for stream in streams}.values())
