"""The dashboard's own calls."""

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from stagecast import __version__
from stagecast.accounts.access import COOKIE, DashboardCaller
from stagecast.apps.service import AppService
from stagecast.dashboard.events import DashboardEvents
from stagecast.dashboard.schemas import IceServerInfo, ServerInfo
from stagecast.db.request import Work
from stagecast.kit.responses import FAILS
from stagecast.kit.schema import Success
from stagecast.kit.sse import event_stream
from stagecast.settings import Settings

router = APIRouter(prefix="/api", tags=["Dashboard"], responses=FAILS)


@router.get("/server", operation_id="getServer")
async def get_server(request: Request, caller: DashboardCaller, work: Work) -> Success[ServerInfo]:
    """Addresses and version of this server. Needs the dashboard's cookie."""
    settings: Settings = request.app.state.settings
    base = settings.public_url or f"{request.url.scheme}://{request.url.netloc}"
    return Success(
        data=ServerInfo(
            version=__version__,
            account_id=caller.account_id,
            app_id=(await AppService(work).ensure_app(caller.account_id)).id,
            public_url=base,
            whip_url=f"{base}/api/whip",
            whep_url=f"{base}/api/whep/{caller.account_id}",
            viewer_url=f"{base}/viewer",
            media_port=request.app.state.engine.port,
            ice_servers=[
                IceServerInfo(
                    urls=server.urls,
                    username=server.username,
                    credential=server.credential.get_secret_value() if server.credential else None,
                )
                for server in settings.media.ice_servers
            ],
        )
    )


@router.get(
    "/events",
    operation_id="dashboardEvents",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`hello` {version}, then one `stream` for each live stream (MonitoredStream), then "
            "`stream` on every change, `figures` each second (FiguresEvent), `token` (TokenEvent).",
            "content": {"text/event-stream": {}},
        }
    },
)
async def dashboard_events(request: Request, caller: DashboardCaller) -> Response:
    """Live events as server-sent events. Needs the dashboard's cookie; ends when the session does."""
    events: DashboardEvents = request.app.state.dashboard_events
    cookie = request.cookies.get(COOKIE)
    return event_stream(events.frames(caller.account_id, cookie))
