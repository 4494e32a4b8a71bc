"""The unit of work of an HTTP request."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from stagecast.db.database import Database


async def request_work(request: Request) -> AsyncGenerator[AsyncSession]:
    """Open a unit of work; it commits when the endpoint returns, before the response leaves."""
    database: Database = request.app.state.database
    async with database.work() as session:
        yield session


Work = Annotated[AsyncSession, Depends(request_work, scope="function")]
