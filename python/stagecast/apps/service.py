"""Rules of apps: an account always has one, names are unique in it."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.apps.repository import AppRepository
from stagecast.apps.schemas import Page
from stagecast.db.tables import App
from stagecast.errors import Conflict, NotFound
from stagecast.kit.clock import utc_now

FIRST_NAME = "default"


class AppService:
    def __init__(self, session: AsyncSession) -> None:
        self._rows = AppRepository(session)

    async def ensure_app(self, account_id: str) -> App:
        """The account's oldest app, which the first call makes."""
        return await self._rows.first(account_id) or await self.create(account_id, FIRST_NAME)

    async def create(self, account_id: str, name: str) -> App:
        if await self._rows.by_name(account_id, name) is not None:
            raise Conflict(f"There is already an app named {name!r}.", field="name")
        row = App(id=str(uuid.uuid4()), account_id=account_id, name=name, created_at=utc_now())
        await self._rows.add(row)
        return row

    async def get(self, app_id: str, account_id: str | None = None) -> App:
        """An app, of this account where one is named."""
        row = await self._rows.get(app_id)
        if row is None or account_id not in {None, row.account_id}:
            raise NotFound(f"No app found with id {app_id}")
        return row

    async def page(
        self, account_id: str, page: Page, search: str, *, ascending: bool
    ) -> tuple[list[App], int]:
        rows, total = await self._rows.page(
            account_id, search, ascending=ascending, limit=page.limit, offset=page.offset
        )
        return list(rows), total
