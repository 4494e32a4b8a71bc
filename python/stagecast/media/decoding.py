"""Decoding what a viewer receives, one frame at a time and without delay."""

from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import av.error
from av.audio.frame import AudioFrame
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.frame import VideoFrame

from stagecast import _core

_DECODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("h264", {}),
    "h265": ("hevc", {}),
    "vp8": ("vp8", {}),
    "vp9": ("vp9", {}),
    "av1": ("libdav1d", {"max_frame_delay": "1"}),
    "opus": ("opus", {}),
}


class _Decodes(Protocol):
    def decode(self, packet: "Packet[Any]") -> list[VideoFrame] | list[AudioFrame]: ...


@dataclass
class Decoder:
    """Decodes one track; counts what could not be decoded."""

    codec: str
    frames: int = 0
    errors: int = 0
    width: int = 0
    height: int = 0
    picture: VideoFrame | None = None
    _context: "_Decodes" = field(init=False, repr=False)
    _started: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        name, options = _DECODERS[self.codec]
        context = CodecContext.create(name, "r")
        # Frame threads would hold back one frame each.
        context.thread_type = "SLICE"
        context.thread_count = 1
        context.options = dict(options)
        self._context = cast("_Decodes", context)

    def decode(self, frame: _core.Frame) -> int:
        """Feed one frame, return how many came out; decoding starts at a keyframe."""
        if not self._started:
            if not frame.keyframe:
                return 0
            self._started = True
        try:
            decoded = self._context.decode(cast("Packet[Any]", Packet(frame.data)))
        except av.error.FFmpegError:
            self.errors += 1
            self._started = False
            return 0
        for picture in decoded:
            if isinstance(picture, VideoFrame):
                self.picture = picture
                self.width, self.height = picture.width, picture.height
        self.frames += len(decoded)
        return len(decoded)
