"""All SQL about accounts, users, login sessions, API secrets and API tokens."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.db.tables import Account, ApiSecret, ApiToken, LoginSession, User


class AccountRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def account(self) -> Account | None:
        return (await self._session.scalars(select(Account).order_by(Account.created_on))).first()

    async def add(self, row: Account | User | LoginSession | ApiSecret | ApiToken) -> None:
        self._session.add(row)
        await self._session.flush()

    # Users

    async def user_count(self) -> int:
        return await self._session.scalar(select(func.count()).select_from(User)) or 0

    async def user(self, user_id: int) -> User | None:
        return await self._session.get(User, user_id)

    async def user_by_email(self, email: str) -> User | None:
        return await self._session.scalar(select(User).where(User.email == email))

    async def set_password(self, user: User, password_hash: str, *, must_change: bool) -> None:
        user.password_hash = password_hash
        user.must_change_password = must_change
        await self._session.flush()

    # Login sessions

    async def login_session(self, id_hash: bytes) -> tuple[LoginSession, User] | None:
        row = (
            await self._session.execute(
                select(LoginSession, User)
                .join(User, User.id == LoginSession.user_id)
                .where(LoginSession.id_hash == id_hash)
            )
        ).first()
        return None if row is None else (row[0], row[1])

    async def delete_login_session(self, id_hash: bytes) -> None:
        await self._session.execute(delete(LoginSession).where(LoginSession.id_hash == id_hash))

    async def delete_login_sessions_of(self, user_id: int, keep: bytes | None) -> None:
        statement = delete(LoginSession).where(LoginSession.user_id == user_id)
        if keep is not None:
            statement = statement.where(LoginSession.id_hash != keep)
        await self._session.execute(statement)

    async def delete_login_sessions_expired_before(self, when: datetime) -> None:
        await self._session.execute(delete(LoginSession).where(LoginSession.expires_on <= when))

    # API secrets

    async def secrets(self, account_id: str) -> Sequence[ApiSecret]:
        rows = await self._session.scalars(
            select(ApiSecret).where(ApiSecret.account_id == account_id).order_by(ApiSecret.id)
        )
        return rows.all()

    async def secret_by_hash(self, secret_hash: bytes) -> ApiSecret | None:
        return await self._session.scalar(
            select(ApiSecret).where(ApiSecret.secret_hash == secret_hash)
        )

    async def delete_secret(self, account_id: str, secret_id: int) -> bool:
        deleted = await self._session.scalars(
            delete(ApiSecret)
            .where(ApiSecret.account_id == account_id, ApiSecret.id == secret_id)
            .returning(ApiSecret.id)
        )
        return deleted.first() is not None

    async def secret_used(self, secret_id: int, at: datetime) -> None:
        await self._session.execute(
            update(ApiSecret).where(ApiSecret.id == secret_id).values(last_used_on=at)
        )

    # API tokens

    async def tokens(self, account_id: str) -> Sequence[ApiToken]:
        rows = await self._session.scalars(
            select(ApiToken).where(ApiToken.account_id == account_id).order_by(ApiToken.id)
        )
        return rows.all()

    async def token_by_hash(self, token_hash: bytes) -> ApiToken | None:
        return await self._session.scalar(select(ApiToken).where(ApiToken.token_hash == token_hash))

    async def delete_token(self, account_id: str, token_id: int) -> bool:
        deleted = await self._session.scalars(
            delete(ApiToken)
            .where(ApiToken.account_id == account_id, ApiToken.id == token_id)
            .returning(ApiToken.id)
        )
        return deleted.first() is not None

    async def token_used(self, token_id: int, at: datetime) -> None:
        await self._session.execute(
            update(ApiToken).where(ApiToken.id == token_id).values(last_used_on=at)
        )
