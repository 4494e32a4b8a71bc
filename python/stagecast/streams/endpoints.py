"""REST calls for monitoring and stopping streams, and the dashboard's events."""

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from stagecast.accounts.access import ApiCaller
from stagecast.errors import NotFound
from stagecast.kit.responses import FAILS
from stagecast.kit.schema import Success
from stagecast.streams.schemas import (
    MonitoredStreamDetails,
    MonitoredStreams,
    Pagination,
    Stopped,
    StreamSortBy,
    StreamsSummary,
    StreamStop,
    StreamSummary,
)
from stagecast.streams.service import (
    StreamFilter,
    StreamService,
    monitored,
    monitored_details,
    stream_summary,
)

router = APIRouter(prefix="/api", responses=FAILS)


def stream_service(request: Request) -> StreamService:
    return StreamService(request.app.state.live, request.app.state.engine)


Streams = Annotated[StreamService, Depends(stream_service)]
StreamName = Annotated[str, Path(alias="streamName", max_length=128)]


def stream_filter(
    is_active: Annotated[bool | None, Query(alias="isActive")] = None,
    cluster: Annotated[list[str] | None, Query(max_length=20)] = None,
    is_secure: Annotated[bool | None, Query(alias="isSecure")] = None,
    is_multisource: Annotated[bool | None, Query(alias="isMultisource")] = None,
    has_redundant: Annotated[bool | None, Query(alias="hasRedundant")] = None,
    search_substring: Annotated[str, Query(alias="searchSubstring", max_length=128)] = "",
    is_recording_allowed: Annotated[bool | None, Query(alias="isRecordingAllowed")] = None,
    is_restreaming: Annotated[bool | None, Query(alias="isRestreaming")] = None,
    transcoder_id: Annotated[str | None, Query(alias="transcoderId", max_length=128)] = None,
) -> StreamFilter:
    """Read the filters; no stream here is redundant, recorded, restreamed or transcoded."""
    asks_for_missing = bool(
        has_redundant or is_recording_allowed or is_restreaming or transcoder_id
    )
    return StreamFilter(
        is_active=is_active,
        is_secure=is_secure,
        is_multisource=is_multisource,
        search=search_substring,
        clusters=cluster or [],
        never=asks_for_missing,
    )


@router.get("/monitoring/streams", operation_id="listMonitoredStreams", tags=["Monitoring"])
async def list_monitored_streams(
    caller: ApiCaller,
    streams: Streams,
    wanted: Annotated[StreamFilter, Depends(stream_filter)],
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    items_on_page: Annotated[int, Query(alias="itemsOnPage", ge=1, le=100)] = 10,
    sort_by: Annotated[StreamSortBy, Query(alias="sortBy")] = StreamSortBy.STREAM_ID,
    is_descending: Annotated[bool, Query(alias="isDescending")] = False,
) -> Success[MonitoredStreams]:
    """Streams that are live or ended within an hour. Needs an API secret or the dashboard's cookie."""
    found = streams.listed(caller.account_id, wanted, sort_by, descending=is_descending)
    first = (page - 1) * items_on_page
    return Success(
        data=MonitoredStreams(
            pagination=Pagination(
                total_items=len(found),
                total_pages=math.ceil(len(found) / items_on_page),
                items_on_page=items_on_page,
            ),
            data=[monitored(stream) for stream in found[first : first + items_on_page]],
        )
    )


@router.get(
    "/monitoring/streams/{streamName}", operation_id="getMonitoredStream", tags=["Monitoring"]
)
async def get_monitored_stream(
    stream_name: StreamName, caller: ApiCaller, streams: Streams
) -> Success[MonitoredStreamDetails]:
    """One stream with the figures of its feeds. Needs an API secret or the dashboard's cookie."""
    stream = streams.find(caller.account_id, stream_name)
    if stream is None:
        raise NotFound(f"No stream with name: {stream_name}", field="streamName")
    return Success(data=monitored_details(stream))


@router.get("/monitoring/summary", operation_id="getMonitoringSummary", tags=["Monitoring"])
async def get_monitoring_summary(caller: ApiCaller, streams: Streams) -> Success[StreamsSummary]:
    """The account's streams in numbers. Needs an API secret or the dashboard's cookie."""
    return Success(data=streams.summary(caller.account_id))


@router.get(
    "/monitoring/summary/{streamName}", operation_id="getStreamSummary", tags=["Monitoring"]
)
async def get_stream_summary(
    stream_name: StreamName, caller: ApiCaller, streams: Streams
) -> Success[StreamSummary]:
    """One stream in numbers. Needs an API secret or the dashboard's cookie."""
    stream = streams.find(caller.account_id, stream_name)
    if stream is None:
        raise NotFound(f"No stream with name: {stream_name}", field="streamName")
    return Success(data=stream_summary(stream))


@router.post("/stream/stop", operation_id="stopStream", tags=["Streams"])
async def stop_stream(body: StreamStop, caller: ApiCaller, streams: Streams) -> Success[Stopped]:
    """End every feed of a stream. Needs an API secret or the dashboard's cookie."""
    stopped = streams.stop(caller.account_id, body.stream_id)
    return Success(data=Stopped(stopping_level="Stream" if stopped else "None"))


@router.post("/stream/stop/all", operation_id="stopAllStreams", tags=["Streams"])
async def stop_all_streams(caller: ApiCaller, streams: Streams) -> Success[Stopped]:
    """End every feed of the account. Needs an API secret or the dashboard's cookie."""
    stopped = streams.stop_all(caller.account_id)
    return Success(data=Stopped(stopping_level="Account" if stopped else "None"))
