"""REST calls for livestreams, once under ``/client/v4`` and once under ``/v2``, which differ in credentials only."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request

from stagecast.apps.access import AppCaller, Guard, app_caller, organization_caller
from stagecast.apps.schemas import REFUSALS, Page, PagedReply, PageNo, PerPage, Reply
from stagecast.db.request import Work
from stagecast.livestreams.links import Links, links
from stagecast.livestreams.schemas import (
    ActiveSession,
    Day,
    Deleted,
    LadderChange,
    Livestream,
    LivestreamCreate,
    LivestreamDetails,
    LivestreamOfApp,
    LivestreamSession,
    Moment,
    Overall,
    SortOrder,
    Status,
)
from stagecast.livestreams.service import LivestreamFilter, LivestreamService, shown_session
from stagecast.streams.service import StreamService

_APP = "/client/v4/accounts/{account_id}/realtime/kit/{app_id}"
_READ = "Needs an API token with `livestreams:read`"
_WRITE = "Needs an API token with `livestreams:write`"


def livestream_service(request: Request, work: Work) -> LivestreamService:
    state = request.app.state
    streams = StreamService(state.live, state.engine)

    def stop(account_id: str, key: str) -> None:
        streams.stop(account_id, key)

    return LivestreamService(work, state.vault, stop)


def request_links(request: Request) -> Links:
    state = request.app.state
    return links(state.settings, state.engine, request.url.scheme, request.url.netloc)


Livestreams = Annotated[LivestreamService, Depends(livestream_service)]
To = Annotated[Links, Depends(request_links)]
LivestreamId = Annotated[str, Path(alias="livestream_id", max_length=64)]
SessionId = Annotated[str, Path(alias="livestream_session_id", max_length=64)]
Since = Annotated[Moment | None, Query(description="ISO 8601 or Unix seconds.")]
Of = Annotated[str | None, Query(max_length=64, description="Of this livestream only.")]
Filters = Annotated[str | None, Query(max_length=256, description="Taken and not used.")]


def _routes(prefix: str, suffix: str, read: Guard, write: Guard) -> APIRouter:
    """The calls of one family; ``suffix`` tells its operations from the other's."""
    router = APIRouter(prefix=prefix, tags=["Livestreams"], responses=REFUSALS)

    @router.post(
        "/livestreams",
        operation_id=f"createLivestream{suffix}",
        status_code=201,
        description=f"Make a livestream. {_WRITE}. The same `Idempotency-Key` makes it once.",
    )
    async def create_livestream(
        caller: Annotated[AppCaller, Depends(write)],
        livestreams: Livestreams,
        to: To,
        body: LivestreamCreate | None = None,
        idempotency_key: Annotated[
            str | None, Header(min_length=1, max_length=128, alias="Idempotency-Key")
        ] = None,
    ) -> Reply[Livestream]:
        new = body or LivestreamCreate()
        row = await livestreams.create(
            caller.account_id, caller.app_id, new.name, idempotency_key, new.ladder
        )
        return Reply(data=livestreams.shown(row, to))

    @router.get(
        "/livestreams",
        operation_id=f"listLivestreams{suffix}",
        description=f"The app's livestreams, newest first. {_READ}.",
    )
    async def list_livestreams(
        caller: Annotated[AppCaller, Depends(read)],
        livestreams: Livestreams,
        to: To,
        exclude_meetings: Annotated[
            bool, Query(description="No meeting is streamed here, so both list the same.")
        ] = False,
        page_no: PageNo = 1,
        per_page: PerPage = 20,
        status: Status | None = None,
        search: Annotated[str, Query(max_length=128, description="Part of the name.")] = "",
        start_time: Since = None,
        end_time: Since = None,
        sort_order: SortOrder = "DSC",
    ) -> PagedReply[list[Livestream]]:
        page = Page(page_no, per_page)
        wanted = LivestreamFilter(status, search, start_time, end_time, sort_order == "ASC")
        rows, total = await livestreams.page(caller.app_id, page, wanted)
        shown = [livestreams.shown(row, to) for row in rows]
        return PagedReply(data=shown, paging=page.paging(total, len(shown)))

    @router.get(
        "/livestreams/sessions/{livestream_session_id}",
        operation_id=f"getLivestreamSession{suffix}",
        description=f"One session. {_READ}.",
    )
    async def get_livestream_session(
        caller: Annotated[AppCaller, Depends(read)], session_id: SessionId, livestreams: Livestreams
    ) -> Reply[LivestreamSession]:
        return Reply(data=shown_session(await livestreams.session(caller.app_id, session_id)))

    @router.get(
        "/livestreams/{livestream_id}",
        operation_id=f"getLivestream{suffix}",
        description=f"A livestream with its sums and a page of its sessions, newest first. {_READ}.",
    )
    async def get_livestream(
        caller: Annotated[AppCaller, Depends(read)],
        livestream_id: LivestreamId,
        livestreams: Livestreams,
        to: To,
        page_no: PageNo = 1,
        per_page: PerPage = 20,
    ) -> PagedReply[LivestreamDetails]:
        page = Page(page_no, per_page)
        details = await livestreams.details(caller.app_id, livestream_id, page, to)
        return PagedReply(data=details, paging=details.paging)

    @router.delete(
        "/livestreams/{livestream_id}",
        operation_id=f"deleteLivestream{suffix}",
        description=f"Delete a livestream; what is live ends. {_WRITE}.",
    )
    async def delete_livestream(
        caller: Annotated[AppCaller, Depends(write)],
        livestream_id: LivestreamId,
        livestreams: Livestreams,
    ) -> Reply[Deleted]:
        await livestreams.delete(caller.app_id, livestream_id)
        return Reply(data=Deleted(id=livestream_id))

    @router.get(
        "/livestreams/{livestream_id}/active-livestream-session",
        operation_id=f"getActiveLivestreamSession{suffix}",
        description=f"The session that is live now; 404 when none is. {_READ}.",
    )
    async def get_active_livestream_session(
        caller: Annotated[AppCaller, Depends(read)],
        livestream_id: LivestreamId,
        livestreams: Livestreams,
        to: To,
    ) -> Reply[ActiveSession]:
        row, session = await livestreams.active(caller.app_id, livestream_id)
        return Reply(
            data=ActiveSession(
                livestream=livestreams.shown(row, to), session=shown_session(session)
            )
        )

    @router.post(
        "/livestreams/{livestream_id}/reset-stream-key",
        operation_id=f"resetLivestreamKey{suffix}",
        description=f"Make a new stream key; the old one is refused from now on. {_WRITE}.",
    )
    async def reset_livestream_key(
        caller: Annotated[AppCaller, Depends(write)],
        livestream_id: LivestreamId,
        livestreams: Livestreams,
        to: To,
    ) -> Reply[LivestreamOfApp]:
        row = await livestreams.reset_key(caller.app_id, livestream_id)
        return _of_app(livestreams.shown(row, to), caller)

    @router.put(
        "/livestreams/{livestream_id}/enable",
        operation_id=f"enableLivestream{suffix}",
        description=f"Let a disabled livestream be used again. {_WRITE}.",
    )
    async def enable_livestream(
        caller: Annotated[AppCaller, Depends(write)],
        livestream_id: LivestreamId,
        livestreams: Livestreams,
        to: To,
    ) -> Reply[LivestreamOfApp]:
        row = await livestreams.set_disabled(caller.app_id, livestream_id, disabled=False)
        return _of_app(livestreams.shown(row, to), caller)

    @router.put(
        "/livestreams/{livestream_id}/disable",
        operation_id=f"disableLivestream{suffix}",
        description=f"Refuse encoders and players; what is live ends. {_WRITE}.",
    )
    async def disable_livestream(
        caller: Annotated[AppCaller, Depends(write)],
        livestream_id: LivestreamId,
        livestreams: Livestreams,
        to: To,
    ) -> Reply[LivestreamOfApp]:
        row = await livestreams.set_disabled(caller.app_id, livestream_id, disabled=True)
        return _of_app(livestreams.shown(row, to), caller)

    @router.put(
        "/livestreams/{livestream_id}/ladder",
        operation_id=f"setLivestreamLadder{suffix}",
        description="Choose whether HLS players get smaller pictures, from the next time it goes live. "
        f"{_WRITE}.",
    )
    async def set_livestream_ladder(
        caller: Annotated[AppCaller, Depends(write)],
        livestream_id: LivestreamId,
        livestreams: Livestreams,
        to: To,
        body: LadderChange,
    ) -> Reply[LivestreamOfApp]:
        row = await livestreams.set_ladder(caller.app_id, livestream_id, body.ladder)
        return _of_app(livestreams.shown(row, to), caller)

    @router.get(
        "/analytics/livestreams/overall",
        operation_id=f"getLivestreamAnalytics{suffix}",
        description=f"Sums of whole days (UTC), of all time when nothing is said. {_READ}.",
    )
    async def get_livestream_analytics(
        caller: Annotated[AppCaller, Depends(read)],
        livestreams: Livestreams,
        start_time: Since = None,
        end_time: Since = None,
        filters: Filters = None,
        livestream_id: Of = None,
    ) -> Reply[Overall]:
        return Reply(
            data=await livestreams.overall(caller.app_id, start_time, end_time, livestream_id)
        )

    @router.get(
        "/analytics/livestreams/daywise",
        operation_id=f"getLivestreamAnalyticsByDay{suffix}",
        description=f"The same by day (UTC), of the last 30 days when nothing is said. {_READ}.",
    )
    async def get_livestream_analytics_by_day(
        caller: Annotated[AppCaller, Depends(read)],
        livestreams: Livestreams,
        start_time: Since = None,
        end_time: Since = None,
        filters: Filters = None,
        livestream_id: Of = None,
    ) -> Reply[list[Day]]:
        return Reply(
            data=await livestreams.daywise(caller.app_id, start_time, end_time, livestream_id)
        )

    return router


def _of_app(shown: Livestream, caller: AppCaller) -> Reply[LivestreamOfApp]:
    return Reply(data=LivestreamOfApp(**shown.model_dump(), org_id=caller.app_id))


router = _routes(_APP, "", app_caller("livestreams:read"), app_caller("livestreams:write"))
organization_router = _routes(
    "/v2",
    "OfOrganization",
    organization_caller("livestreams:read"),
    organization_caller("livestreams:write"),
)
