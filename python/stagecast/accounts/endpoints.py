"""Logging in to the dashboard, and its pages of API secrets and API tokens."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from stagecast.accounts.access import COOKIE, Accounts, DashboardCaller, PendingCaller
from stagecast.accounts.schemas import (
    ApiToken,
    ApiTokenCreate,
    ApiTokenCreated,
    Login,
    PasswordChange,
    Secret,
    SecretCreate,
    SecretCreated,
    Session,
    SessionUser,
)
from stagecast.accounts.service import LoggedIn, session_max_age
from stagecast.kit.responses import FAILS
from stagecast.kit.schema import Success
from stagecast.settings import Settings

router = APIRouter(prefix="/api", responses=FAILS)


@router.post("/session", operation_id="login", tags=["Session"])
async def login(
    body: Login, request: Request, response: Response, accounts: Accounts
) -> Success[Session]:
    """Log in with e-mail and password; sets the session cookie. Anyone may call it; failures are throttled."""
    address = request.client.host if request.client else ""
    who = await accounts.login(body.email, body.password, address, request.app.state.login_throttle)
    settings: Settings = request.app.state.settings
    response.set_cookie(
        COOKIE,
        who.cookie,
        max_age=session_max_age(settings.accounts.session_lifetime),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return Success(data=_session(who))


@router.get("/session", operation_id="getSession", tags=["Session"])
async def get_session(who: PendingCaller) -> Success[Session]:
    """Who is logged in. Needs the dashboard's cookie."""
    return Success(data=_session(who))


@router.delete("/session", operation_id="logout", tags=["Session"])
async def logout(who: PendingCaller, response: Response, accounts: Accounts) -> Success[bool]:
    """End the session and forget the cookie. Needs the dashboard's cookie."""
    await accounts.logout(who.cookie)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return Success(data=True)


@router.put("/session/password", operation_id="changePassword", tags=["Session"])
async def change_password(
    body: PasswordChange, who: PendingCaller, accounts: Accounts
) -> Success[Session]:
    """Change the own password; other sessions of the user end. Needs the dashboard's cookie."""
    await accounts.change_password(who, body.current_password, body.new_password)
    return Success(data=_session(who))


@router.get("/secret", operation_id="listSecrets", tags=["API secrets"])
async def list_secrets(caller: DashboardCaller, accounts: Accounts) -> Success[list[Secret]]:
    """All API secrets of the account, oldest first. Needs the dashboard's cookie."""
    rows = await accounts.secrets(caller.account_id)
    return Success(data=[Secret.model_validate(row) for row in rows])


@router.post("/secret", operation_id="createSecret", tags=["API secrets"])
async def create_secret(
    body: SecretCreate, caller: DashboardCaller, accounts: Accounts
) -> Success[SecretCreated]:
    """Make an API secret; this reply is the only one that contains it. Needs the dashboard's cookie."""
    row, secret = await accounts.create_secret(caller.account_id, body.label)
    shown = Secret.model_validate(row)
    return Success(data=SecretCreated(**shown.model_dump(), secret=secret))


@router.delete("/secret/{secretId}", operation_id="deleteSecret", tags=["API secrets"])
async def delete_secret(
    secret_id: Annotated[int, Path(alias="secretId", ge=1, le=(1 << 63) - 1)],
    caller: DashboardCaller,
    accounts: Accounts,
) -> Success[bool]:
    """Delete an API secret; calls that use it fail from now on. Needs the dashboard's cookie."""
    await accounts.delete_secret(caller.account_id, secret_id)
    return Success(data=True)


@router.get("/api_token", operation_id="listApiTokens", tags=["API tokens"])
async def list_api_tokens(caller: DashboardCaller, accounts: Accounts) -> Success[list[ApiToken]]:
    """All API tokens of the account, oldest first. Needs the dashboard's cookie."""
    rows = await accounts.tokens(caller.account_id)
    return Success(data=[ApiToken.model_validate(row) for row in rows])


@router.post("/api_token", operation_id="createApiToken", tags=["API tokens"])
async def create_api_token(
    body: ApiTokenCreate, caller: DashboardCaller, accounts: Accounts
) -> Success[ApiTokenCreated]:
    """Make an API token for the RealtimeKit-shaped API; this reply is the only one that contains it.
    Needs the dashboard's cookie.
    """
    row, token = await accounts.create_token(caller.account_id, body.label, body.scopes)
    shown = ApiToken.model_validate(row)
    return Success(data=ApiTokenCreated(**shown.model_dump(), token=token))


@router.delete("/api_token/{tokenId}", operation_id="deleteApiToken", tags=["API tokens"])
async def delete_api_token(
    token_id: Annotated[int, Path(alias="tokenId", ge=1, le=(1 << 63) - 1)],
    caller: DashboardCaller,
    accounts: Accounts,
) -> Success[bool]:
    """Delete an API token; calls that use it fail from now on. Needs the dashboard's cookie."""
    await accounts.delete_token(caller.account_id, token_id)
    return Success(data=True)


def _session(who: LoggedIn) -> Session:
    return Session(user=SessionUser.model_validate(who.user), csrf_token=who.csrf_token)
