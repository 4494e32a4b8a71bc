"""Who may come in where no request passes through the control plane: RTMP, SRT and HLS.

The media core asks (`AdmissionAsked`), this answers, always and in time: what goes wrong here is a refusal too.
Keys of livestreams and tokens of streams are both understood:

    publish  live/KEY · KEY                     a livestream
             v2/pub/NAME?token= · NAME?t=       a stream, with a publish token
    play     PLAYBACK-ID                        a livestream
             ACCOUNT/NAME[?token=]              a stream, with a subscribe token where it needs one

When the admitted peer's session appears, it is given its feed or view in `streams.live`.
"""

import asyncio
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from stagecast.db.database import Database
from stagecast.db.tables import Livestream
from stagecast.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RequestError,
    Unauthorized,
    Unavailable,
)
from stagecast.kit.clock import utc_now
from stagecast.kit.network import parse_address
from stagecast.kit.secret import Vault
from stagecast.kit.window import FailureWindow, in_words
from stagecast.livestreams.service import LivestreamService
from stagecast.media.engine import Engine, Verdict
from stagecast.media.events import AdmissionAsked, MediaEvent, SessionConnected, SourceLive
from stagecast.streams.live import Feed, LiveStreams, View, stream_key
from stagecast.tokens.admission import (
    Admission,
    Client,
    PublishGrant,
    ViewGrant,
    viewer_needs_token,
)
from stagecast.tokens.names import name_problem, token_of_base64

_log = structlog.stdlib.get_logger(__name__)
_ANSWER_SECONDS = 4.0
_MAX_ADMITTED = 4096
_FORGET_SECONDS = 60.0
_PLACE_SECONDS = 1.0
_MAX_PLACES = 1024
_KEY = re.compile(r"[0-9a-f]{64}")
_PLAYBACK_ID = re.compile(r"[0-9a-f]{32}")
_MAX_SOURCE_ID = 128
_NOT_HERE = {"audioOnly", "videoOnly", "noAudio", "simulcastId", "priority", "record"}
_NOT_LIVE = "The stream is not live."
_CODES: dict[type[RequestError], str] = {
    Unauthorized: "unauthorized",
    Forbidden: "forbidden",
    Invalid: "forbidden",
    NotFound: "not_found",
    Conflict: "conflict",
}


@dataclass(frozen=True, slots=True)
class _Admitted:
    """Somebody whose session is still to come."""

    asked: AdmissionAsked
    stream: str
    source: str | None
    publish: PublishGrant | None
    view: ViewGrant | None
    on: datetime
    until: float

    def fits(self, event: SessionConnected | SourceLive) -> bool:
        if (self.stream, self.source) != (event.stream, event.source):
            return False
        if isinstance(event, SourceLive):
            return self.publish is not None
        if event.kind == "publisher" and self.publish is None:
            return False
        if event.kind == "viewer" and self.publish is not None:
            return False
        return event.protocol == self.asked.protocol


@dataclass(frozen=True, slots=True)
class _Place:
    """The stream that a path to play leads to."""

    account_id: str
    name: str
    livestream: bool


