"""Who calls the RealtimeKit-shaped API, and for which app.

- Under ``/client/v4``: an API token as Bearer, or the dashboard's cookie.
- Under ``/v2``: Basic with the app's id (its organization id there) and an API token.

Every caller has a rate of requests; wrong credentials from one address are counted and throttled.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.openapi.models import HTTPBase
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.base import SecurityBase

from stagecast.accounts.access import COOKIE, Accounts, pending_caller, unless_pending
from stagecast.accounts.schemas import Scope
from stagecast.accounts.service import AccountService, CredentialUses
from stagecast.apps.service import AppService
from stagecast.db.request import Work
from stagecast.db.tables import ApiToken
from stagecast.errors import Forbidden, Throttled, Unauthorized
from stagecast.kit.window import FailureWindow, RequestRate, in_words


class _Basic(SecurityBase):
    """Names the scheme in the OpenAPI document; the header is read in `_basic_credentials`."""

    def __init__(self) -> None:
        self.model = HTTPBase(
            scheme="basic", description="The app's id as user, an API token as password."
        )
        self.scheme_name = "organization"

    async def __call__(self, request: Request) -> None:
        return None


_bearer = HTTPBearer(
    scheme_name="apiToken",
    auto_error=False,
    description="An API token of the dashboard's settings, or of `stagecast apitoken create`.",
)
_cookie = APIKeyCookie(name=COOKIE, scheme_name="dashboardSession", auto_error=False)
_basic = _Basic()

AccountId = Annotated[str, Path(max_length=64, description="The account (`accountId`).")]
AppId = Annotated[str, Path(max_length=64, description="The app; every account has one.")]


@dataclass(frozen=True, slots=True)
class AppCaller:
    """An authenticated caller and the app it calls for; of calls about apps the account's oldest."""

    account_id: str
    app_id: str


Guard = Callable[..., Awaitable[AppCaller]]


def account_caller(scope: Scope) -> Guard:
    """May call for the account in the path."""

    async def dependency(
        request: Request,
        work: Work,
        accounts: Accounts,
        account_id: AccountId,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        cookie: Annotated[str | None, Depends(_cookie)],
    ) -> AppCaller:
        await _authorize(request, accounts, scope, account_id, bearer, cookie)
        return AppCaller(account_id, (await AppService(work).ensure_app(account_id)).id)

    return dependency


def app_caller(scope: Scope) -> Guard:
    """May call for the app in the path."""

    async def dependency(
        request: Request,
        work: Work,
        accounts: Accounts,
        account_id: AccountId,
        app_id: AppId,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        cookie: Annotated[str | None, Depends(_cookie)],
    ) -> AppCaller:
        await _authorize(request, accounts, scope, account_id, bearer, cookie)
        app = await AppService(work).get(app_id.lower(), account_id)
        return AppCaller(account_id, app.id)

    return dependency


def organization_caller(scope: Scope) -> Guard:
    """May call for the app that Basic names."""

    async def dependency(
        request: Request,
        work: Work,
        accounts: Accounts,
        _scheme: Annotated[None, Depends(_basic)],
    ) -> AppCaller:
        user, secret = _basic_credentials(request.headers.get("authorization", ""))
        token = await _token(request, accounts, secret, scope)
        app = await AppService(work).get(user.lower())
        if app.account_id != token.account_id:
            raise Unauthorized
        return AppCaller(app.account_id, app.id)

    return dependency


async def _authorize(
    request: Request,
    accounts: AccountService,
    scope: Scope,
    account_id: str,
    bearer: HTTPAuthorizationCredentials | None,
    cookie: str | None,
) -> None:
    if bearer is not None:
        owner = (await _token(request, accounts, bearer.credentials, scope)).account_id
    elif cookie is not None:
        owner = unless_pending(await pending_caller(request, accounts, cookie)).account_id
        _take(request, f"account {owner}")
    else:
        raise Unauthorized
    if owner != account_id:
        raise Forbidden(f"These credentials do not belong to the account {account_id}.")


async def _token(request: Request, accounts: AccountService, secret: str, scope: Scope) -> ApiToken:
    failures: FailureWindow = request.app.state.wrong_tokens
    address = request.client.host if request.client else ""
    if wait := failures.wait(address):
        raise Throttled(f"Too many wrong credentials. Try again in {in_words(wait)}.", wait)
    token = await accounts.token_owner(secret)
    if token is None:
        if secret:
            failures.failed(address)
        raise Unauthorized
    _take(request, f"token {token.id}")
    if scope not in token.scopes and scope.replace(":read", ":write") not in token.scopes:
        raise Forbidden(f"The API token has no scope {scope}.")
    uses: CredentialUses = request.app.state.token_uses
    uses.note(token.id)
    return token


def _take(request: Request, key: str) -> None:
    rate: RequestRate = request.app.state.api_rate
    if wait := rate.take(key):
        raise Throttled(f"Too many requests. Try again in {in_words(wait)}.", wait)


def _basic_credentials(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthorized
    try:
        user, _, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized from None
    return user[:64], secret
