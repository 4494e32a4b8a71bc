"""Pictures of a source in smaller sizes: the rungs of a ladder that players choose from by their network.

Every rung has a keyframe exactly where the original has one, and no other, so that segments of all sizes begin at
the same moments. A machine that does not keep up leaves pictures out up to a keyframe, and then the largest rung.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, cast

import av.error
from av.codec.context import CodecContext, Flags
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter

from stagecast.workers.avc import lengths_of_annex_b, record_of_annex_b
from stagecast.workers.connection import Config, Connection, End, Picture, RungConfig, Rungs
from stagecast.workers.connection import RungPicture as Made

_TIME_BASE = Fraction(1, 1_000_000)
_DECODERS = {"h264": "h264", "h265": "hevc", "vp8": "vp8", "vp9": "vp9", "av1": "libdav1d"}
# Those whose decoders take the record of MP4.
_WITH_RECORD = {"h264", "h265", "av1"}
# What a graphics card has comes first; which of them work is known when one is opened.
_ON_CARDS = ("h264_nvenc", "h264_amf", "h264_qsv")
# Bits a second by height.
_BITRATES = {1080: 4_500_000, 720: 2_500_000, 480: 1_200_000, 360: 700_000}
_MAX_ERRORS = 50
# A picture that waited this long is left out, with what follows up to a keyframe that waits less.
_LATE_SECONDS = 1.5
_ON_TIME_SECONDS = 0.5
# So many times within a minute, and the largest rung is given up.
_LATE_TIMES = 3


class _Decodes(Protocol):
    def decode(self, packet: Packet[Any] | None = None) -> list[VideoFrame]: ...


class _Encodes(Protocol):
    def encode(self, frame: VideoFrame | None = None) -> list[Packet[Any]]: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What ladders are made of."""

    heights: tuple[int, ...]
    preset: str = "veryfast"
    cards: bool = True


@dataclass(frozen=True, slots=True)
class Size:
    """A rung before it is made."""

    name: str
    width: int
    height: int
    bitrate: int


def sizes(width: int, height: int, wish: Wish, *, same: bool) -> list[Size]:
    """The rungs of an original, largest first; with ``same`` also its own size, in a codec that all players have.

    Heights are those of pictures that lie; one that stands is as wide.
    """
    short = min(width, height)
    rungs: list[Size] = []
    for lines in sorted(wish.heights, reverse=True):
        if lines > short or (lines == short and not same):
            continue
        wide, high = (_even(side * lines / short) for side in (width, height))
        rungs.append(Size(f"{lines}p", wide, high, _bitrate(lines)))
    return rungs


def _even(side: float) -> int:
    return max(2, round(side / 2) * 2)


def _bitrate(lines: int) -> int:
    nearest = min(_BITRATES, key=lambda known: abs(known - lines))
    return round(_BITRATES[nearest] * (lines / nearest) ** 1.5)


class Rung:
    """An encoder of one size."""

    def __init__(self, size: Size, wish: Wish) -> None:
        self.size = size
        self._scale = VideoReformatter()
        self._context = _open_encoder(size, wish)
        self._encoder = cast("_Encodes", self._context)
        self._keyframes: set[int] = set()

    @property
    def record(self) -> bytes:
        return record_of_annex_b(bytes(self._context.extradata or b""))

    def scale(self, picture: VideoFrame) -> VideoFrame:
        """The picture in this size. Each rung is made of the one above it: that is the least work."""
        return self._scale.reformat(picture, self.size.width, self.size.height, "yuv420p")

    def encode(self, picture: VideoFrame, *, keyframe: bool) -> Iterator[tuple[int, bool, bytes]]:
        picture.pict_type = PictureType.I if keyframe else PictureType.NONE
        for packet in self._encoder.encode(picture):
            yield packet.pts or 0, packet.is_keyframe, lengths_of_annex_b(bytes(packet))


def _open_encoder(size: Size, wish: Wish) -> VideoCodecContext:
    for name in _ON_CARDS if wish.cards else ():
        try:
            return _encoder(name, size, {"bf": "0", "forced-idr": "1", "rc": "cbr", "delay": "0"})
        except (av.error.FFmpegError, ValueError):
            continue
    quiet = "scenecut=0:keyint=infinite:min-keyint=1"
    return _encoder(
        "libx264",
        size,
        {
            "preset": wish.preset,
            "tune": "zerolatency",
            "profile": "high",
            "forced-idr": "1",
            "x264-params": quiet,
        },
    )


