"""Health, readiness and metrics. Refusals here are problem details."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from starlette.responses import Response

from stagecast.accounts.access import Accounts
from stagecast.db.request import Work
from stagecast.errors import Forbidden, Unavailable
from stagecast.kit.network import in_networks, parse_address
from stagecast.kit.schema import Problem, Schema
from stagecast.operations.metrics import Metrics
from stagecast.settings import Settings

router = APIRouter(tags=["Operations"])
_bearer = HTTPBearer(scheme_name="apiSecret", auto_error=False)


class Health(Schema):
    status: str


@router.get("/healthz", operation_id="health")
async def health() -> Health:
    """The process answers. Anyone may call it."""
    return Health(status="ok")


@router.get("/readyz", operation_id="ready", responses={503: {"model": Problem}})
async def ready(request: Request, work: Work) -> Health:
    """The database answers and new sessions are taken. Anyone may call it."""
    if request.app.state.draining:
        raise Unavailable("The server is shutting down.")
    await work.execute(text("SELECT 1"))
    return Health(status="ready")


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, 403: {"model": Problem}},
)
async def metrics(
    request: Request,
    accounts: Accounts,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Response:
    """Prometheus metrics. For the networks of the setting `metrics.allow`, or with an API secret."""
    settings: Settings = request.app.state.settings
    address = parse_address(request.client.host if request.client else None)
    if not in_networks(address, settings.metrics.allow) and (
        bearer is None or await accounts.secret_owner(bearer.credentials) is None
    ):
        raise Forbidden(
            "Metrics are for the networks in metrics.allow, or with an API secret as Bearer."
        )
    page: Metrics = request.app.state.metrics
    return Response(generate_latest(page.registry), media_type=CONTENT_TYPE_LATEST)
