"""The URLs of WHIP and WHEP.

Every origin may call them (CORS headers are added by `app`). Tokens come as Bearer or in the query. Errors
are plain text.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import HTTPBearer
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from stagecast.errors import Invalid
from stagecast.kit.sse import event_stream
from stagecast.media.engine import Answer, Patched
from stagecast.settings import Settings
from stagecast.streams.live import stream_key
from stagecast.tokens.names import name_problem
from stagecast.whip import openapi
from stagecast.whip.events import EventSubscriptions
from stagecast.whip.layers import LayerSelection, read_selection
from stagecast.whip.links import PUBLISHER_EVENTS, SSE_EVENTS, ice_links, layer_link, sse_link
from stagecast.whip.parameters import (
    FRAGMENT,
    SDP,
    client_of,
    credential_of,
    publish_parameters,
    read_text,
    require_acceptable,
    require_content_type,
    source_parameter,
    wait_parameter,
)
from stagecast.whip.service import WhipService

WHIP_SESSION = "/api/whip/session"
WHEP_SESSION = "/api/whep/session"

_publish_token = HTTPBearer(
    scheme_name="publishToken",
    auto_error=False,
    description="A publish token; `?token=` works as well.",
)
_subscribe_token = HTTPBearer(
    scheme_name="subscribeToken",
    auto_error=False,
    description="A subscribe token or a JWT signed with one; `?token=` works as well.",
)

# RFC 7234 section 5.5.7: miscellaneous persistent warning.
_B_FRAMES = (
    '299 - "This stream has B-frames, which WebRTC cannot show: viewers get fewer pictures. '
    'Turn B-frames off in the encoder."'
)

router = APIRouter(prefix="/api")
SessionId = Annotated[str, Path(alias="sessionId", max_length=64)]
StreamName = Annotated[str, Path(alias="streamName")]


def whip_service(request: Request) -> WhipService:
    return request.app.state.whip


def event_subscriptions(request: Request) -> EventSubscriptions:
    return request.app.state.whip_events


Whip = Annotated[WhipService, Depends(whip_service)]
Events = Annotated[EventSubscriptions, Depends(event_subscriptions)]


@router.post(
    "/whip/{streamName}",
    operation_id="whipPublish",
    tags=["WHIP"],
    status_code=201,
    response_class=Response,
    responses={**openapi.CREATED, **openapi.POST_REFUSALS},
    dependencies=[Depends(_publish_token)],
    openapi_extra=openapi.body(SDP, "The SDP offer."),
)
async def whip_publish(
    request: Request,
    stream_name: StreamName,
    whip: Whip,
    codec: Annotated[
        str | None, Query(description="Take only this video codec: h264, vp8, vp9, av1, h265.")
    ] = None,
    source_id: Annotated[
        str | None,
        Query(alias="sourceId", description="Publish as this source; left out: the main one."),
    ] = None,
    audio_only: Annotated[str | None, Query(alias="audioOnly", description="Refuse video.")] = None,
    video_only: Annotated[str | None, Query(alias="videoOnly", description="Refuse audio.")] = None,
    token: Annotated[
        str | None, Query(description="The token, where no header can be set.")
    ] = None,
) -> Response:
    """Publish to a stream (RFC 9725). Needs a publish token for it; a running feed of the source is replaced."""
    client = client_of(request)
    grant = await whip.publisher(credential_of(request), stream_name, client)
    offer = await _offer(request)
    wanted = publish_parameters(request.query_params)
    return _created(request, await whip.start_feed(grant, offer, wanted, client), WHIP_SESSION)


@router.post(
    "/whep/{accountId}/{streamName}",
    operation_id="whepView",
    tags=["WHEP"],
    status_code=201,
    response_class=Response,
    responses={
        **openapi.CREATED,
        **openapi.POST_REFUSALS,
        409: openapi.text("`Stream not found`: it is not live now."),
    },
    dependencies=[Depends(_subscribe_token)],
    openapi_extra=openapi.body(SDP, "The SDP offer."),
)
async def whep_view(
    request: Request,
    account_id: Annotated[str, Path(alias="accountId")],
    stream_name: StreamName,
    whip: Whip,
    source_id: Annotated[
        str | None,
        Query(alias="sourceId", description="Watch this source; left out: the main one."),
    ] = None,
    wait: Annotated[
        str | None, Query(description="Seconds to wait for the stream to start, 0 to 60.")
    ] = None,
    token: Annotated[
        str | None, Query(description="The token, where no header can be set.")
    ] = None,
) -> Response:
    """Watch a stream. Anyone may, unless the stream's publish token has `subscribeRequiresAuth`."""
    client = client_of(request)
    grant = await whip.viewer(credential_of(request), account_id, stream_name, client)
    if (problem := name_problem(stream_name)) is not None:
        raise Invalid("Validation errors", errors={"streamName": [problem]})
    offer = await _offer(request)
    stream, source = stream_key(account_id, stream_name), source_parameter(request.query_params)
    answer = await whip.start_view(
        grant,
        stream,
        source,
        offer,
        client=client,
        wait=wait_parameter(request.query_params),
        gone=request.is_disconnected,
    )
    response = _created(request, answer, WHEP_SESSION)
    if whip.has_b_frames(stream, source):
        response.headers["Warning"] = _B_FRAMES
    return response


