"""Rules of accounts: the first start, logging in, changing passwords, API secrets, API tokens."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.accounts.passwords import PasswordChecker, new_one_time_password, password_problem
from stagecast.accounts.repository import AccountRepository
from stagecast.accounts.throttle import LoginThrottle
from stagecast.db.tables import Account, ApiSecret, ApiToken, LoginSession, User
from stagecast.errors import Invalid, NotFound, Unauthorized
from stagecast.kit.clock import utc_now
from stagecast.kit.secret import derived, lookup_hash, new_short_id, new_url_secret
from stagecast.settings import AccountSettings

# Prefixes let people and scanners tell what kind of secret a string is.
SECRET_PREFIX = "sc_"  # noqa: S105
TOKEN_PREFIX = "sct_"  # noqa: S105
_SHOWN_PREFIX = 8


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login session and the cookie value that proves it."""

    user: User
    cookie: str

    @property
    def csrf_token(self) -> str:
        return csrf_token(self.cookie)


@dataclass(frozen=True, slots=True)
class FirstAdmin:
    """The one-time credentials of the first start."""

    email: str
    password: str


def csrf_token(cookie: str) -> str:
    """The token that goes with a session cookie: nobody can make it who cannot read the cookie."""
    return derived(cookie, "csrf")


class CredentialUses:
    """Remembers when API secrets, or API tokens, were used until `accounts.tasks` writes it, once a minute."""

    def __init__(self) -> None:
        self._used: dict[int, datetime] = {}

    def note(self, credential_id: int) -> None:
        self._used[credential_id] = utc_now()

    def take(self) -> dict[int, datetime]:
        used, self._used = self._used, {}
        return used

    def put_back(self, used: dict[int, datetime]) -> None:
        """Keep what could not be written for the next time."""
        self._used = used | self._used


