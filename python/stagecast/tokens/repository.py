"""All SQL about publish and subscribe tokens, which differ in their tables only, and their outbox."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement

from stagecast.db.tables import (
    PublishToken,
    PublishTokenStream,
    SubscribeToken,
    SubscribeTokenStream,
    TokenChange,
)
from stagecast.tokens.schemas import FilterBy, Page, SortBy, TokenStream

Row = TypeVar("Row", PublishToken, SubscribeToken)


class TokenRepository(Generic[Row]):
    def __init__(
        self,
        session: AsyncSession,
        table: type[Row],
        streams: type[PublishTokenStream] | type[SubscribeTokenStream],
    ) -> None:
        self._session = session
        self._table = table
        self._streams = streams

    def new(self, streams: list[TokenStream], **columns: Any) -> Row:
        """A row that is not stored yet."""
        return self._table(streams=[self.stream(stream) for stream in streams], **columns)

    def stream(self, stream: TokenStream) -> PublishTokenStream | SubscribeTokenStream:
        return self._streams(stream_name=stream.stream_name, is_regex=stream.is_regex)

    async def add(self, row: Row) -> None:
        self._session.add(row)
        await self._session.flush()

    async def flush(self) -> None:
        await self._session.flush()

    async def get(self, account_id: str, token_id: int) -> Row | None:
        row = await self._session.get(self._table, token_id)
        return row if row is not None and row.account_id == account_id else None

    async def exists(self, token_id: int) -> bool:
        return (
            await self._session.scalar(select(self._table.id).where(self._table.id == token_id))
            is not None
        )

    async def by_id(self, token_id: int) -> Row | None:
        return await self._session.get(self._table, token_id)

    async def by_hash(self, secret_hash: bytes) -> Row | None:
        return await self._session.scalar(
            select(self._table).where(self._table.secret_hash == secret_hash)
        )

    async def delete(self, row: Row) -> None:
        await self._session.delete(row)
        await self._session.flush()

    async def page(
        self, account_id: str, page: Page, filter_by: FilterBy, name: str
    ) -> tuple[Sequence[Row], int]:
        """One page of the account's tokens, and how many there are in all."""
        table = self._table
        where = [table.account_id == account_id, *self._name_filter(filter_by, name)]
        total = await self._session.scalar(select(func.count()).select_from(table).where(*where))
        column: ColumnElement[str] | ColumnElement[datetime]
        column = (
            func.lower(table.label) if page.sort_by is SortBy.NAME else table.added_on.expression
        )
        order = (
            (column.desc(), table.id.desc()) if page.descending else (column.asc(), table.id.asc())
        )
        rows = await self._session.scalars(
            select(table)
            .where(*where)
            .order_by(*order)
            .limit(page.items)
            .offset((page.page - 1) * page.items)
        )
        return rows.all(), total or 0

    def _name_filter(self, filter_by: FilterBy, name: str) -> list[ColumnElement[bool]]:
        if filter_by is FilterBy.NONE or not name:
            return []
        label = self._table.label.icontains(name, autoescape=True)
        streams = self._table.id.in_(
            select(self._streams.token_id).where(
                self._streams.stream_name.icontains(name, autoescape=True)
            )
        )
        match filter_by:
            case FilterBy.TOKEN_NAME:
                return [label]
            case FilterBy.STREAM_NAME:
                return [streams]
            case _:
                return [or_(label, streams)]

    async def lock(self, token_id: int) -> Row | None:
        """Take the database's write lock, then read: what follows sees no older state."""
        await self._session.execute(
            update(self._table).where(self._table.id == token_id).values(label=self._table.label)
        )
        return await self._session.get(self._table, token_id, populate_existing=True)


def publish_tokens(session: AsyncSession) -> TokenRepository[PublishToken]:
    return TokenRepository(session, PublishToken, PublishTokenStream)


def subscribe_tokens(session: AsyncSession) -> TokenRepository[SubscribeToken]:
    return TokenRepository(session, SubscribeToken, SubscribeTokenStream)


class OutboxRepository:
    """Token changes in the order they were committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, change: TokenChange) -> None:
        self._session.add(change)
        await self._session.flush()

    async def last_id(self) -> int:
        return await self._session.scalar(select(func.max(TokenChange.id))) or 0

    async def after(self, last_id: int, limit: int) -> Sequence[TokenChange]:
        rows = await self._session.scalars(
            select(TokenChange)
            .where(TokenChange.id > last_id)
            .order_by(TokenChange.id)
            .limit(limit)
        )
        return rows.all()

    async def delete_before(self, when: datetime) -> None:
        await self._session.execute(delete(TokenChange).where(TokenChange.at < when))