@router.patch(
    "/whip/session/{sessionId}",
    operation_id="whipPatchSession",
    tags=["WHIP"],
    response_class=Response,
    responses=openapi.PATCH_RESPONSES,
    openapi_extra=openapi.body(FRAGMENT, "Candidates or new ICE credentials (RFC 8840)."),
)
async def whip_patch_session(request: Request, session_id: SessionId, whip: Whip) -> Response:
    """Trickle candidates or restart ICE. Who knows the session's URL may call it."""
    whip.require_feed(session_id, credential_of(request))
    return await _patch(request, whip, session_id)


@router.patch(
    "/whep/session/{sessionId}",
    operation_id="whepPatchSession",
    tags=["WHEP"],
    response_class=Response,
    responses=openapi.PATCH_RESPONSES,
    openapi_extra=openapi.body(FRAGMENT, "Candidates or new ICE credentials (RFC 8840)."),
)
async def whep_patch_session(request: Request, session_id: SessionId, whip: Whip) -> Response:
    """Trickle candidates or restart ICE. Who knows the session's URL may call it."""
    whip.require_view(session_id, credential_of(request))
    return await _patch(request, whip, session_id)


@router.delete(
    "/whip/session/{sessionId}",
    operation_id="whipEndSession",
    tags=["WHIP"],
    response_class=PlainTextResponse,
    responses=openapi.SESSION_REFUSALS,
)
async def whip_end_session(request: Request, session_id: SessionId, whip: Whip) -> Response:
    """Stop publishing. Who knows the session's URL may call it."""
    whip.require_feed(session_id, credential_of(request))
    whip.end(session_id)
    return PlainTextResponse("The session has ended.")


@router.delete(
    "/whep/session/{sessionId}",
    operation_id="whepEndSession",
    tags=["WHEP"],
    response_class=PlainTextResponse,
    responses=openapi.SESSION_REFUSALS,
)
async def whep_end_session(request: Request, session_id: SessionId, whip: Whip) -> Response:
    """Stop watching. Who knows the session's URL may call it."""
    whip.require_view(session_id, credential_of(request))
    whip.end(session_id)
    return PlainTextResponse("The session has ended.")


@router.post(
    "/whep/session/{sessionId}/layer",
    operation_id="whepSelectLayer",
    tags=["WHEP"],
    status_code=200,
    response_class=PlainTextResponse,
    responses={**openapi.SESSION_REFUSALS, **openapi.LAYER_REFUSALS},
    openapi_extra=openapi.json_body(LayerSelection, "The layer, or limits; `{}` is automatic."),
)
async def whep_select_layer(request: Request, session_id: SessionId, whip: Whip) -> Response:
    """Choose a layer of the video. Who knows the session's URL may call it."""
    whip.require_view(session_id, credential_of(request))
    require_content_type(request, "application/json")
    await whip.select_layer(session_id, read_selection(await request.body()))
    return PlainTextResponse("The layer is selected.")


@router.delete(
    "/whep/session/{sessionId}/layer",
    operation_id="whepUnselectLayer",
    tags=["WHEP"],
    response_class=PlainTextResponse,
    responses=openapi.SESSION_REFUSALS,
)
async def whep_unselect_layer(request: Request, session_id: SessionId, whip: Whip) -> Response:
    """Choose layers automatically again. Who knows the session's URL may call it."""
    whip.require_view(session_id, credential_of(request))
    await whip.select_layer(session_id, "{}")
    return PlainTextResponse("Layers are selected automatically.")


@router.post(
    "/whip/session/{sessionId}/sse",
    operation_id="whipSubscribeEvents",
    tags=["WHIP"],
    status_code=201,
    response_class=Response,
    responses=openapi.SESSION_REFUSALS,
    openapi_extra=openapi.body("application/json", "A JSON list of event names."),
)
async def whip_subscribe_events(
    request: Request, session_id: SessionId, whip: Whip, events: Events
) -> Response:
    """Ask for events of the stream. Who knows the session's URL may call it."""
    feed = whip.require_feed(session_id, credential_of(request))
    return await _subscribe(request, events, session_id, feed.stream, WHIP_SESSION)