class Door:
    """Answers the media core's questions; used from the event loop only."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        engine: Engine,
        live: LiveStreams,
        wrong_keys: FailureWindow,
        has_ladder: Callable[[str, str | None], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._vault = vault
        self._engine = engine
        self._live = live
        self._wrong_keys = wrong_keys
        self._has_ladder = has_ladder
        self._clock = clock
        self._answering: set[asyncio.Task[None]] = set()
        self._admitted: deque[_Admitted] = deque(maxlen=_MAX_ADMITTED)
        self._places: OrderedDict[str, tuple[_Place, float]] = OrderedDict()
        self._draining = False

    def drain(self) -> None:
        """Refuse everybody from now on."""
        self._draining = True

    def on_event(self, event: MediaEvent) -> None:
        """Must hear of events before `streams.live` does."""
        match event:
            case AdmissionAsked():
                task = asyncio.create_task(self._answer(event), name="admission")
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case SessionConnected() | SourceLive():
                self._welcome(event)
            case _:
                pass

    async def close(self) -> None:
        """Give up what is still being looked into; its askers are going too."""
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _answer(self, asked: AdmissionAsked) -> None:
        verdict: Verdict
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                admitted = await self._admit(asked)
            verdict = {"verdict": "admit", "stream": admitted.stream, "source": admitted.source}
            if asked.protocol != "hls":  # whose players have no session
                self._admitted.append(admitted)
            elif self._has_ladder(admitted.stream, admitted.source):
                verdict["ladder"] = True
        except RequestError as error:
            verdict = _refusal(_CODES.get(type(error), "unavailable"), _text(error))
            _log.info(
                "admission.refused",
                protocol=asked.protocol,
                action=asked.action,
                remote=asked.remote,
                code=verdict["code"],
                message=verdict["message"],
            )
        except TimeoutError:
            _log.warning("admission.too_slow", protocol=asked.protocol, action=asked.action)
            verdict = _refusal("unavailable", "The server is too busy. Try again in a moment.")
        except Exception:  # noqa: BLE001  (whoever asks must get an answer)
            _log.exception("admission.failed", protocol=asked.protocol, action=asked.action)
            verdict = _refusal("unavailable", "The server has a problem; its log has the details.")
        try:
            self._engine.decide(asked.question, verdict)
        except Exception:  # noqa: BLE001  (nothing waits for this task)
            _log.exception("admission.answer_failed", protocol=asked.protocol)

    async def _admit(self, asked: AdmissionAsked) -> _Admitted:
        if self._draining:
            raise Unavailable("The server is shutting down.")
        if wait := self._wrong_keys.wait(asked.remote):
            raise Unavailable(f"Too many wrong keys. Try again in {in_words(wait)}.", wait)
        address = parse_address(asked.remote)
        client = Client(str(address) if address else None, asked.origin)
        query = dict(asked.query)
        try:
            if asked.action == "publish":
                grant, source = await self._may_publish(asked, query, client)
                key, view = stream_key(grant.account_id, grant.stream_name), None
            else:
                grant, source = None, _source(query)
                key, view = await self._may_play(asked, query, client)
        except Unauthorized:
            if _credential(query) is not None or asked.action == "publish":
                self._wrong_keys.failed(asked.remote)
            raise
        until = self._clock() + _FORGET_SECONDS
        return _Admitted(asked, key, source, grant, view, utc_now(), until)

    async def _may_publish(
        self, asked: AdmissionAsked, query: Mapping[str, str], client: Client
    ) -> tuple[PublishGrant, str | None]:
        app, _, name = asked.path.strip("/").rpartition("/")
        secret = _credential(query)
        async with self._database.work() as session:
            livestreams = LivestreamService(session, self._vault)
            if app == "live" or (secret is None and not app and _KEY.fullmatch(name)):
                row = await livestreams.to_publish(name)
                if row is None:
                    raise Unauthorized("There is no livestream with this key.")
                return livestream_grant(row), None
            if app not in {"", "v2/pub"} or not name:
                raise NotFound(
                    "Publish to live/KEY for a livestream, or to v2/pub/NAME?token=TOKEN for a stream."
                )
            if secret is None:
                raise Unauthorized("The stream needs a publish token: NAME?token=TOKEN.")
            grant = await Admission(session, self._vault).publish(secret, name, client)
            await livestreams.named(grant.account_id, name)
        for parameter in _NOT_HERE & query.keys():
            if query[parameter].lower() not in {"false", "0"}:
                raise Invalid(f"{parameter} is not available over {asked.protocol}; leave it out.")
        source = _source(query)
        if source is not None and not grant.multisource:
            raise Invalid("The token does not allow several sources.")
        return grant, source

    async def _may_play(
        self, asked: AdmissionAsked, query: Mapping[str, str], client: Client
    ) -> tuple[str, ViewGrant | None]:
        path = asked.path.strip("/")
        for prefix in ("v2/sub/", "live/", "play/"):
            path = path.removeprefix(prefix)
        secret = _credential(query)
        place, grant = None if secret is not None else self._known_place(path), None
        if place is None:
            async with self._database.work() as session:
                place = await _place(LivestreamService(session, self._vault), path)
                if secret is not None:
                    grant = await Admission(session, self._vault).view(
                        secret, place.account_id, place.name, client
                    )
            self._places[path] = (place, self._clock() + _PLACE_SECONDS)
            while len(self._places) > _MAX_PLACES:
                self._places.popitem(last=False)
        key = stream_key(place.account_id, place.name)
        self._require_playable(key, asked, grant, livestream=place.livestream)
        return key, grant

    def _known_place(self, path: str) -> _Place | None:
        """Where a path led a moment ago: an audience asks the same again and again."""
        place, until = self._places.get(path, (None, 0.0))
        return place if self._clock() < until else None

    def _require_playable(
        self, key: str, asked: AdmissionAsked, grant: ViewGrant | None, *, livestream: bool
    ) -> None:
        stream = self._live.get(key)
        if stream is not None and stream.requires_auth and grant is None:
            raise viewer_needs_token()
        if asked.protocol == "hls":
            # A playlist outlives its stream. Of a stream never seen nobody knows whether it needs a token.
            playable = livestream or (stream is not None and stream.shown)
        else:
            playable = stream is not None and stream.live
        if not playable:
            raise NotFound(_NOT_LIVE)

    def _welcome(self, event: SessionConnected | SourceLive) -> None:
        """Give an admitted peer's session its feed or view."""
        if self._live.find_feed(event.session) or self._live.find_view(event.session):
            return
        now = self._clock()
        while self._admitted and self._admitted[0].until < now:
            self._admitted.popleft()
        remote = event.remote if isinstance(event, SessionConnected) else ""
        fitting = [one for one in self._admitted if one.fits(event)]
        if not fitting:
            return
        same_peer = [one for one in fitting if one.asked.remote in remote]
        admitted = (same_peer or fitting)[-1]
        self._admitted.remove(admitted)
        if admitted.publish is not None:
            self._live.add_feed(_feed(event.session, admitted, admitted.publish))
        else:
            self._live.add_view(_view(event.session, admitted))
        check = asyncio.create_task(self._end_if_gone(event.session, admitted), name="admission")
        self._answering.add(check)
        check.add_done_callback(self._answering.discard)

    async def _end_if_gone(self, session: str, admitted: _Admitted) -> None:
        """What was deleted or disabled between the answer and the session must not leave one behind."""
        account_id, _, name = admitted.stream.partition("/")
        grant = admitted.publish or admitted.view
        try:
            async with self._database.work() as work:
                row = await LivestreamService(work, self._vault).named(account_id, name)
                token = grant.token if grant else None
                if token is not None:
                    allowed = await Admission(work, self._vault).still_exists(token)
                else:
                    allowed = row is not None or admitted.publish is None
            if allowed:
                return
        except Forbidden:
            pass
        except Exception:  # noqa: BLE001  (nobody waits for this task)
            _log.exception("admission.check_failed")
        self._engine.end_session(session, "stopped")


