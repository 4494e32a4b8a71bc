"""Whether a token lets a client in: the checks of every new publisher and viewer.

A token must exist, be enabled, not be expired, cover the stream name, and be used from an allowed origin and
address. Disabling and expiry are looked at here only, which is why they never stop a running feed.
"""

from dataclasses import dataclass
from ipaddress import ip_network

from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.db import tables
from stagecast.errors import Forbidden, Invalid, RequestError, Unauthorized
from stagecast.kit.clock import utc_now
from stagecast.kit.network import in_networks, parse_address
from stagecast.kit.origin import origin_allowed
from stagecast.kit.secret import Vault, lookup_hash
from stagecast.streams.live import TokenRef
from stagecast.tokens.names import name_allowed, name_problem
from stagecast.tokens.repository import publish_tokens, subscribe_tokens
from stagecast.tokens.selfsigned import SelfSigned, looks_self_signed, parent_id, verify
from stagecast.tokens.service import SubscribeTokenService

ORIGIN_REFUSED = "Unauthorized: Origin not allowed"
ADDRESS_REFUSED = "Unauthorized: IP Address not allowed"
NAME_REFUSED = "Unauthorized: StreamName is not valid for token"


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from."""

    address: str | None
    origin: str | None


@dataclass(frozen=True, slots=True)
class PublishGrant:
    """The right to publish one stream; without a token when a livestream's key gives it."""

    token: TokenRef | None
    token_hash: bytes
    account_id: str
    stream_name: str
    subscribe_requires_auth: bool
    multisource: bool
    ladder: bool | None = None


@dataclass(frozen=True, slots=True)
class ViewGrant:
    """The right to watch one stream with a token."""

    token: TokenRef
    token_hash: bytes
    tracking_id: str | None


class Admission:
    def __init__(self, session: AsyncSession, vault: Vault) -> None:
        self._session = session
        self._vault = vault
        self._publish = publish_tokens(session)
        self._subscribe = subscribe_tokens(session)

    async def publish(self, secret: str, stream_name: str, client: Client) -> PublishGrant:
        """Raise `Unauthorized` or `Forbidden` unless this token may publish this name from there."""
        row = await self._publish.by_hash(lookup_hash(secret))
        if row is None:
            raise Unauthorized("Unauthorized: Invalid token")
        self._check(row, stream_name, client)
        await self._bind_address(row, client)
        return PublishGrant(
            token=TokenRef("Publish", row.id),
            token_hash=lookup_hash(secret),
            account_id=row.account_id,
            stream_name=stream_name,
            subscribe_requires_auth=row.subscribe_requires_auth,
            multisource=row.multisource,
            ladder=row.options.get("ladder"),
        )

    async def view(
        self, secret: str, account_id: str, stream_name: str, client: Client
    ) -> ViewGrant:
        """The same for a subscribe token, or a token that was signed with one."""
        signed: SelfSigned | None = None
        if looks_self_signed(secret):
            row = await self._subscribe.by_id(parent_id(secret))
            if row is not None:
                tokens = SubscribeTokenService(self._session, self._vault)
                signed = verify(secret, tokens.secret(row))
        else:
            row = await self._subscribe.by_hash(lookup_hash(secret))
        if row is None or row.account_id != account_id:
            raise Unauthorized("Unauthorized: Invalid token")
        if signed is not None:
            signed.check(stream_name, row.tracking_id)
        self._check(row, stream_name, client, signed)
        await self._bind_address(row, client)
        return ViewGrant(
            token=TokenRef("Subscribe", row.id),
            token_hash=lookup_hash(secret),
            tracking_id=(signed.tracking_id if signed else None) or row.tracking_id,
        )

    async def still_exists(self, token: TokenRef) -> bool:
        rows = self._publish if token.type == "Publish" else self._subscribe
        return await rows.exists(token.id)

    def _check(
        self,
        row: tables.PublishToken | tables.SubscribeToken,
        stream_name: str,
        client: Client,
        signed: SelfSigned | None = None,
    ) -> None:
        if not row.is_active:
            raise Unauthorized("Unauthorized: Token is disabled")
        if row.expires_on is not None and row.expires_on <= utc_now():
            raise Unauthorized("Unauthorized: Token expired")
        if (problem := name_problem(stream_name)) is not None:
            raise Invalid("Validation errors", errors={"streamName": [problem]})
        if not name_allowed(row.streams, stream_name):
            raise Forbidden(NAME_REFUSED)
        origins = [*row.allowed_origins, *(signed.allowed_origins if signed else [])]
        if not origin_allowed(origins, client.origin):
            raise Forbidden(ORIGIN_REFUSED)
        networks = [*row.allowed_ip_addresses, *(signed.allowed_ip_addresses if signed else [])]
        if networks and not in_networks(
            parse_address(client.address), [ip_network(text, strict=False) for text in networks]
        ):
            raise Forbidden(ADDRESS_REFUSED)

    async def _bind_address(
        self, row: tables.PublishToken | tables.SubscribeToken, client: Client
    ) -> None:
        """Make the first N addresses that use a token its only ones."""
        if not row.bind_ips_on_usage or client.address in row.bound_ips:
            return
        if client.address is None:
            raise Forbidden(ADDRESS_REFUSED)
        locked = (
            await self._publish.lock(row.id)
            if isinstance(row, tables.PublishToken)
            else await self._subscribe.lock(row.id)
        )
        if locked is None:
            raise Unauthorized("Unauthorized: Invalid token")
        if client.address in locked.bound_ips:
            return
        if len(locked.bound_ips) >= locked.bind_ips_on_usage:
            raise Forbidden(ADDRESS_REFUSED)
        locked.bound_ips = [*locked.bound_ips, client.address]


def viewer_needs_token() -> RequestError:
    """The refusal of a viewer without token where the stream requires one."""
    return Unauthorized("Unauthorized: this stream needs a subscribe token")
