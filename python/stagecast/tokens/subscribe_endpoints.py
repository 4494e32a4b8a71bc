"""REST calls for subscribe tokens."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from stagecast.accounts.access import ApiCaller
from stagecast.db.request import Work
from stagecast.kit.responses import FAILS
from stagecast.kit.schema import Success
from stagecast.tokens.endpoints import (
    TOTAL,
    FilterByQuery,
    NameQuery,
    TokenId,
    Wanted,
    WantedOrFirst,
    listed,
)
from stagecast.tokens.schemas import (
    FilterBy,
    SubscribeToken,
    SubscribeTokenCreate,
    SubscribeTokenUpdate,
    SubscribeTokenUpdateV1,
)
from stagecast.tokens.service import SubscribeTokenService

router = APIRouter(prefix="/api", tags=["Subscribe tokens"], responses=FAILS)


def subscribe_service(request: Request, work: Work) -> SubscribeTokenService:
    state = request.app.state
    return SubscribeTokenService(work, state.vault, state.token_watch.wake)


Tokens = Annotated[SubscribeTokenService, Depends(subscribe_service)]


@router.post("/subscribe_token", operation_id="createSubscribeToken")
async def create_subscribe_token(
    body: SubscribeTokenCreate, caller: ApiCaller, tokens: Tokens
) -> Success[SubscribeToken]:
    """Make a subscribe token. Needs an API secret or the dashboard's cookie."""
    return Success(data=tokens.shown(await tokens.create(caller.account_id, body)))


@router.get(
    "/subscribe_token/list", operation_id="listSubscribeTokens", responses={**FAILS, **TOTAL}
)
async def list_subscribe_tokens(
    caller: ApiCaller, tokens: Tokens, response: Response, wanted: Wanted
) -> Success[list[SubscribeToken]]:
    """One page of the account's subscribe tokens. Needs an API secret or the dashboard's cookie."""
    return await listed(tokens, caller.account_id, response, wanted)


@router.get(
    "/subscribe_token/list_by_name",
    operation_id="listSubscribeTokensByName",
    responses={**FAILS, **TOTAL},
)
async def list_subscribe_tokens_by_name(
    caller: ApiCaller,
    tokens: Tokens,
    response: Response,
    wanted: WantedOrFirst,
    name: NameQuery = "",
    filter_by: FilterByQuery = FilterBy.TOKEN_NAME,
) -> Success[list[SubscribeToken]]:
    """Subscribe tokens whose label or stream names contain a text. Needs an API secret or the cookie."""
    return await listed(tokens, caller.account_id, response, wanted, filter_by, name)


@router.get("/subscribe_token/{tokenId}", operation_id="getSubscribeToken")
async def get_subscribe_token(
    token_id: TokenId, caller: ApiCaller, tokens: Tokens
) -> Success[SubscribeToken]:
    """Read one subscribe token. Needs an API secret or the dashboard's cookie."""
    return Success(data=tokens.shown(await tokens.row(caller.account_id, token_id)))


@router.put("/subscribe_token/{tokenId}", operation_id="updateSubscribeTokenV1")
async def update_subscribe_token_v1(
    token_id: TokenId, body: SubscribeTokenUpdateV1, caller: ApiCaller, tokens: Tokens
) -> Success[SubscribeToken]:
    """Change a subscribe token, version 1 names. Needs an API secret or the dashboard's cookie."""
    return Success(
        data=tokens.shown(await tokens.update(caller.account_id, token_id, body.changes()))
    )


@router.put("/v2/subscribe_token/{tokenId}", operation_id="updateSubscribeToken")
async def update_subscribe_token(
    token_id: TokenId, body: SubscribeTokenUpdate, caller: ApiCaller, tokens: Tokens
) -> Success[SubscribeToken]:
    """Change a subscribe token. Needs an API secret or the dashboard's cookie."""
    return Success(
        data=tokens.shown(await tokens.update(caller.account_id, token_id, body.changes()))
    )


@router.delete("/subscribe_token/{tokenId}", operation_id="deleteSubscribeToken")
async def delete_subscribe_token(
    token_id: TokenId, caller: ApiCaller, tokens: Tokens
) -> Success[bool]:
    """Delete a subscribe token and end its viewers. Needs an API secret or the dashboard's cookie."""
    await tokens.delete(caller.account_id, token_id)
    return Success(data=True)
