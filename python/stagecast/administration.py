"""What the command line does on a data directory: one unit of work a call, through the server's own services.

It may run beside a server on the same directory; that one notices within a second (`tokens.tasks`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.accounts.passwords import PasswordChecker, new_one_time_password
from stagecast.accounts.schemas import ApiTokenCreate
from stagecast.accounts.service import AccountService
from stagecast.apps.service import AppService
from stagecast.db.store import open_store
from stagecast.errors import Invalid
from stagecast.kit.clock import iso
from stagecast.kit.secret import Vault
from stagecast.settings import Settings
from stagecast.tokens.schemas import (
    FilterBy,
    Page,
    PublishToken,
    PublishTokenCreate,
    SortBy,
    TokenStream,
)
from stagecast.tokens.service import PublishTokenService

T = TypeVar("T")
_PAGE = 100


def add_user(settings: Settings, email: str, password: str | None) -> dict[str, Any]:
    """Add an administrator; without a password with a one-time one, which is returned."""
    chosen = password or new_one_time_password()

    async def work(session: AsyncSession, _vault: Vault, account_id: str) -> dict[str, Any]:
        accounts = AccountService(session, settings.accounts, PasswordChecker())
        user = await accounts.add_user(account_id, email, chosen, must_change=password is None)
        return {"id": user.id, "email": user.email, "oneTimePassword": None if password else chosen}

    return _run(settings, work)


def reset_password(settings: Settings, email: str, password: str | None) -> dict[str, Any]:
    """Set a user's password, or a one-time one, and end their sessions."""
    chosen = password or new_one_time_password()

    async def work(session: AsyncSession, _vault: Vault, _account_id: str) -> dict[str, Any]:
        accounts = AccountService(session, settings.accounts, PasswordChecker())
        user = await accounts.reset_password(email, chosen, must_change=password is None)
        return {"id": user.id, "email": user.email, "oneTimePassword": None if password else chosen}

    return _run(settings, work)


def create_token(
    settings: Settings, label: str, streams: list[str], expires: int | None, *, secure: bool
) -> dict[str, Any]:
    """Make a publish token for these stream names, or for any name when there are none."""
    try:
        names = [TokenStream(stream_name=name, is_regex=False) for name in streams]
        new = PublishTokenCreate(
            label=label,
            streams=names or [TokenStream(stream_name=".*", is_regex=True)],
            expires=expires,
            subscribe_requires_auth=secure,
        )
    except ValidationError as error:
        texts = [problem["msg"].removeprefix("Value error, ") for problem in error.errors()]
        raise Invalid("\n".join(texts)) from None

    async def work(session: AsyncSession, vault: Vault, account_id: str) -> dict[str, Any]:
        tokens = PublishTokenService(session, vault)
        return _shown(tokens.shown(await tokens.create(account_id, new)), account_id)

    return _run(settings, work)


def create_api_token(settings: Settings, label: str, scopes: list[str]) -> dict[str, Any]:
    """Make an API token with these scopes, or with all when there are none."""
    try:
        new = ApiTokenCreate.model_validate(
            {"label": label, **({"scopes": scopes} if scopes else {})}
        )
    except ValidationError as error:
        texts = [f"{problem['input']!r}: {problem['msg']}" for problem in error.errors()]
        raise Invalid("\n".join(texts)) from None

    async def work(session: AsyncSession, _vault: Vault, account_id: str) -> dict[str, Any]:
        accounts = AccountService(session, settings.accounts, PasswordChecker())
        row, token = await accounts.create_token(account_id, new.label, new.scopes)
        app = await AppService(session).ensure_app(account_id)
        return {
            "id": row.id,
            "accountId": account_id,
            "appId": app.id,
            "label": row.label,
            "scopes": row.scopes,
            "token": token,
        }

    return _run(settings, work)


def list_tokens(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Publish tokens, oldest first; only those whose label or streams contain ``name``."""

    async def work(session: AsyncSession, vault: Vault, account_id: str) -> list[dict[str, Any]]:
        tokens = PublishTokenService(session, vault)
        found: list[dict[str, Any]] = []
        number, total = 1, 1
        while (number - 1) * _PAGE < total:
            page = Page(number, _PAGE, SortBy.ADDED_ON, descending=False)
            rows, total = await tokens.page(account_id, page, FilterBy.TOKEN_OR_STREAM_NAME, name)
            found += [_shown(tokens.shown(row), account_id) for row in rows]
            number += 1
        return found

    return _run(settings, work)


def set_token_active(settings: Settings, token_id: int, *, active: bool) -> dict[str, Any]:
    """Enable or disable a publish token."""

    async def work(session: AsyncSession, vault: Vault, account_id: str) -> dict[str, Any]:
        tokens = PublishTokenService(session, vault)
        row = await tokens.set_active(account_id, token_id, active=active)
        return _shown(tokens.shown(row), account_id)

    return _run(settings, work)


def delete_token(settings: Settings, token_id: int) -> None:
    """Delete a publish token; a running server ends its feeds."""

    async def work(session: AsyncSession, vault: Vault, account_id: str) -> None:
        await PublishTokenService(session, vault).delete(account_id, token_id)

    _run(settings, work)


def _run(settings: Settings, work: Callable[[AsyncSession, Vault, str], Awaitable[T]]) -> T:
    async def run() -> T:
        database, vault = open_store(settings)
        try:
            async with database.work() as session:
                accounts = AccountService(session, settings.accounts, PasswordChecker())
                return await work(session, vault, await accounts.ensure_account())
        finally:
            await database.close()

    return asyncio.run(run())


def _shown(token: PublishToken, account_id: str) -> dict[str, Any]:
    return {
        "id": token.id,
        "accountId": account_id,
        "label": token.label,
        "token": token.token,
        "streams": [stream.model_dump(by_alias=True) for stream in token.streams],
        "isActive": token.is_active,
        "addedOn": iso(token.added_on),
        "expiresOn": iso(token.expires_on) if token.expires_on else None,
        "subscribeRequiresAuth": token.subscribe_requires_auth,
    }
