"""The control plane as one ASGI application: what is built at start, in which order, and how it ends.

`create_app` wires routers and layers; the lifespan opens the data directory, the media core and the
background tasks, and closes them in reverse. Domains find their parts on ``app.state``.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from time import perf_counter

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stagecast import __version__
from stagecast.accounts import endpoints as accounts_endpoints
from stagecast.accounts.passwords import PasswordChecker
from stagecast.accounts.service import AccountService, CredentialUses, FirstAdmin
from stagecast.accounts.tasks import AccountHousekeeping
from stagecast.accounts.throttle import LoginThrottle
from stagecast.apps import endpoints as apps_endpoints
from stagecast.apps.service import AppService
from stagecast.dashboard import endpoints as dashboard_endpoints
from stagecast.dashboard.events import DashboardEvents
from stagecast.db.store import open_store
from stagecast.kit import dialects
from stagecast.kit.dialects import REALTIME_PREFIXES, TEXT_PREFIXES
from stagecast.kit.middleware import BodyLimit, ClientAddress, LastResort, ResponseHeaders
from stagecast.kit.window import FailureWindow, RequestRate
from stagecast.livestreams import endpoints as livestreams_endpoints
from stagecast.livestreams.door import Door
from stagecast.livestreams.links import hls_origin
from stagecast.livestreams.tasks import LivestreamWatch
from stagecast.media.engine import Core, Engine, open_core
from stagecast.operations import endpoints as operations_endpoints
from stagecast.operations.metrics import Metrics
from stagecast.pages import Pages, page_headers
from stagecast.settings import Settings
from stagecast.streams import endpoints as streams_endpoints
from stagecast.streams.live import LiveStreams
from stagecast.streams.service import StreamService
from stagecast.tokens import endpoints as publish_endpoints
from stagecast.tokens import subscribe_endpoints
from stagecast.tokens.tasks import TokenWatch
from stagecast.whip import endpoints as whip_endpoints
from stagecast.whip.events import EventSubscriptions
from stagecast.whip.service import WhipService
from stagecast.workers.ladders import Ladders
from stagecast.workers.supervisor import Transcoders

ROUTERS: tuple[APIRouter, ...] = (
    accounts_endpoints.router,
    publish_endpoints.router,
    subscribe_endpoints.router,
    streams_endpoints.router,
    whip_endpoints.router,
    apps_endpoints.router,
    livestreams_endpoints.router,
    livestreams_endpoints.organization_router,
    dashboard_endpoints.router,
    operations_endpoints.router,
)

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "OPTIONS, GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, Accept",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Allow, Accept-Post, Accept-Patch, Retry-After, "
    "Warning, WWW-Authenticate",
    "Access-Control-Max-Age": "86400",
}
_API = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def create_app(settings: Settings, open_media: Callable[[Settings], Core] = open_core) -> FastAPI:
    """Build the application; nothing is opened before its lifespan starts.

    ``open_media`` opens the media core; tests of HTTP shapes pass a double.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with _running(app, settings, open_media):
            yield

    app = FastAPI(
        title="Stagecast",
        version=__version__,
        summary="Self-hosted live video.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    app.state.settings = settings
    app.state.draining = False
    dialects.install(app, ROUTERS)
    for router in ROUTERS:
        app.include_router(router)
    app.router.default = Pages(lambda request: livestreams_endpoints.request_links(request).hls)
    app.router.redirect_slashes = False
    app.add_middleware(LastResort)
    app.add_middleware(BodyLimit, limit=_body_limit(settings))
    app.add_middleware(RequestTimes, app_state=app.state)
    app.add_middleware(ClientAddress, trusted=settings.http.trusted_proxies)
    app.add_middleware(ResponseHeaders, rule=_response_headers(settings))
    return app


def drain(app: FastAPI) -> None:
    """Stop taking sessions and end every long response, so that the server can finish its requests."""
    if app.state.draining:
        return
    app.state.draining = True
    app.state.whip.drain()
    app.state.door.drain()
    app.state.live.close()
    app.state.dashboard_events.close()


def _response_headers(settings: Settings) -> Callable[[str], dict[str, str]]:
    def headers(path: str) -> dict[str, str]:
        return response_headers(path, hls_origin(settings))

    return headers


def response_headers(path: str, hls: str) -> dict[str, str]:
    """The headers every response under a path carries."""
    if path.startswith(TEXT_PREFIXES):
        return {**_API, **_CORS}
    if path.startswith(("/api/", *REALTIME_PREFIXES)) or path in {
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
    }:
        return _API
    return page_headers(path, hls)


def _body_limit(settings: Settings) -> Callable[[str], int]:
    def limit(path: str) -> int:
        return settings.http.max_sdp if path.startswith(TEXT_PREFIXES) else settings.http.max_body

    return limit


@asynccontextmanager
async def _running(
    app: FastAPI, settings: Settings, open_media: Callable[[Settings], Core]
) -> AsyncGenerator[None]:
    state = app.state
    database, vault = open_store(settings)
    state.database, state.vault = database, vault
    state.passwords = PasswordChecker()
    state.login_throttle = LoginThrottle(
        settings.accounts.login_attempts, settings.accounts.login_window
    )
    state.secret_uses, state.token_uses = CredentialUses(), CredentialUses()
    state.wrong_tokens = FailureWindow(settings.api.wrong_tokens, settings.api.wrong_tokens_window)
    state.api_rate = RequestRate(settings.api.requests, settings.api.window)
    state.first_admin = await _first_start(app)
    try:
        engine = Engine(open_media(settings))
    except BaseException:
        await database.close()
        raise
    live = LiveStreams(settings.streams.ended_retention, settings.streams.ended_max)
    watch = TokenWatch(database, engine, live)
    events = DashboardEvents(StreamService(live, engine), live, database, settings.accounts)
    housekeeping = AccountHousekeeping(
        database, settings.accounts, state.secret_uses, state.token_uses
    )
    livestreams = LivestreamWatch(database, live, settings.livestreams.reconnect_window)
    wrong_keys = FailureWindow(
        settings.livestreams.wrong_keys, settings.livestreams.wrong_keys_window
    )
    ladders = Ladders(settings.ladder, live)
    door = Door(database, vault, engine, live, wrong_keys, ladders.wanted)
    state.livestreams, state.door = livestreams, door
    state.engine, state.live, state.token_watch, state.dashboard_events = (
        engine,
        live,
        watch,
        events,
    )
    state.housekeeping = housekeeping
    state.whip = WhipService(database, vault, engine, live, settings.streams.max_waiting_viewers)
    state.whip_events = EventSubscriptions(live)
    state.metrics = Metrics(engine, live, settings.metrics.top_streams)
    engine.on_event(door.on_event)
    engine.on_event(live.on_event)
    engine.on_event(livestreams.on_event)
    transcoders = Transcoders(engine.worker_socket, ladders, sound=settings.media.transcode_audio)
    engine.on_event(transcoders.on_event)
    engine.on_figures(live.on_figures)
    engine.on_figures(livestreams.on_figures)
    engine.on_figures(events.on_figures)
    live.on_change(events.on_stream)
    watch.on_change(events.on_token)
    await watch.start()
    await livestreams.start()
    engine.start()
    tasks = [
        asyncio.create_task(watch.run(), name="token-watch"),
        asyncio.create_task(housekeeping.run(), name="account-housekeeping"),
        asyncio.create_task(livestreams.run(), name="livestream-watch"),
    ]
    try:
        yield
    finally:
        drain(app)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await transcoders.close()
            await engine.close()
            await door.close()
            await livestreams.flush()
            await housekeeping.flush()
        finally:
            await database.close()


async def _first_start(app: FastAPI) -> FirstAdmin | None:
    """Make the account and its first user where there are none."""
    settings: Settings = app.state.settings
    async with app.state.database.work() as session:
        accounts = AccountService(session, settings.accounts, app.state.passwords)
        app.state.account_id = await accounts.ensure_account()
        await AppService(session).ensure_app(app.state.account_id)
        password = await accounts.ensure_admin(app.state.account_id)
    return None if password is None else FirstAdmin(settings.accounts.admin_email, password)


class RequestTimes:
    """Observes how long each request took, by route template."""

    def __init__(self, app: ASGIApp, app_state: object) -> None:
        self.app = app
        self.app_state = app_state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics: Metrics | None = getattr(self.app_state, "metrics", None)
        if scope["type"] != "http" or metrics is None:
            await self.app(scope, receive, send)
            return
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        try:
            await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "page")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.requests.labels(method, route, str(status)).observe(perf_counter() - began)


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