def _encoder(name: str, size: Size, options: dict[str, str]) -> VideoCodecContext:
    context = cast("VideoCodecContext", CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt = size.width, size.height, "yuv420p"
    context.time_base = _TIME_BASE
    # Times tell the true rate; without any the encoder takes the time base for it.
    context.framerate = Fraction(30)
    context.bit_rate = size.bitrate
    context.gop_size = 100_000
    context.max_b_frames = 0
    # The parameter sets are in the record and not before every keyframe.
    context.flags |= Flags.global_header
    limits = {"maxrate": str(size.bitrate * 5 // 4), "bufsize": str(size.bitrate)}
    context.options = {**options, **limits}
    context.open()
    return context


class Ladder:
    """Pictures of one configuration in, pictures of all rungs out."""

    def __init__(self, config: Config, codec: str, wish: Wish) -> None:
        self.generation = config.generation
        self._codec, self._wish = codec, wish
        context = cast("VideoCodecContext", CodecContext.create(_DECODERS[codec], "r"))
        if codec in _WITH_RECORD and config.record:
            context.extradata = config.record
        # Frames at the same time would each come one picture later.
        context.thread_type = "SLICE"
        self._decoder = cast("_Decodes", context)
        self._keyframes: set[int] = set()
        self._rungs: list[Rung] = []
        self._dropped = 0
        self._shape: tuple[int, int] | None = None
        self._errors = 0

    def feed(self, picture: Picture) -> Iterator[Rungs | RungConfig | Made]:
        """Transcode a picture. One that cannot be decoded is left out."""
        packet = Packet(picture.data)
        packet.pts, packet.time_base = picture.pts_us, _TIME_BASE
        if picture.keyframe:
            self._keyframes.add(picture.pts_us)
        try:
            decoded = self._decoder.decode(packet)
        except av.error.FFmpegError:
            self._errors += 1
            if self._errors > _MAX_ERRORS:
                raise
            return
        self._errors = 0
        for frame in decoded:
            yield from self._climb(frame)

    def give_up_the_largest(self) -> str | None:
        """Leave a rung out from now on, for a machine that cannot make all; the last one stays."""
        if len(self._rungs) - self._dropped < 2:
            return None
        self._dropped += 1
        return self._rungs[self._dropped - 1].size.name

    def _climb(self, frame: VideoFrame) -> Iterator[Rungs | RungConfig | Made]:
        pts = frame.pts or 0
        keyframe = pts in self._keyframes
        self._keyframes = {at for at in self._keyframes if at > pts}
        if (frame.width, frame.height) != self._shape:
            # The encoders begin with a keyframe, so nothing goes on in the middle.
            keyframe = True
            yield from self._build(frame)
        above = frame
        for index, rung in enumerate(self._rungs):
            if index < self._dropped:
                continue
            above = rung.scale(above)
            above.pts, above.time_base = pts, _TIME_BASE
            for at, starts, data in rung.encode(above, keyframe=keyframe):
                yield Made(self.generation, index, at, starts, data)

    def _build(self, frame: VideoFrame) -> Iterator[Rungs | RungConfig]:
        self._shape = (frame.width, frame.height)
        wanted = sizes(*self._shape, self._wish, same=self._codec != "h264")
        self._rungs, self._dropped = [Rung(size, self._wish) for size in wanted], 0
        yield Rungs(self.generation, tuple(size.name for size in wanted))
        for index, rung in enumerate(self._rungs):
            size = rung.size
            yield RungConfig(self.generation, index, size.width, size.height, rung.record)


class _Inbox:
    """What the core sends, with the time it came: who is late has to know it."""

    def __init__(self, connection: Connection) -> None:
        self._messages: queue.SimpleQueue[tuple[float, Config | Picture | End | None]] = (
            queue.SimpleQueue()
        )
        self._connection = connection
        threading.Thread(target=self._read, daemon=True, name="inbox").start()

    def get(self) -> tuple[float, Config | Picture | End | None]:
        return self._messages.get()

    def _read(self) -> None:
        message: object = True
        while message is not None:
            try:
                message = self._connection.receive()
            except (OSError, ValueError):
                message = None
            if message is None or isinstance(message, Config | Picture | End):
                self._messages.put((time.monotonic(), message))


def run(connection: Connection, codec: str, wish: Wish) -> None:
    """Make ladders until the core closes the connection."""
    inbox = _Inbox(connection)
    ladder: Ladder | None = None
    skipping = False
    late: list[float] = []
    while True:
        came, message = inbox.get()
        match message:
            case None:
                return
            case Config():
                ladder, skipping = Ladder(message, codec, wish), False
            case End():
                ladder = None
            case Picture() if ladder is not None:
                now = time.monotonic()
                if skipping and message.keyframe and now - came < _ON_TIME_SECONDS:
                    skipping = False
                elif not skipping and now - came > _LATE_SECONDS:
                    skipping = True
                    late = [at for at in late if now - at < 60] + [now]
                    if len(late) >= _LATE_TIMES and (name := ladder.give_up_the_largest()):
                        late.clear()
                        print(f"stagecast ladder: too slow for {name}, left out", flush=True)
                if not skipping:
                    for made in ladder.feed(message):
                        connection.send(made)
            case _:
                pass