class AccountService:
    def __init__(
        self, session: AsyncSession, settings: AccountSettings, passwords: PasswordChecker
    ) -> None:
        self._rows = AccountRepository(session)
        self._settings = settings
        self._passwords = passwords

    # The first start

    async def ensure_account(self) -> str:
        """The id of the server's account, which the first call makes."""
        account = await self._rows.account()
        if account is None:
            account = Account(id=new_short_id(), created_on=utc_now())
            await self._rows.add(account)
        return account.id

    async def ensure_admin(self, account_id: str) -> str | None:
        """Make the first user with a one-time password, and return it; None when there are users."""
        if await self._rows.user_count():
            return None
        password = new_one_time_password()
        await self.add_user(account_id, self._settings.admin_email, password, must_change=True)
        return password

    # Users

    async def add_user(
        self, account_id: str, email: str, password: str, *, must_change: bool
    ) -> User:
        email = normal_email(email)
        if await self._rows.user_by_email(email) is not None:
            raise Invalid(f"There is already a user {email}.", field="email")
        user = User(
            account_id=account_id,
            email=email,
            role="admin",
            password_hash=await self._new_hash(email, password),
            must_change_password=must_change,
            created_on=utc_now(),
        )
        await self._rows.add(user)
        return user

    async def reset_password(self, email: str, password: str, *, must_change: bool) -> User:
        """Set a password as the operator of the machine; every session of the user ends."""
        user = await self._rows.user_by_email(normal_email(email))
        if user is None:
            raise NotFound(f"There is no user {email}.", field="email")
        password_hash = await self._new_hash(user.email, password)
        await self._rows.set_password(user, password_hash, must_change=must_change)
        await self._rows.delete_login_sessions_of(user.id, keep=None)
        return user

    # Login sessions

    async def login(
        self, email: str, password: str, address: str, throttle: LoginThrottle
    ) -> LoggedIn:
        email = normal_email(email)
        # The e-mail is hashed so that the throttle's memory per key is the same for every input.
        key = hashlib.sha256(email.encode()).hexdigest()
        throttle.check(address, key)
        user = await self._rows.user_by_email(email)
        if (
            not await self._passwords.verify(user.password_hash if user else None, password)
            or user is None
        ):
            throttle.failed(address, key)
            raise Unauthorized("The e-mail or the password is wrong.")
        throttle.succeeded(address, key)
        cookie = new_url_secret()
        now = utc_now()
        await self._rows.add(
            LoginSession(
                id_hash=lookup_hash(cookie),
                user_id=user.id,
                created_on=now,
                expires_on=now + self._settings.session_lifetime,
            )
        )
        return LoggedIn(user, cookie)

    async def logged_in(self, cookie: str | None) -> LoggedIn | None:
        """The session of a cookie, or None when it is unknown or expired."""
        if not cookie:
            return None
        found = await self._rows.login_session(lookup_hash(cookie))
        if found is None or found[0].expires_on <= utc_now():
            return None
        return LoggedIn(found[1], cookie)

    async def logout(self, cookie: str) -> None:
        await self._rows.delete_login_session(lookup_hash(cookie))

    async def change_password(self, who: LoggedIn, current: str, new: str) -> None:
        """Change the own password; the user's other sessions end, this one goes on."""
        if not await self._passwords.verify(who.user.password_hash, current):
            raise _field_error("currentPassword", "The current password is wrong.")
        if new == current:
            raise _field_error("newPassword", "Use a password that differs from the current one.")
        password_hash = await self._new_hash(who.user.email, new, field="newPassword")
        await self._rows.set_password(who.user, password_hash, must_change=False)
        await self._rows.delete_login_sessions_of(who.user.id, keep=lookup_hash(who.cookie))

    async def drop_expired_sessions(self) -> None:
        await self._rows.delete_login_sessions_expired_before(utc_now())

    # API secrets

    async def secrets(self, account_id: str) -> list[ApiSecret]:
        return list(await self._rows.secrets(account_id))

    async def create_secret(self, account_id: str, label: str) -> tuple[ApiSecret, str]:
        """Make a secret; the returned string is the only copy."""
        secret = SECRET_PREFIX + new_url_secret()
        row = ApiSecret(
            account_id=account_id,
            label=label,
            prefix=secret[:_SHOWN_PREFIX],
            secret_hash=lookup_hash(secret),
            added_on=utc_now(),
            last_used_on=None,
        )
        await self._rows.add(row)
        return row, secret

    async def delete_secret(self, account_id: str, secret_id: int) -> None:
        if not await self._rows.delete_secret(account_id, secret_id):
            raise NotFound(f"No API secret with id: {secret_id}", field="secretId")

    async def secret_owner(self, secret: str) -> ApiSecret | None:
        if not secret.startswith(SECRET_PREFIX):
            return None
        return await self._rows.secret_by_hash(lookup_hash(secret))

    async def write_secret_uses(self, used: dict[int, datetime]) -> None:
        for secret_id, at in used.items():
            await self._rows.secret_used(secret_id, at)

    # API tokens

    async def tokens(self, account_id: str) -> list[ApiToken]:
        return list(await self._rows.tokens(account_id))

    async def create_token(
        self, account_id: str, label: str, scopes: Sequence[str]
    ) -> tuple[ApiToken, str]:
        """Make a token; the returned string is the only copy."""
        token = TOKEN_PREFIX + new_url_secret()
        row = ApiToken(
            account_id=account_id,
            label=label,
            prefix=token[:_SHOWN_PREFIX],
            token_hash=lookup_hash(token),
            scopes=sorted(set(scopes)),
            added_on=utc_now(),
            last_used_on=None,
        )
        await self._rows.add(row)
        return row, token

    async def delete_token(self, account_id: str, token_id: int) -> None:
        if not await self._rows.delete_token(account_id, token_id):
            raise NotFound(f"No API token with id: {token_id}", field="tokenId")

    async def token_owner(self, token: str) -> ApiToken | None:
        if not token.startswith(TOKEN_PREFIX):
            return None
        return await self._rows.token_by_hash(lookup_hash(token))

    async def write_token_uses(self, used: dict[int, datetime]) -> None:
        for token_id, at in used.items():
            await self._rows.token_used(token_id, at)

    async def _new_hash(self, email: str, password: str, field: str = "password") -> str:
        problem = password_problem(password, email, self._settings.password_min_length)
        if problem is not None:
            raise _field_error(field, problem)
        return await self._passwords.hash(password)


def normal_email(email: str) -> str:
    """E-mail addresses are compared without regard to case."""
    return email.strip().casefold()


def _field_error(field: str, text: str) -> Invalid:
    return Invalid("Validation errors", errors={field: [text]})


def session_max_age(lifetime: timedelta) -> int:
    """Cookie lifetime in seconds."""
    return int(lifetime.total_seconds())