def livestream_grant(row: Livestream) -> PublishGrant:
    """What the key of a livestream allows."""
    return PublishGrant(
        token=None,
        token_hash=row.key_hash,
        account_id=row.account_id,
        stream_name=row.id,
        subscribe_requires_auth=False,
        multisource=False,
        ladder=row.ladder,
    )


async def _place(livestreams: LivestreamService, path: str) -> _Place:
    account_id, _, name = path.partition("/")
    if not name and _PLAYBACK_ID.fullmatch(path):
        row = await livestreams.to_play(path)
        if row is None:
            raise NotFound("There is no livestream with this playback id.")
        return _Place(row.account_id, row.id, livestream=True)
    if not name or name_problem(name) is not None:
        raise NotFound("Play a livestream's PLAYBACK-ID, or ACCOUNT/NAME of a stream.")
    return _Place(
        account_id, name, livestream=await livestreams.named(account_id, name) is not None
    )


def _feed(session: str, admitted: _Admitted, grant: PublishGrant) -> Feed:
    return Feed(
        session=session,
        stream=admitted.stream,
        source=admitted.source,
        token=grant.token,
        token_hash=grant.token_hash,
        requires_auth=grant.subscribe_requires_auth,
        client_ip=admitted.asked.remote,
        accepted_on=admitted.on,
        protocol=admitted.asked.protocol,
        ladder=grant.ladder,
    )


def _view(session: str, admitted: _Admitted) -> View:
    grant = admitted.view
    return View(
        session=session,
        stream=admitted.stream,
        source=admitted.source,
        token=grant.token if grant else None,
        token_hash=grant.token_hash if grant else None,
        client_ip=admitted.asked.remote,
        tracking_id=grant.tracking_id if grant else None,
        accepted_on=admitted.on,
    )


def _credential(query: Mapping[str, str]) -> str | None:
    if query.get("t"):
        return token_of_base64(query["t"])
    return query.get("token") or query.get("auth") or None


def _source(query: Mapping[str, str]) -> str | None:
    source = query.get("sourceId") or None
    if source is not None and (len(source) > _MAX_SOURCE_ID or not source.isprintable()):
        raise Invalid(f"A source id has at most {_MAX_SOURCE_ID} printable characters.")
    return source


def _refusal(code: str, message: str) -> Verdict:
    return {"verdict": "refuse", "code": code, "message": message}


def _text(error: RequestError) -> str:
    texts = [text for texts in (error.errors or {}).values() for text in texts]
    return " ".join(texts) or error.message
