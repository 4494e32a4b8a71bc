"""A viewer without a screen: receives over WHEP, decodes for real, and measures."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stagecast import _core
from stagecast.media.client import NotLive, Session, Transport, Unreachable, Wanted, connect
from stagecast.media.decoding import Decoder

_INTERRUPTED_SECONDS = 8.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


@dataclass
class Track:
    """One track's decoder and when its frames came out (`time.monotonic()`)."""

    codec: str
    decoder: Decoder | None
    frames: int = 0
    last: float | None = None
    media_seconds: float = 0.0
    media_time: float | None = None
    recent: deque[float] = field(default_factory=lambda: deque[float](maxlen=240))
    longest_gap: float = 0.0

    def feed(self, frame: _core.Frame) -> int:
        """Decode (or count) one frame; how many came out."""
        came = self.decoder.decode(frame) if self.decoder else 1
        if came:
            now = time.monotonic()
            if self.last is not None:
                self.longest_gap = max(self.longest_gap, now - self.last)
            self.last = now
            media_time = frame.rtp_time / frame.clock
            if self.media_time is not None:
                self.media_seconds += media_time - self.media_time
            self.media_time = media_time
            self.frames += came
            self.recent.append(now)
        return came

    def fps(self) -> float:
        """Frames that came out for each second of media.

        By the clock on the wall it would be too high: a viewer who joins gets the group of pictures
        that has already begun in one burst.
        """
        return (self.frames - 1) / self.media_seconds if self.media_seconds > 0 else 0.0

    def fps_now(self) -> float:
        since = time.monotonic() - 1.0
        return float(sum(1 for at in self.recent if at > since))


@dataclass
class Watched:
    """What a viewer saw."""

    url: str
    seconds: float = 0.0
    join_ms: float | None = None
    video: Track | None = None
    audio: Track | None = None
    latencies: deque[float] = field(default_factory=lambda: deque[float](maxlen=18_000))
    reconnects: int = 0
    last: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def decoded(self) -> int:
        """Frames of video, or of audio where there is no video."""
        track = self.video or self.audio
        return track.frames if track else 0

    def report(self) -> dict[str, Any]:
        tracks = {track["kind"]: track for track in self.last.get("tracks", [])}
        video, audio = tracks.get("video", {}), tracks.get("audio", {})
        packets = sum(track["packets"] for track in tracks.values())
        lost = sum(track["packets_lost"] for track in tracks.values())
        picture = self.video.decoder if self.video else None
        latencies = sorted(self.latencies)
        return {
            "url": self.url,
            "seconds": round(self.seconds, 3),
            "join_ms": _rounded(self.join_ms),
            "connect_ms": _rounded(self.last.get("connect_ms")),
            "codec": self.video.codec if self.video else None,
            "width": picture.width if picture else None,
            "height": picture.height if picture else None,
            "fps": round(self.video.fps(), 2) if self.video else 0.0,
            "frames": self.video.frames if self.video else 0,
            "decode_errors": picture.errors if picture else 0,
            "longest_gap_ms": _rounded(self.video.longest_gap * 1000) if self.video else None,
            "audio_codec": self.audio.codec if self.audio else None,
            "audio_frames": self.audio.frames if self.audio else 0,
            "bitrate_bps": round(sum(track["bitrate_bps"] for track in tracks.values())),
            "packets": packets,
            "packets_lost": lost,
            "loss": round(lost / (packets + lost), 6) if packets else 0,
            "jitter_ms": _rounded(video.get("jitter_ms", audio.get("jitter_ms"))),
            "rtt_ms": _rounded(self.last.get("rtt_ms")),
            "latency_ms": _rounded(latencies[len(latencies) // 2]) if latencies else None,
            "nacks": sum(track["nacks"] for track in tracks.values()),
            "plis": video.get("plis", 0),
            "protocol": self.last.get("protocol"),
            "reconnects": self.reconnects,
        }


class Watcher:
    """Receives from a WHEP address until time is up or `stop` is called."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        transport: Transport = "udp",
        verify: bool = True,
        decode: bool = True,
        wait: float = 0.0,
        on_state: Callable[[str], None] = lambda _: None,
        on_second: Callable[[Watched], None] = lambda _: None,
    ) -> None:
        """``wait`` is how long a stream may take to go live."""
        self._url = url
        self._token = token
        self._verify = verify
        self._decode = decode
        self._wait = wait
        self._wanted = Wanted(role="watch", transport=transport)
        self._on_state = on_state
        self._on_second = on_second
        self._stopped = False
        self.result = Watched(url)

    def stop(self) -> None:
        """End soon; may be called from another thread or a signal handler."""
        self._stopped = True

    def run(self, seconds: float | None = None) -> Watched:
        """Watch for ``seconds`` after connecting; raises `ConnectError` when that is not possible."""
        session = self._connect(time.monotonic() + self._wait, first=True)
        began = time.monotonic()
        until = began + seconds if seconds is not None else float("inf")
        while session is not None:
            with session:
                self._on_state("connected")
                self._receive(session, began, until)
                self.result.last = session.stats() or self.result.last
            if self._over(until):
                break
            self.result.reconnects += 1
            self._on_state("interrupted; connecting again")
            session = self._connect(until, first=False)
        self.result.seconds = time.monotonic() - began
        return self.result

    def _over(self, until: float) -> bool:
        return self._stopped or time.monotonic() >= until

    def _connect(self, until: float, *, first: bool) -> Session | None:
        """Connect, trying again until then; a first connection that fails is an error."""
        pause = 0.0
        while True:
            try:
                return connect(self._url, self._wanted, token=self._token, verify=self._verify)
            except (NotLive, Unreachable) as error:
                waits = not first or (self._wait > 0 and isinstance(error, NotLive))
                if first and (not waits or self._over(until)):
                    raise
                if self._over(until):
                    return None
                self._on_state(str(error))
            pause = min(
                _LONGEST_PAUSE, pause * 2 or _FIRST_PAUSE, max(0.0, until - time.monotonic())
            )
            time.sleep(pause)

    def _receive(self, session: Session, began: float, until: float) -> None:
        """Receive until time is up or the session is lost."""
        next_second = time.monotonic() + 1.0
        interrupted: float | None = None
        while not self._over(until):
            frame = session.next_frame(0.1)
            if frame is not None:
                self._take(session, frame)
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
                    return

    def _take(self, session: Session, frame: _core.Frame) -> None:
        video = frame.kind == "video"
        track = self.result.video if video else self.result.audio
        if track is None or track.codec != frame.codec:
            decoder = Decoder(frame.codec) if self._decode else None
            track = Track(frame.codec, decoder)
            if video:
                self.result.video = track
            else:
                self.result.audio = track
        errors = track.decoder.errors if track.decoder else 0
        came = track.feed(frame)
        if track.decoder and track.decoder.errors > errors and video:
            session.core.request_keyframe()
        if came and self.result.join_ms is None and (video or not self._decode):
            self.result.join_ms = (time.monotonic() - session.posted) * 1000
        if came and video and frame.captured is not None:
            latency = (time.time() - frame.captured) * 1000
            if 0 <= latency < 60_000:
                self.result.latencies.append(latency)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
