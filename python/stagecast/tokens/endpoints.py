"""REST calls for publish tokens."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from stagecast.accounts.access import ApiCaller
from stagecast.db.request import Work
from stagecast.kit.responses import FAILS
from stagecast.kit.schema import Success
from stagecast.streams.live import LiveStreams
from stagecast.tokens.schemas import (
    ActiveTokens,
    DisabledTokens,
    FilterBy,
    Page,
    PublishToken,
    PublishTokenCreate,
    PublishTokenUpdate,
    PublishTokenUpdateV1,
    SortBy,
    TokenIds,
)
from stagecast.tokens.service import PublishTokenService, Row, Shown, TokenService

router = APIRouter(prefix="/api", tags=["Publish tokens"], responses=FAILS)

TokenId = Annotated[int, Path(alias="tokenId", ge=1, le=(1 << 63) - 1)]
_PageNumber = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]
_ItemsOnPage = Annotated[int, Query(alias="itemsOnPage", ge=1, le=100)]
_SortBy = Annotated[SortBy, Query(alias="sortBy")]
_Descending = Annotated[bool, Query(alias="isDescending")]
NameQuery = Annotated[str, Query(alias="name", max_length=128)]
FilterByQuery = Annotated[FilterBy, Query(alias="filterBy")]
TOTAL = {
    200: {
        "headers": {
            "X-Total-Count": {
                "description": "How many tokens there are on all pages.",
                "schema": {"type": "integer"},
            }
        }
    }
}


def _page(
    page: _PageNumber,
    items_on_page: _ItemsOnPage,
    sort_by: _SortBy = SortBy.NAME,
    is_descending: _Descending = False,
) -> Page:
    return Page(page, items_on_page, sort_by, is_descending)


def _page_or_first(
    page: _PageNumber = 1,
    items_on_page: _ItemsOnPage = 100,
    sort_by: _SortBy = SortBy.NAME,
    is_descending: _Descending = False,
) -> Page:
    return Page(page, items_on_page, sort_by, is_descending)


Wanted = Annotated[Page, Depends(_page)]
WantedOrFirst = Annotated[Page, Depends(_page_or_first)]


async def listed(
    tokens: TokenService[Row, Any, Shown],
    account_id: str,
    response: Response,
    wanted: Page,
    filter_by: FilterBy = FilterBy.NONE,
    name: str = "",
) -> Success[list[Shown]]:
    """One page of tokens; how many there are on all pages is a header of the response."""
    rows, total = await tokens.page(account_id, wanted, filter_by, name)
    response.headers["X-Total-Count"] = str(total)
    return Success(data=[tokens.shown(row) for row in rows])


def publish_service(request: Request, work: Work) -> PublishTokenService:
    state = request.app.state
    return PublishTokenService(work, state.vault, state.token_watch.wake)


Tokens = Annotated[PublishTokenService, Depends(publish_service)]


@router.post("/publish_token", operation_id="createPublishToken")
async def create_publish_token(
    body: PublishTokenCreate, caller: ApiCaller, tokens: Tokens
) -> Success[PublishToken]:
    """Make a publish token. Needs an API secret or the dashboard's cookie."""
    return Success(data=tokens.shown(await tokens.create(caller.account_id, body)))


@router.get("/publish_token/list", operation_id="listPublishTokens", responses={**FAILS, **TOTAL})
async def list_publish_tokens(
    caller: ApiCaller, tokens: Tokens, response: Response, wanted: Wanted
) -> Success[list[PublishToken]]:
    """One page of the account's publish tokens. Needs an API secret or the dashboard's cookie."""
    return await listed(tokens, caller.account_id, response, wanted)


@router.get(
    "/publish_token/list_by_name",
    operation_id="listPublishTokensByName",
    responses={**FAILS, **TOTAL},
)
async def list_publish_tokens_by_name(
    caller: ApiCaller,
    tokens: Tokens,
    response: Response,
    wanted: WantedOrFirst,
    name: NameQuery = "",
    filter_by: FilterByQuery = FilterBy.TOKEN_NAME,
) -> Success[list[PublishToken]]:
    """Publish tokens whose label or stream names contain a text. Needs an API secret or the cookie."""
    return await listed(tokens, caller.account_id, response, wanted, filter_by, name)


@router.get("/publish_token/active", operation_id="listActivePublishTokens")
async def list_active_publish_tokens(
    caller: ApiCaller,
    request: Request,
    stream_id: Annotated[str, Query(alias="streamId", min_length=3, max_length=170)],
) -> Success[ActiveTokens]:
    """Ids of the tokens that publish to a stream now. Needs an API secret or the dashboard's cookie."""
    live: LiveStreams = request.app.state.live
    return Success(
        data=ActiveTokens(token_ids=live.publishing_tokens(caller.account_id, stream_id))
    )


@router.get("/publish_token/active/all", operation_id="listAllActivePublishTokens")
async def list_all_active_publish_tokens(
    caller: ApiCaller, request: Request
) -> Success[ActiveTokens]:
    """Ids of all tokens that publish now. Needs an API secret or the dashboard's cookie."""
    live: LiveStreams = request.app.state.live
    return Success(data=ActiveTokens(token_ids=live.publishing_tokens(caller.account_id)))


@router.patch("/publish_token/disable", operation_id="disablePublishTokens")
async def disable_publish_tokens(
    body: TokenIds, caller: ApiCaller, tokens: Tokens
) -> Success[DisabledTokens]:
    """Disable tokens; running feeds go on. Needs an API secret or the dashboard's cookie."""
    return Success(data=await tokens.disable(caller.account_id, body.token_ids))


@router.get("/publish_token/{tokenId}", operation_id="getPublishToken")
async def get_publish_token(
    token_id: TokenId, caller: ApiCaller, tokens: Tokens
) -> Success[PublishToken]:
    """Read one publish token. Needs an API secret or the dashboard's cookie."""
    return Success(data=tokens.shown(await tokens.row(caller.account_id, token_id)))


@router.put("/publish_token/{tokenId}", operation_id="updatePublishTokenV1")
async def update_publish_token_v1(
    token_id: TokenId, body: PublishTokenUpdateV1, caller: ApiCaller, tokens: Tokens
) -> Success[PublishToken]:
    """Change a publish token, version 1 names. Needs an API secret or the dashboard's cookie."""
    return Success(
        data=tokens.shown(await tokens.update(caller.account_id, token_id, body.changes()))
    )


@router.put("/v2/publish_token/{tokenId}", operation_id="updatePublishToken")
async def update_publish_token(
    token_id: TokenId, body: PublishTokenUpdate, caller: ApiCaller, tokens: Tokens
) -> Success[PublishToken]:
    """Change a publish token. Needs an API secret or the dashboard's cookie."""
    return Success(
        data=tokens.shown(await tokens.update(caller.account_id, token_id, body.changes()))
    )


@router.delete("/publish_token/{tokenId}", operation_id="deletePublishToken")
async def delete_publish_token(
    token_id: TokenId, caller: ApiCaller, tokens: Tokens
) -> Success[bool]:
    """Delete a publish token and end its feeds. Needs an API secret or the dashboard's cookie."""
    await tokens.delete(caller.account_id, token_id)
    return Success(data=True)
