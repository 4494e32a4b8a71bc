"""Who is calling: the dependencies that every protected endpoint names.

- `ApiCaller`: an API secret as Bearer, or the dashboard's cookie. The management API.
- `DashboardCaller`: the cookie only. The dashboard's own calls.
- `PendingCaller`: the cookie, even while a one-time password is still to be changed.

A call that uses the cookie and is not a GET must carry the session's CSRF token.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from stagecast.accounts.service import AccountService, CredentialUses, LoggedIn
from stagecast.db.request import Work
from stagecast.errors import Forbidden, Unauthorized
from stagecast.kit.secret import same
from stagecast.settings import Settings

COOKIE = "stagecast_session"
CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

_bearer = HTTPBearer(
    scheme_name="apiSecret",
    auto_error=False,
    description="An API secret of the dashboard's API page.",
)
_cookie = APIKeyCookie(
    name=COOKIE,
    scheme_name="dashboardSession",
    auto_error=False,
    description=f"Set by logging in. Calls other than GET also send `{CSRF_HEADER}`.",
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller of one account."""

    account_id: str


def account_service(request: Request, work: Work) -> AccountService:
    settings: Settings = request.app.state.settings
    return AccountService(work, settings.accounts, request.app.state.passwords)


Accounts = Annotated[AccountService, Depends(account_service)]


async def pending_caller(
    request: Request, accounts: Accounts, cookie: Annotated[str | None, Depends(_cookie)]
) -> LoggedIn:
    who = await accounts.logged_in(cookie)
    if who is None:
        raise Unauthorized("Unauthorized: log in first")
    if request.method not in _SAFE_METHODS and not same(
        request.headers.get(CSRF_HEADER, ""), who.csrf_token
    ):
        raise Forbidden(f"The {CSRF_HEADER} header is missing or does not belong to this session.")
    return who


async def dashboard_caller(who: Annotated[LoggedIn, Depends(pending_caller)]) -> Caller:
    return unless_pending(who)


async def api_caller(
    request: Request,
    accounts: Accounts,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    cookie: Annotated[str | None, Depends(_cookie)],
) -> Caller:
    if bearer is None:
        if cookie is None:
            raise Unauthorized
        return unless_pending(await pending_caller(request, accounts, cookie))
    secret = await accounts.secret_owner(bearer.credentials)
    if secret is None:
        raise Unauthorized
    uses: CredentialUses = request.app.state.secret_uses
    uses.note(secret.id)
    return Caller(secret.account_id)


def unless_pending(who: LoggedIn) -> Caller:
    if who.user.must_change_password:
        raise Forbidden("Change the one-time password first.")
    return Caller(who.user.account_id)


PendingCaller = Annotated[LoggedIn, Depends(pending_caller)]
DashboardCaller = Annotated[Caller, Depends(dashboard_caller)]
ApiCaller = Annotated[Caller, Depends(api_caller)]
