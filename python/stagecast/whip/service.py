"""Joining: from a checked request to a running session, and what may be done to it afterwards.

Whoever knows a session's URL may patch and end it; a token that is sent along must be the one the session
was started with. The order on joining matters: the session is registered first and its token looked up
again afterwards, so that a token deleted in between cannot leave a session behind.
"""

import asyncio
from collections.abc import Awaitable, Callable

from stagecast.db.database import Database
from stagecast.errors import Conflict, Invalid, NotFound, Unauthorized, Unavailable
from stagecast.kit.clock import utc_now
from stagecast.kit.secret import Vault, lookup_hash
from stagecast.livestreams.door import livestream_grant
from stagecast.livestreams.service import LivestreamService
from stagecast.media.engine import Answer, Engine, Patched
from stagecast.media.errors import STREAM_NOT_FOUND
from stagecast.streams.live import Feed, LiveStreams, TokenRef, View, stream_key
from stagecast.tokens.admission import (
    Admission,
    Client,
    PublishGrant,
    ViewGrant,
    viewer_needs_token,
)
from stagecast.whip.layers import video_mid
from stagecast.whip.parameters import PublishParameters, is_local


class WhipService:
    """Publishing and viewing for one server."""

    def __init__(
        self, database: Database, vault: Vault, engine: Engine, live: LiveStreams, max_waiting: int
    ) -> None:
        self._database = database
        self._vault = vault
        self._engine = engine
        self._live = live
        self._max_waiting = max_waiting
        self._waiting = 0
        self._draining = False

    def drain(self) -> None:
        """Refuse new sessions from now on."""
        self._draining = True

    # Publishing

    async def publisher(self, secret: str | None, stream_name: str, client: Client) -> PublishGrant:
        """Check the right to publish."""
        self._refuse_when_draining()
        if secret is None:
            raise Unauthorized("Unauthorized: send a publish token as Bearer")
        async with self._database.work() as session:
            livestreams = LivestreamService(session, self._vault)
            livestream = await livestreams.to_publish(secret)
            if livestream is not None and livestream.id == stream_name:
                return livestream_grant(livestream)
            grant = await Admission(session, self._vault).publish(secret, stream_name, client)
            await livestreams.named(grant.account_id, stream_name)
            return grant

    async def start_feed(
        self, grant: PublishGrant, offer: str, wanted: PublishParameters, client: Client
    ) -> Answer:
        """Start to publish."""
        if wanted.source is not None and not grant.multisource:
            raise Invalid(
                "Validation errors",
                errors={"sourceId": ["The token does not allow several sources."]},
            )
        stream = stream_key(grant.account_id, grant.stream_name)
        answer = await self._engine.publish(
            stream=stream,
            source=wanted.source,
            offer=offer,
            codec=wanted.codec,
            audio=wanted.audio,
            video=wanted.video,
            local=is_local(client),
        )
        self._live.add_feed(
            Feed(
                session=answer.session,
                stream=stream,
                source=wanted.source,
                token=grant.token,
                token_hash=grant.token_hash,
                requires_auth=grant.subscribe_requires_auth,
                client_ip=client.address,
                accepted_on=utc_now(),
                ladder=grant.ladder,
            )
        )
        await self._end_if_deleted(answer.session, grant.token)
        return answer

    # Viewing

    async def viewer(
        self, secret: str | None, account_id: str, stream_name: str, client: Client
    ) -> ViewGrant | None:
        """Check the token, where one was sent."""
        self._refuse_when_draining()
        if secret is None:
            return None
        async with self._database.work() as session:
            return await Admission(session, self._vault).view(
                secret, account_id, stream_name, client
            )

    async def start_view(
        self,
        grant: ViewGrant | None,
        stream: str,
        source: str | None,
        offer: str,
        *,
        client: Client,
        wait: float,
        gone: Callable[[], Awaitable[bool]],
    ) -> Answer:
        """Start to watch, after waiting for the stream where the viewer wants to.

        ``gone`` tells whether the viewer has left meanwhile, so that no session is made for nobody.
        """
        if wait > 0:
            await self._wait_live(stream, source, wait)
            if await gone():
                raise Conflict(STREAM_NOT_FOUND)
        state = self._live.get(stream)
        if state is None or not state.live:
            raise Conflict(STREAM_NOT_FOUND)
        if state.requires_auth and grant is None:
            raise viewer_needs_token()
        answer = await self._engine.view(
            stream=stream, source=source, offer=offer, local=is_local(client)
        )
        self._live.add_view(
            View(
                session=answer.session,
                stream=stream,
                source=source,
                token=grant.token if grant else None,
                token_hash=grant.token_hash if grant else None,
                client_ip=client.address,
                tracking_id=grant.tracking_id if grant else None,
                accepted_on=utc_now(),
                video_mid=video_mid(answer.sdp),
            )
        )
        if grant is not None:
            await self._end_if_deleted(answer.session, grant.token)
        return answer

    def has_b_frames(self, stream: str, source: str | None) -> bool:
        """Whether viewers get fewer pictures than the publisher sends, for WebRTC cannot reorder them."""
        return any(
            layer.b_frames
            for fed in self._engine.figures.sources
            if (fed.stream, fed.source) == (stream, source)
            for track in fed.tracks
            for layer in track.layers
        )

    # Running sessions

    def require_feed(self, session: str, secret: str | None) -> Feed:
        feed = self._live.find_feed(session)
        if feed is None:
            raise NotFound("Session not found")
        _require_same_token(feed.token_hash, secret)
        return feed

    def require_view(self, session: str, secret: str | None) -> View:
        view = self._live.find_view(session)
        if view is None:
            raise NotFound("Session not found")
        _require_same_token(view.token_hash, secret)
        return view

    async def patch(self, session: str, fragment: str, if_match: str | None) -> Patched:
        """Add candidates or restart ICE."""
        return await self._engine.patch(session, fragment, if_match)

    async def select_layer(self, session: str, layer: str) -> None:
        """Give a viewer a layer of the video; ``{}`` is automatic."""
        await self._engine.select_layer(session, layer)

    def end(self, session: str) -> None:
        if not self._engine.end_session(session, "deleted"):
            raise NotFound("Session not found")

    async def _wait_live(self, stream: str, source: str | None, wait: float) -> None:
        if self._waiting >= self._max_waiting:
            raise Unavailable("Too many viewers are waiting for streams to start.", retry_after=10)
        self._waiting += 1
        try:
            await self._live.wait_live(stream, source, wait)
        finally:
            self._waiting -= 1
        self._refuse_when_draining()

    async def _end_if_deleted(self, session: str, token: TokenRef | None) -> None:
        if token is None:
            return
        try:
            async with self._database.work() as work:
                if await Admission(work, self._vault).still_exists(token):
                    return
        except (Exception, asyncio.CancelledError):
            self._engine.end_session(session, "error")
            raise
        self._engine.end_session(session, "stopped")
        raise Unauthorized("Unauthorized: Invalid token")

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise Unavailable("The server is shutting down.")


def _require_same_token(held: bytes | None, secret: str | None) -> None:
    if secret is not None and lookup_hash(secret) != held:
        raise Unauthorized("Unauthorized: this is not the session's token")
