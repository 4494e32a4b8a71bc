"""The media core: the one door between the control plane and the Rust engine.

Only ``stagecast.media`` imports this module. Calls are coarse (per session, or
once a second), release the GIL, and may come from any thread. A stream key is
``"<account id>/<stream name>"``; a source of ``None`` is the main source.
JSON shapes are described in ``stagecast.media.events`` and
``stagecast.media.figures``.
"""

from typing import final

__all__ = [
    "Answer",
    "Client",
    "ClientPool",
    "Clip",
    "CoreError",
    "DelayProbe",
    "Engine",
    "Frame",
    "HlsLoad",
    "Load",
    "Patched",
    "__version__",
]

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
        track for late joiners), ``pause_unread_layers`` (ask publishers not to send layers that
        nobody reads), ``workers`` (let transcode workers in). ``rtmp`` turns RTMP on: an object of ``bind``,
        ``port`` (``null`` = RTMPS only), ``tls`` (``port``, ``certificate``,
        ``key``), ``max_connections``, ``connect_timeout_ms``,
        ``stall_timeout_ms``. ``hls`` turns HLS on: an object of ``bind``, ``port``,
        ``part_ms``, ``segment_ms``, ``window``, ``dvr_seconds``, ``dvr_dir``,
        ``always``, ``idle_ms``, ``max_connections``, ``certificate``, ``key``.
        ``srt`` turns SRT on: an object of ``bind``, ``port``, ``latency_ms``, ``passphrase``,
        ``max_connections``, ``stall_timeout_ms``. Raises ``CoreError`` ``config.*``.
        """
    @property
    def port(self) -> int:
        """The bound media port, UDP and TCP."""
    @property
    def hls_port(self) -> int | None:
        """The bound HLS port, ``None`` when it is off."""
    @property
    def rtmp_port(self) -> int | None:
        """The bound RTMP port, ``None`` when it is off."""
    @property
    def rtmps_port(self) -> int | None:
        """The bound RTMPS port, ``None`` when it is off."""
    @property
    def worker_socket(self) -> str | None:
        """Where transcode workers connect, when ``workers`` is on."""
    @property
    def srt_port(self) -> int | None:
        """The bound SRT port (UDP), ``None`` when it is off."""
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
    def view(self, *, stream: str, source: str | None, offer: str, local: bool = False) -> Answer:
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
    def select_layer(self, session: str, layer: str) -> None:
        """Give a viewer this layer of the video, or none above a limit; ``{}`` is automatic.

        ``layer`` is JSON with any of ``encodingId``, ``spatialLayerId``, ``temporalLayerId``,
        ``maxSpatialLayerId``, ``maxTemporalLayerId``, ``maxWidth``, ``maxHeight``, ``maxBitrate``.
        What names nothing that is live is ignored until it is. Raises ``session.not_found``,
        ``layer.invalid``.
        """
    def end_session(self, session: str, reason: str) -> bool:
        """End a session; ``False`` when there is none. ``reason`` comes back in its event."""
    def is_live(self, stream: str, source: str | None) -> bool:
        """Whether media of this source arrives now."""
    def decide(self, question: int, verdict_json: str) -> None:
        """Answer an ``admission_asked`` event within five seconds, once.

        ``verdict_json`` is ``{"verdict": "admit", "stream", "source"}`` or ``{"verdict": "refuse",
        "code", "message"}`` with code ``unauthorized``, ``forbidden``, ``not_found``, ``conflict`` or
        ``unavailable``. A question that nobody waits for any more is passed over. Raises
        ``admission.invalid``.
        """
    def close(self) -> None:
        """Say goodbye to every peer, stop the threads and close the sockets; idempotent."""

@final
class ClientPool:
    """One thread that drives any number of clients; needed only for many of them."""

    def __new__(cls) -> ClientPool: ...
    def close(self) -> None:
        """End all its clients, saying goodbye, and the thread; idempotent."""

@final
class DelayProbe:
    """Delay from a publisher's socket to viewers' sockets, of every video packet.

    Give the same probe to one publisher and to viewers of depth ``packets``.
    """

    def __new__(cls) -> DelayProbe: ...
    def report(self) -> bytes:
        """JSON since the last report: ``packets``, ``frame_ends`` (last packet of each frame;
        both up to the viewer's kernel) and ``handled`` (up to the viewer's thread), each
        ``{count, p50_ms, p95_ms, p99_ms, max_ms}``; ``unmatched`` packets.
        """

@final
class Frame:
    """One received frame."""

    @property
    def kind(self) -> str:
        """``audio`` or ``video``."""
    @property
    def codec(self) -> str:
        """``h264``, ``h265``, ``vp8``, ``vp9``, ``av1`` or ``opus``."""
    @property
    def data(self) -> bytes:
        """H264 and H265 as Annex B, AV1 as a temporal unit, else as the codec defines a frame."""
    @property
    def rtp_time(self) -> int:
        """RTP timestamp, extended beyond 32 bits."""
    @property
    def clock(self) -> int:
        """Ticks of ``rtp_time`` a second."""
    @property
    def keyframe(self) -> bool:
        """Whether decoding can start here."""
    @property
    def contiguous(self) -> bool:
        """False when frames before this one were lost."""
    @property
    def arrived(self) -> float:
        """Arrival of its first packet, Unix seconds."""
    @property
    def captured(self) -> float | None:
        """The publisher's absolute capture time, Unix seconds, when it sends such."""

