"""Short encoded clips, made once a run, and a publisher that sends one in real time."""

from __future__ import annotations

import functools
import threading
import time
from dataclasses import dataclass
from typing import Self

from stagecast import _core
from stagecast.media.encoding import Encoded, Picture, VideoCodec
from stagecast.media.sources import TestPattern

FPS = 30
SECONDS = 2


@dataclass(frozen=True)
class Clip:
    """One group of pictures with sound; it begins with the only keyframe."""

    codec: VideoCodec
    width: int
    height: int
    frames: tuple[Encoded, ...]


@functools.cache
def clip(codec: VideoCodec = "h264", width: int = 320, height: int = 180) -> Clip:
    picture = Picture(codec, width, height, FPS, 600_000, gop_seconds=SECONDS * 2)
    source = TestPattern(picture)
    frames: list[Encoded] = []
    while (due := source.next_due()) is not None and due < SECONDS:
        frames += source.take()
    source.close()
    return Clip(codec, width, height, tuple(frames))


class Sender:
    """Sends a clip again and again on a thread of its own.

    A keyframe request starts the clip again at its keyframe, as an encoder would answer; with
    ``obeys=False`` requests are ignored and the next keyframe comes with the clip's next round.
    """

    def __init__(
        self,
        client: _core.Client,
        clip: Clip,
        *,
        audio: bool = True,
        video: bool = True,
        obeys: bool = True,
    ) -> None:
        self.client = client
        self.clip = clip
        self.keyframes = 0
        self.position = 0
        self.requests = 0
        self._kinds = {kind for kind, sent in (("audio", audio), ("video", video)) if sent}
        self._obeys = obeys
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Fall silent; the session stays."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        video = [f for f in self.clip.frames if f.kind == "video"]
        audio = [f for f in self.clip.frames if f.kind == "audio"]
        began = time.monotonic()
        sent_video = sent_audio = at = 0
        while not self._stop.wait(0.004):
            elapsed = time.monotonic() - began
            while "audio" in self._kinds and sent_audio * 0.02 <= elapsed:
                self._send("audio", audio[sent_audio % len(audio)].data, sent_audio * 960)
                sent_audio += 1
            while "video" in self._kinds and sent_video / FPS <= elapsed:
                if self.client.take_keyframe_request():
                    self.requests += 1
                    at = 0 if self._obeys else at
                frame = video[at % len(video)]
                self.keyframes += at % len(video) == 0
                self._send("video", frame.data, sent_video * 90_000 // FPS)
                self.position = at % len(video)
                sent_video += 1
                at += 1

    def _send(self, kind: str, data: bytes, pts: int) -> None:
        try:
            self.client.send_frame(kind, data, pts)
        except _core.CoreError:
            self._stop.set()
