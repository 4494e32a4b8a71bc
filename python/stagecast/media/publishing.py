"""Publishing a source over WHIP in real time, through interruptions."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stagecast.media.client import ConnectError, Session, Transport, Unreachable, Wanted, connect
from stagecast.media.sources import Source

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_INTERRUPTED_SECONDS = 8.0
_LATE_SECONDS = 1.0


@dataclass
class Published:
    """What came of it."""

    seconds: float = 0.0
    frames: int = 0
    frames_not_taken: int = 0
    keyframe_requests: int = 0
    reconnects: int = 0
    last: dict[str, Any] = field(default_factory=dict[str, Any])

    def report(self) -> dict[str, Any]:
        tracks = {track["kind"]: track for track in self.last.get("tracks", [])}
        video = tracks.get("video", {})
        return {
            "seconds": round(self.seconds, 3),
            "frames": self.frames,
            "frames_not_taken": self.frames_not_taken,
            "keyframe_requests": self.keyframe_requests,
            "reconnects": self.reconnects,
            "protocol": self.last.get("protocol"),
            "rtt_ms": self.last.get("rtt_ms"),
            "bitrate_bps": sum(track["bitrate_bps"] for track in tracks.values()),
            "fps": video.get("fps"),
            "packets": sum(track["packets"] for track in tracks.values()),
            "packets_lost": sum(track["packets_lost"] for track in tracks.values()),
            "nacks": video.get("nacks"),
            "plis": video.get("plis"),
        }


class Publisher:
    """Sends a source to a WHIP address until it ends, time is up or `stop` is called."""

    def __init__(
        self,
        url: str,
        source: Source,
        *,
        token: str | None = None,
        transport: Transport = "udp",
        verify: bool = True,
        on_state: Callable[[str], None] = lambda _: None,
        on_second: Callable[[Published], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._source = source
        self._token = token
        self._verify = verify
        self._wanted = Wanted(
            role="publish",
            audio=source.audio,
            video=source.codec is not None,
            codecs=[source.codec] if source.codec else [],
            transport=transport,
        )
        self._on_state = on_state
        self._on_second = on_second
        self._stopped = False
        self.result = Published()

    def stop(self) -> None:
        """End soon; may be called from another thread or a signal handler."""
        self._stopped = True

    def run(self, duration: float | None = None) -> Published:
        """Publish; raises `ConnectError` when the first connection fails or a later one is refused."""
        began = time.monotonic()
        until = began + duration if duration is not None else float("inf")
        pause = 0.0
        while not self._over(until):
            try:
                session = connect(
                    self._url,
                    self._wanted,
                    token=self._token,
                    verify=self._verify,
                )
            except Unreachable as error:
                if not self.result.frames:
                    raise
                self._on_state(f"{error} Trying again.")
            else:
                self._on_state("live")
                pause = 0.0
                with session:
                    ended = self._send(session, began, until)
                    self.result.last = session.stats() or self.result.last
                if ended:
                    break
                self.result.reconnects += 1
                self._on_state("interrupted; connecting again")
            pause = min(_LONGEST_PAUSE, pause * 2 or _FIRST_PAUSE)
            self._sleep(min(pause, max(0.0, until - time.monotonic())))
        self.result.seconds = time.monotonic() - began
        return self.result

    def _over(self, until: float) -> bool:
        return self._stopped or time.monotonic() >= until

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopped and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _send(self, session: Session, began: float, until: float) -> bool:
        """Send until the source ends or time is up (true), or the session is lost (false)."""
        # Receivers join at a keyframe; a new session begins with one.
        self._source.request_keyframe()
        due = self._source.next_due()
        if due is None:
            return True
        start = time.monotonic() - due
        next_second = time.monotonic() + 1.0
        interrupted: float | None = None
        while (due := self._source.next_due()) is not None and not self._over(until):
            now = time.monotonic()
            if now - (start + due) > _LATE_SECONDS:
                start = now - due  # the machine slept or is too slow: go on from here
            self._sleep(start + due - now)
            if session.core.take_keyframe_request():
                self.result.keyframe_requests += 1
                self._source.request_keyframe()
            for frame in self._source.take():
                taken = session.send(frame.kind, frame.data, frame.pts)
                self.result.frames += frame.kind == "video"
                self.result.frames_not_taken += not taken
            now = time.monotonic()
            if now >= next_second:
                next_second = now + 1.0
                self.result.seconds = now - began
                self.result.last = session.stats() or self.result.last
                self._on_second(self.result)
            if session.core.state == "connected":
                interrupted = None
            else:
                interrupted = interrupted or now
                if not session.alive or now - interrupted > _INTERRUPTED_SECONDS:
                    return False
        return True


__all__ = ["ConnectError", "Published", "Publisher"]
