"""Two publishers of the same 720p30 stream with a keyframe every two seconds.

Ours obeys keyframe requests; ffmpeg ignores them, so a viewer who joins in the middle of a group of
pictures shows what the server does for him.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import threading
import time
from collections.abc import Generator

from imageio_ffmpeg import get_ffmpeg_exe

from bench.server import Server
from stagecast import _core
from stagecast.media.client import NotLive, Session, Unreachable, Wanted, connect
from stagecast.media.encoding import Encoded, Picture
from stagecast.media.publishing import Publisher
from stagecast.media.sources import TestPattern

GOP_SECONDS = 2.0
BITRATE = 2_500_000


@contextlib.contextmanager
def ours(server: Server) -> Generator[None]:
    source = TestPattern(Picture(bitrate=BITRATE, gop_seconds=GOP_SECONDS))
    publisher = Publisher(server.whip, source, token=server.token)
    thread = threading.Thread(target=publisher.run, name="publisher")
    thread.start()
    try:
        until_live(server)
        yield
    finally:
        publisher.stop()
        thread.join()
        source.close()


@contextlib.contextmanager
def ffmpeg(server: Server) -> Generator[None]:
    process = subprocess.Popen(
        [
            *(get_ffmpeg_exe(), "-hide_banner", "-loglevel", "fatal", "-re"),
            *("-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"),
            *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"),
            *("-c:v", "libx264", "-profile:v", "baseline", "-preset", "veryfast"),
            *("-tune", "zerolatency", "-pix_fmt", "yuv420p", "-bf", "0"),
            *("-g", str(int(30 * GOP_SECONDS)), "-b:v", str(BITRATE)),
            *("-c:a", "libopus", "-ac", "2", "-ar", "48000", "-b:a", "96k"),
            *("-f", "whip", "-authorization", server.token, server.whip),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        until_live(server)
        yield
    finally:
        try:
            process.communicate(b"q", timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Stamped:
    """Sends a clip encoded beforehand, so that encoding takes no time from what is measured.

    The clip begins again after ``seconds``. A probe knows packets by their payload: a measurement must
    not last longer than the clip.
    """

    def __init__(
        self, server: Server, probe: _core.DelayProbe | None = None, seconds: float = GOP_SECONDS
    ) -> None:
        self._seconds = math.ceil(seconds / GOP_SECONDS) * GOP_SECONDS
        self._clip = _clip(self._seconds)
        wanted = Wanted(role="publish", codecs=["h264"])
        self._session: Session = connect(server.whip, wanted, token=server.token, probe=probe)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._session.close()

    def _run(self) -> None:
        began, turn = time.monotonic(), 0
        while True:
            for frame in self._clip:
                due = began + turn * self._seconds + frame.due
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                clock = 90_000 if frame.kind == "video" else 48_000
                pts = frame.pts + round(turn * self._seconds * clock)
                self._session.send(frame.kind, frame.data, pts)
            turn += 1


def until_live(server: Server) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with connect(server.whep, Wanted(role="watch", depth="packets")):
                return
        except (NotLive, Unreachable):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _clip(seconds: float) -> list[Encoded]:
    source = TestPattern(Picture(bitrate=BITRATE, gop_seconds=GOP_SECONDS))
    clip: list[Encoded] = []
    while (due := source.next_due()) is not None and due < seconds - 1e-6:
        clip += source.take()
    source.close()
    return sorted(clip)
