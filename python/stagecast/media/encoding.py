"""Encoders set for low delay: one frame out for each one in, no B-frames, no lookahead."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol, cast

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

VideoCodec = Literal["h264", "vp8", "vp9", "av1"]
VIDEO_CODECS: tuple[VideoCodec, ...] = ("h264", "vp8", "vp9", "av1")

VIDEO_CLOCK = 90_000
AUDIO_CLOCK = 48_000
AUDIO_FRAME = 960  # 20 ms

_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": (
        "libx264",
        {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "forced-idr": "1"},
    ),
    "vp8": (
        "libvpx",
        {
            "deadline": "realtime",
            "cpu-used": "8",
            "lag-in-frames": "0",
            "auto-alt-ref": "0",
            "error-resilient": "1",
        },
    ),
    "vp9": (
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "row-mt": "1"},
    ),
    # CBR is the only rate control of its low-delay structure.
    "av1": (
        "libsvtav1",
        {"preset": "11", "svtav1-params": "pred-struct=1:rc=2:rtc=1:lookahead=0:scd=0"},
    ),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """How video is encoded."""

    codec: VideoCodec = "h264"
    width: int = 1280
    height: int = 720
    fps: int = 30
    bitrate: int = 2_500_000
    gop_seconds: float = 2.0


@dataclass(frozen=True, slots=True, order=True)
class Encoded:
    """One frame; `due` is seconds after the start, `pts` counts in the track's RTP clock."""

    due: float
    kind: Literal["audio", "video"]
    pts: int
    data: bytes


# PyAV's own stubs leave the packet's type open.
class EncodesVideo(Protocol):
    """What a video codec context does, typed."""

    def encode(self, frame: VideoFrame | None = None) -> "list[Packet[VideoStream]]": ...


class _EncodesAudio(Protocol):
    def encode(self, frame: AudioFrame | None = None) -> "list[Packet[AudioStream]]": ...


class VideoEncoder:
    """Raw pictures to frames, one for one."""

    def __init__(self, picture: Picture) -> None:
        # SVT-AV1 prints to stderr unless told not to.
        os.environ.setdefault("SVT_LOG", "1")
        name, options = _ENCODERS[picture.codec]
        context = cast("VideoCodecContext", CodecContext.create(name, "w"))
        context.width, context.height = picture.width, picture.height
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, VIDEO_CLOCK)
        context.framerate = Fraction(picture.fps)
        context.bit_rate = picture.bitrate
        context.gop_size = max(1, round(picture.gop_seconds * picture.fps))
        context.thread_count = 2
        context.options = dict(options)
        if picture.codec != "av1":
            context.max_b_frames = 0
        self._context = context
        self._encoder = cast("EncodesVideo", context)

    def encode(self, frame: VideoFrame, pts: int, *, keyframe: bool) -> Iterator[Encoded]:
        frame.pts = pts
        frame.time_base = Fraction(1, VIDEO_CLOCK)
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        for packet in self._encoder.encode(frame):
            at = packet.pts if packet.pts is not None else pts
            yield Encoded(at / VIDEO_CLOCK, "video", at, bytes(packet))

    def close(self) -> None:
        """Drain the encoder; SVT-AV1 complains when it is dropped undrained."""
        if self._context.is_open:
            self._encoder.encode(None)


class AudioEncoder:
    """Sound to Opus, stereo, 20 ms."""

    def __init__(self) -> None:
        context = CodecContext.create("libopus", "w")
        context.options = {"frame_duration": "20"}
        context.bit_rate = 96_000
        context.time_base = Fraction(1, AUDIO_CLOCK)
        context.sample_rate = AUDIO_CLOCK
        context.layout = "stereo"
        context.format = "s16"
        self._encoder = cast("_EncodesAudio", context)
        self._resampler = AudioResampler("s16", "stereo", AUDIO_CLOCK, AUDIO_FRAME)
        self._samples = 0

    def encode(self, frame: AudioFrame) -> Iterator[Encoded]:
        for piece in self._resampler.resample(frame):
            piece.pts = self._samples
            piece.time_base = Fraction(1, AUDIO_CLOCK)
            self._samples += piece.samples
            for packet in self._encoder.encode(piece):
                at = max(0, packet.pts or 0)
                yield Encoded(at / AUDIO_CLOCK, "audio", at, bytes(packet))

    def skip_to(self, seconds: float) -> None:
        """Continue at this time, after a loop of the file."""
        self._samples = max(self._samples, round(seconds * AUDIO_CLOCK))
