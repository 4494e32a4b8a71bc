"""Listing and making apps."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from stagecast.apps.access import AppCaller, account_caller
from stagecast.apps.schemas import (
    REFUSALS,
    App,
    AppCreate,
    AppCreated,
    Page,
    PagedReply,
    PageNo,
    PerPage,
    Reply,
)
from stagecast.apps.service import AppService
from stagecast.db.request import Work

router = APIRouter(
    prefix="/client/v4/accounts/{account_id}/realtime/kit", tags=["Apps"], responses=REFUSALS
)


@router.get("/apps", operation_id="listApps")
async def list_apps(
    caller: Annotated[AppCaller, Depends(account_caller("apps:read"))],
    work: Work,
    page_no: PageNo = 1,
    per_page: PerPage = 20,
    search: Annotated[str, Query(max_length=128)] = "",
    sort_order: Literal["ASC", "DESC", "DSC"] = "ASC",
) -> PagedReply[list[App]]:
    """The account's apps, oldest first. Needs an API token with `apps:read`, or the dashboard's cookie."""
    page = Page(page_no, per_page)
    rows, total = await AppService(work).page(
        caller.account_id, page, search, ascending=sort_order == "ASC"
    )
    return PagedReply(
        data=[App.model_validate(row) for row in rows], paging=page.paging(total, len(rows))
    )


@router.post("/apps", operation_id="createApp", status_code=201)
async def create_app(
    body: AppCreate,
    caller: Annotated[AppCaller, Depends(account_caller("apps:write"))],
    work: Work,
) -> Reply[AppCreated]:
    """Make an app. Needs an API token with `apps:write`, or the dashboard's cookie."""
    row = await AppService(work).create(caller.account_id, body.name)
    return Reply(data=AppCreated(app=App.model_validate(row)))
