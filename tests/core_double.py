"""A media core in memory, for tests of HTTP shapes: no sockets, no media, the same door.

Tests say what the network would have done (`connect`, `go_live`) and then drain the events by the engine's own
eventfd, so that everything above the door runs as in production.
"""

import contextlib
import json
import os
import secrets
from dataclasses import dataclass, field
from typing import Any


class CoreError(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass
class Answer:
    session: str
    sdp: str
    etag: str


@dataclass
class Patched:
    fragment: str | None
    etag: str


@dataclass
class Session:
    kind: str
    stream: str
    source: str | None
    options: dict[str, Any] = field(default_factory=dict)
    connected: bool = False


class CoreDouble:
    port = 8189
    hls_port = 8081
    rtmp_port = 1935
    rtmps_port = 1936
    worker_socket = None
    srt_port = 8890

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.live: dict[tuple[str, str | None], str] = {}
        self.closed = False
        self.verdicts: dict[int, dict[str, Any]] = {}
        self.figures_json: dict[str, Any] = {"at": 0}
        self._questions = 0
        self._events: list[dict[str, Any]] = []
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)

    def __del__(self) -> None:
        os.close(self._fd)

    # The door

    def event_fd(self) -> int:
        return self._fd

    def drain_events(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        events, self._events = self._events, []
        return json.dumps(events).encode()

    def figures(self) -> bytes:
        return json.dumps(self.figures_json).encode()

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
        options = {"codec": codec, "audio": audio, "video": video, "local": local}
        return self._answer(offer, Session("publisher", stream, source, options))

    def view(self, *, stream: str, source: str | None, offer: str, local: bool = False) -> Answer:
        if (stream, source) not in self.live:
            raise CoreError("stream.not_live", "not live")
        return self._answer(offer, Session("viewer", stream, source, {"local": local}))

    def patch(self, session: str, fragment: str, if_match: str | None) -> Patched:
        if session not in self.sessions:
            raise CoreError("session.not_found", "Session not found")
        if "a=ice-ufrag:new" in fragment:
            return Patched("a=ice-ufrag:server\r\n", '"2"')
        if if_match is None:
            raise CoreError("ice.precondition_required", "Send If-Match.")
        if if_match != '"1"':
            raise CoreError("ice.precondition_failed", "Another ICE session.")
        return Patched(None, '"1"')

    def select_layer(self, session: str, layer: str) -> None:
        if session not in self.sessions:
            raise CoreError("session.not_found", "Session not found")
        self.sessions[session].options["layer"] = json.loads(layer)

    def end_session(self, session: str, reason: str, detail: str | None = None) -> bool:
        held = self.sessions.pop(session, None)
        if held is None:
            return False
        if self.live.get((held.stream, held.source)) == session:
            del self.live[held.stream, held.source]
            self._emit("source_ended", stream=held.stream, source=held.source, session=session)
        self._emit(
            "session_ended",
            session=session,
            kind=held.kind,
            stream=held.stream,
            source=held.source,
            remote="192.0.2.1:5000",
            protocol="udp",
            reason=reason,
            detail=detail,
            seconds=1.5,
        )
        return True

    def decide(self, question: int, verdict_json: str) -> None:
        self.verdicts[question] = json.loads(verdict_json)

    def is_live(self, stream: str, source: str | None) -> bool:
        return (stream, source) in self.live

    def close(self) -> None:
        self.closed = True
        for session in list(self.sessions):
            self.end_session(session, "shutdown")

    # What the network does

    def connect(self, session: str) -> None:
        held = self.sessions[session]
        held.connected = True
        self._emit(
            "session_connected",
            session=session,
            kind=held.kind,
            stream=held.stream,
            source=held.source,
            remote="192.0.2.1:5000",
            protocol="udp",
        )

    def ask(
        self,
        path: str,
        *,
        action: str = "publish",
        protocol: str = "rtmp",
        query: dict[str, str] | None = None,
        remote: str = "192.0.2.1",
        origin: str | None = None,
    ) -> int:
        """An encoder or a player knocks; the number of its question."""
        self._questions += 1
        self._emit(
            "admission_asked",
            question=self._questions,
            protocol=protocol,
            action=action,
            path=path,
            query=list((query or {}).items()),
            remote=remote,
            origin=origin,
        )
        return self._questions

    def come_in(self, question: int, *, kind: str = "publisher", protocol: str = "rtmp") -> str:
        """The admitted peer's session appears."""
        verdict = self.verdicts[question]
        assert verdict["verdict"] == "admit", verdict
        session_id = secrets.token_hex(16)
        held = Session(kind, verdict["stream"], verdict["source"], {}, connected=True)
        self.sessions[session_id] = held
        self._emit(
            "session_connected",
            session=session_id,
            kind=kind,
            stream=held.stream,
            source=held.source,
            remote="192.0.2.1:5000",
            protocol=protocol,
        )
        return session_id

    def go_live(self, session: str, codec: str = "vp8") -> None:
        held = self.sessions[session]
        self.live[held.stream, held.source] = session
        tracks = [
            {"track": "0", "kind": "audio", "codec": "opus"},
            {"track": "1", "kind": "video", "codec": codec},
        ]
        self._emit(
            "source_live", stream=held.stream, source=held.source, session=session, tracks=tracks
        )

    def ask_layers(self, session: str, **layers: bool) -> None:
        """As the core does when what is read of simulcast has changed."""
        held = self.sessions[session]
        asked = [{"layer": layer, "wanted": wanted} for layer, wanted in layers.items()]
        of = {"stream": held.stream, "source": held.source, "session": session}
        self._emit("layers_asked", **of, track="1", layers=asked)

    def _answer(self, offer: str, session: Session) -> Answer:
        if not offer.startswith("v=0"):
            raise CoreError("sdp.invalid", "The offer does not begin with v=0.")
        session_id = secrets.token_hex(16)
        self.sessions[session_id] = session
        sdp = "v=0\r\na=ice-lite\r\nm=audio 9 RTP 111\r\na=mid:0\r\nm=video 9 RTP 96\r\na=mid:v\r\n"
        return Answer(session_id, sdp, '"1"')

    def _emit(self, event: str, **values: Any) -> None:
        self._events.append({"type": event, **values})
        os.eventfd_write(self._fd, 1)