@final
class Client:
    """A WebRTC client: makes an offer, takes an answer, publishes or receives encoded frames.

    It neither signals, encodes nor decodes. Dropping it says goodbye.
    """

    def __new__(
        cls, config: bytes, pool: ClientPool | None = None, probe: DelayProbe | None = None
    ) -> Client:
        """Prepare a session; without ``pool`` it gets a thread of its own.

        ``config`` is JSON: ``role`` (``publish`` or ``watch``); optional ``audio``, ``video``
        (bool), ``codecs`` (list of h264, vp8, vp9, av1, h265; empty = all), ``depth``
        (``frames``, or ``packets`` to count only), ``transport`` (``udp``, ``tcp``, ``any``),
        ``toward`` (server addresses; puts candidates into the offer), ``queue`` (received
        frames kept; older ones make room). Raises ``client.config``, ``client.socket``.
        """
    @property
    def offer(self) -> str:
        """The SDP offer."""
    def accept_answer(self, sdp: str) -> None:
        """Take the server's answer and connect. Raises ``client.answer``, ``client.closed``."""
    def wait_connected(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for ICE and DTLS. Raises ``client.closed``."""
    def send_frame(self, kind: str, data: bytes, pts: int) -> bool:
        """Send one encoded frame; ``pts`` counts in 90 kHz (video) or 48 kHz (audio).

        False when it was not taken: not connected yet, or too many wait. Raises
        ``client.closed``.
        """
    def next_frame(self, timeout: float) -> Frame | None:
        """The oldest frame, waiting up to ``timeout`` seconds. Raises ``client.closed``."""
    def take_keyframe_request(self) -> bool:
        """Whether the server asked for a keyframe since the last call."""
    def request_keyframe(self) -> None:
        """Ask the server for a keyframe, at most twice a second."""
    @property
    def state(self) -> str:
        """``connecting``, ``connected``, ``interrupted`` (ICE gets no answers) or ``closed``."""
    def stats(self) -> bytes | None:
        """Figures as JSON, the last ones after the end; ``None`` before the answer."""
    def close(self, goodbye: bool = True) -> None:
        """End it; without ``goodbye`` just fall silent, as a peer that crashed would."""

@final
class Clip:
    """Encoded media that load publishers send over and over."""

    def __new__(cls, codec: str | None, stamped: bool = True) -> Clip:
        """``codec`` is h264, vp8, vp9 or av1, or ``None`` for sound alone; ``stamped`` writes
        the time into each picture (h264 only). Raises ``load.config``.
        """
    def push(self, kind: str, due: float, data: bytes) -> None:
        """Add the next frame: ``audio`` (Opus) or ``video``, due so many seconds after the start.

        H264 as Annex B, AV1 as a temporal unit. Raises ``load.config``.
        """
    def finish(self, duration: float) -> None:
        """End it; after so many seconds it begins again. The first picture is a keyframe."""

@final
class Load:
    """A load run: many lean viewers, and publishers, of any WHIP and WHEP server.

    Calls may come from any thread. The caller signals: it posts each offer and brings the answer.
    """

    def __new__(cls, config: bytes) -> Load:
        """Start the threads.

        ``config`` is JSON, every key optional: ``threads``, ``niceness`` (0 to 19: how much they
        yield to others), ``probes`` (viewers that look into every packet), ``offload`` (receive
        runs of datagrams as one), ``network`` (``loss`` as a share, ``delay_ms``, ``jitter_ms``,
        towards viewers), ``seed``. Raises ``load.config``, ``load.socket``.
        """
    def viewer(self, host: str, codecs: list[str], audio: bool = True) -> tuple[int, str]:
        """A viewer's id and its offer to the server at ``host``; codecs best first.

        Raises ``load.config``, ``load.socket``.
        """
    def publisher(self, host: str, clip: Clip, obeys: bool = True) -> tuple[int, str]:
        """A publisher's id and its offer; unless it ``obeys`` it ignores keyframe requests."""
    def posted(self, ident: int) -> None:
        """The offer is posted now: joining is measured from here."""
    def answer(self, ident: int, sdp: str) -> None:
        """The answer came: connect. Raises ``load.answer``."""
    def close_peer(self, ident: int) -> None:
        """Say goodbye for one peer, or forget one that got no answer; its figures stay."""
    def mark(self) -> None:
        """The measured window begins now."""
    def poll(self) -> bytes:
        """Figures as JSON: everything so far, ``last`` (since the last call), ``window`` (since
        the mark), ``publishers``; see ``stagecast.media.load.run``.
        """
    def close(self) -> None:
        """Say goodbye to all and stop the threads; idempotent."""

@final
class HlsLoad:
    """A load run: many lean LL-HLS players of any server. Calls may come from any thread."""

    def __new__(cls, config: bytes) -> HlsLoad:
        """Start the threads.

        ``config`` is JSON: ``server`` (address and port), ``host`` (as requests name it), ``path``
        (of the multivariant playlist, with its query); optional ``threads``, ``niceness``, ``audio``
        (take its rendition too), ``hints`` (ask for hinted parts), ``deltas`` (ask for delta
        updates). Raises ``load.config``, ``load.socket``.
        """
    def join(self) -> None:
        """One more player. Raises ``load.config`` when there are too many."""
    def mark(self) -> None:
        """The measured window begins now."""
    def poll(self) -> bytes:
        """Figures as JSON: everything so far, ``last`` (since the last call), ``window`` (since
        the mark); see ``stagecast.media.load.players``.
        """
    def close(self) -> None:
        """Hang up and stop the threads; idempotent."""
