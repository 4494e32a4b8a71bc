"""All SQL about apps."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.db.tables import App


class AppRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: App) -> None:
        self._session.add(row)
        await self._session.flush()

    async def get(self, app_id: str) -> App | None:
        return await self._session.get(App, app_id)

    async def first(self, account_id: str) -> App | None:
        return await self._session.scalar(
            select(App)
            .where(App.account_id == account_id)
            .order_by(App.created_at, App.id)
            .limit(1)
        )

    async def by_name(self, account_id: str, name: str) -> App | None:
        return await self._session.scalar(
            select(App).where(App.account_id == account_id, App.name == name)
        )

    async def page(
        self, account_id: str, search: str, *, ascending: bool, limit: int, offset: int
    ) -> tuple[Sequence[App], int]:
        where = [App.account_id == account_id]
        if search:
            where.append(App.name.icontains(search, autoescape=True))
        total = await self._session.scalar(select(func.count()).select_from(App).where(*where))
        order = (App.created_at, App.id) if ascending else (App.created_at.desc(), App.id.desc())
        rows = await self._session.scalars(
            select(App).where(*where).order_by(*order).limit(limit).offset(offset)
        )
        return rows.all(), total or 0
