"""The media core: the one door between the control plane and the Rust engine.

Only ``stagecast.media`` imports this module. Calls are coarse (per session, or
once a second), release the GIL, and may come from any thread. A stream key is
``"<account id>/<stream name>"``; a source of ``None`` is the main source.
JSON shapes are described in ``stagecast.media.events`` and
``stagecast.media.figures``.
"""

from typing import final

__version__: str

class CoreError(Exception):
    """The core refused a call.

    ``code`` is stable and dotted (``sdp.invalid``, ``stream.not_live``,
    ``session.not_found``, ...); ``detail`` is a sentence for a person.
    """

    code: str
    detail: str

@final
class Answer:
    """The answer to a WHIP or WHEP offer."""

    @property
    def session(self) -> str:
        """Session id: 32 hexadecimal digits, unguessable."""
    @property
    def sdp(self) -> str:
        """SDP answer (RFC 8829), ICE-lite, ``a=setup:passive``."""
    @property
    def etag(self) -> str:
        """Strong entity tag of the ICE session, quoted (RFC 9725 section 4.3.2)."""

@final
class Patched:
    """The result of a trickle or ICE restart request."""

    @property
    def fragment(self) -> str | None:
        """SDP fragment (RFC 8840) after an ICE restart, else ``None``."""
    @property
    def etag(self) -> str:
        """The entity tag in force after the request, quoted."""

@final
class Engine:
    """Sockets, media threads and the hub of one process."""

    def __new__(cls, config: bytes) -> Engine:
        """Bind the media port and start the media threads.

        ``config`` is JSON, every key optional: ``port`` (0 = any free one),
        ``udp``, ``tcp``, ``bind`` (addresses), ``advertise`` (addresses put
        into candidates; empty = those of all interfaces), ``threads`` (0 = one
        per core), ``connect_timeout_ms``, ``consent_timeout_ms``,
        ``max_sessions``, ``ring_max_bytes``, ``ring_max_ms`` (kept per video
        track for late joiners). Raises ``CoreError`` ``config.*``.
        """
    @property
    def port(self) -> int:
        """The bound media port, UDP and TCP."""
    def event_fd(self) -> int:
        """A descriptor that is readable while events wait; owned by the engine."""
    def drain_events(self) -> bytes:
        """All waiting lifecycle events as a JSON list, oldest first; clears ``event_fd``."""
    def figures(self) -> bytes:
        """The latest figures as JSON; refreshed once a second."""
    def publish(
        self,
        *,
        stream: str,
        source: str | None,
        offer: str,
        codec: str | None = None,
        audio: bool = True,
        video: bool = True,
        local: bool = False,
    ) -> Answer:
        """Answer a publisher's offer; a running publisher of the same source is replaced
        when the new one's first media arrives.

        ``codec`` restricts video to one of h264, vp8, vp9, av1, h265. ``local``
        also offers a loopback candidate (the caller is on this machine).
        Raises ``sdp.invalid``, ``sdp.direction``, ``sdp.no_common_codec``,
        ``limit.sessions``, ``engine.closed``.
        """
    def view(
        self, *, stream: str, source: str | None, offer: str, local: bool = False
    ) -> Answer:
        """Answer a viewer's offer.

        Raises ``stream.not_live``, ``sdp.invalid``, ``sdp.direction``,
        ``sdp.no_common_codec`` (its detail names the stream's codecs),
        ``limit.sessions``, ``engine.closed``.
        """
    def patch(self, session: str, fragment: str, if_match: str | None) -> Patched:
        """Apply a trickle or ICE restart fragment (RFC 9725 section 4.3).

        Raises ``session.not_found``, ``ice.fragment_invalid``,
        ``ice.precondition_failed``, ``ice.precondition_required``.
        """
    def end_session(self, session: str, reason: str) -> bool:
        """End a session; ``False`` when there is none. ``reason`` comes back in its event."""
    def is_live(self, stream: str, source: str | None) -> bool:
        """Whether media of this source arrives now."""
    def close(self) -> None:
        """Say goodbye to every peer, stop the threads and close the sockets; idempotent."""