@router.post(
    "/whep/session/{sessionId}/sse",
    operation_id="whepSubscribeEvents",
    tags=["WHEP"],
    status_code=201,
    response_class=Response,
    responses=openapi.SESSION_REFUSALS,
    openapi_extra=openapi.body("application/json", "A JSON list of event names."),
)
async def whep_subscribe_events(
    request: Request, session_id: SessionId, whip: Whip, events: Events
) -> Response:
    """Ask for events of the stream. Who knows the session's URL may call it."""
    view = whip.require_view(session_id, credential_of(request))
    return await _subscribe(request, events, session_id, view.stream, WHEP_SESSION)


@router.get(
    "/whip/session/{sessionId}/sse/{streamId}",
    operation_id="whipReadEvents",
    tags=["WHIP"],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **openapi.SESSION_REFUSALS},
)
async def whip_read_events(
    session_id: SessionId, event_id: Annotated[str, Path(alias="streamId")], events: Events
) -> Response:
    """Read events until the session ends. Who knows the URL may call it."""
    return event_stream(events.frames(session_id, event_id))


@router.get(
    "/whep/session/{sessionId}/sse/{streamId}",
    operation_id="whepReadEvents",
    tags=["WHEP"],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **openapi.SESSION_REFUSALS},
)
async def whep_read_events(
    session_id: SessionId, event_id: Annotated[str, Path(alias="streamId")], events: Events
) -> Response:
    """Read events until the session ends. Who knows the URL may call it."""
    return event_stream(events.frames(session_id, event_id))


@router.options(
    "/whip/session/{sessionId}",
    operation_id="whipSessionOptions",
    tags=["WHIP"],
    response_class=Response,
    responses=openapi.OPTIONS_RESPONSES,
)
@router.options(
    "/whep/session/{sessionId}",
    operation_id="whepSessionOptions",
    tags=["WHEP"],
    response_class=Response,
    responses=openapi.OPTIONS_RESPONSES,
)
async def session_options() -> Response:
    """What a session's URL understands; also the CORS preflight. Anyone may call it."""
    return Response(headers={"Allow": "OPTIONS, PATCH, DELETE", "Accept-Patch": FRAGMENT})


@router.options(
    "/whip/session/{sessionId}/{rest:path}", include_in_schema=False, response_class=Response
)
@router.options(
    "/whep/session/{sessionId}/{rest:path}", include_in_schema=False, response_class=Response
)
async def extension_options() -> Response:
    allow = "OPTIONS, POST, GET, DELETE"
    return Response(headers={"Allow": allow, "Accept-Post": "application/json"})


@router.options(
    "/whip/{streamName}",
    operation_id="whipOptions",
    tags=["WHIP"],
    response_class=Response,
    responses=openapi.OPTIONS_RESPONSES,
)
@router.options(
    "/whep/{accountId}/{streamName}",
    operation_id="whepOptions",
    tags=["WHEP"],
    response_class=Response,
    responses=openapi.OPTIONS_RESPONSES,
)
async def endpoint_options() -> Response:
    """What the endpoint takes; also the CORS preflight. Anyone may call it."""
    return Response(headers={"Allow": "OPTIONS, POST", "Accept-Post": SDP})


async def _offer(request: Request) -> str:
    require_content_type(request, SDP)
    require_acceptable(request, SDP)
    return await read_text(request, "SDP offer")


def _created(request: Request, answer: Answer, base: str) -> Response:
    settings: Settings = request.app.state.settings
    url = f"{base}/{answer.session}"
    response = Response(
        answer.sdp,
        status_code=201,
        media_type=SDP,
        headers={"Location": url, "ETag": answer.etag, "Accept-Patch": FRAGMENT},
    )
    links = ice_links(settings.media.ice_servers)
    if base == WHEP_SESSION:
        links += [sse_link(url, SSE_EVENTS), layer_link(url)]
    else:
        links.append(sse_link(url, PUBLISHER_EVENTS))
    for link in links:
        response.headers.append("Link", link)
    return response


async def _patch(request: Request, whip: WhipService, session_id: str) -> Response:
    require_content_type(request, FRAGMENT)
    fragment = await read_text(request, "SDP fragment")
    patched: Patched = await whip.patch(session_id, fragment, request.headers.get("if-match"))
    headers = {"ETag": patched.etag}
    if patched.fragment is None:
        return Response(status_code=204, headers=headers)
    return Response(patched.fragment, media_type=FRAGMENT, headers=headers)


async def _subscribe(
    request: Request, events: EventSubscriptions, session_id: str, stream: str, base: str
) -> Response:
    require_content_type(request, "application/json")
    try:
        names: object = await request.json()
    except (ValueError, RecursionError):
        raise Invalid("The body is not JSON.") from None
    key = events.add(session_id, stream, names)
    return Response(status_code=201, headers={"Location": f"{base}/{session_id}/sse/{key}"})
