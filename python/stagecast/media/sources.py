"""Encoded frames in real time: a test pattern, or a file.

A source says when its next frame is due and hands it out when asked. A file whose codecs fit WebRTC is
sent as it is; anything else is encoded again with settings for low delay: no B-frames, no lookahead.
"""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import av
import av.error
from av.audio.frame import AudioFrame
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stagecast.errors import StagecastError
from stagecast.media.encoding import (
    AUDIO_CLOCK,
    AUDIO_FRAME,
    VIDEO_CLOCK,
    VIDEO_CODECS,
    AudioEncoder,
    Encoded,
    Picture,
    VideoCodec,
    VideoEncoder,
)


class SourceError(StagecastError):
    """The source cannot be read or encoded; the message says why."""


class Source(Protocol):
    """Frames in the order they are due."""

    codec: VideoCodec | None
    audio: bool

    def next_due(self) -> float | None:
        """When the next frame shall leave; `None` at the end."""
        ...

    def take(self) -> list[Encoded]:
        """Encode or read what is due next."""
        ...

    def request_keyframe(self) -> None:
        """Make the next picture a keyframe, where it is encoded here."""
        ...

    def close(self) -> None:
        """Free files and encoders."""
        ...


class TestPattern:
    """Moving bars with a running clock and a beeping tone."""

    __test__ = False

    def __init__(self, picture: Picture, *, audio: bool = True) -> None:
        self.codec: VideoCodec | None = picture.codec
        self.audio = audio
        self._picture = picture
        self._video = VideoEncoder(picture)
        self._sound = AudioEncoder() if audio else None
        size = f"size={picture.width}x{picture.height}:rate={picture.fps}"
        self._pictures = _generator("testsrc2", size, "format", "pix_fmts=yuv420p")
        tone = (
            f"frequency=440:beep_factor=4:sample_rate={AUDIO_CLOCK}:samples_per_frame={AUDIO_FRAME}"
        )
        self._tone = _generator("sine", tone, "aformat", "channel_layouts=stereo")
        self._frames = 0
        self._blocks = 0
        self._want_keyframe = False

    def next_due(self) -> float | None:
        video = self._frames / self._picture.fps
        return min(video, self._blocks * AUDIO_FRAME / AUDIO_CLOCK) if self._sound else video

    def request_keyframe(self) -> None:
        self._want_keyframe = True

    def take(self) -> list[Encoded]:
        video = self._frames / self._picture.fps
        if self._sound and self._blocks * AUDIO_FRAME / AUDIO_CLOCK < video:
            self._blocks += 1
            block = cast("AudioFrame", self._tone.pull())
            return list(self._sound.encode(block))
        pts = self._frames * VIDEO_CLOCK // self._picture.fps
        self._frames += 1
        frame = cast("VideoFrame", self._pictures.pull())
        keyframe, self._want_keyframe = self._want_keyframe, False
        return list(self._video.encode(frame, pts, keyframe=keyframe))

    def close(self) -> None:
        self._video.close()


def _generator(source: str, options: str, shape: str, shape_options: str) -> Graph:
    graph = Graph()
    sink = "abuffersink" if shape == "aformat" else "buffersink"
    graph.link_nodes(
        graph.add(source, options), graph.add(shape, shape_options), graph.add(sink)
    ).configure()
    return graph


class _Filters(Protocol):
    def filter(self, packet: "Packet[Any] | None") -> "list[Packet[Any]]": ...


class File:
    """A media file in real time, once or again and again."""

    def __init__(
        self,
        path: Path,
        picture: Picture,
        *,
        codec: VideoCodec | None,
        audio: bool = True,
        loop: bool = False,
        resize: bool = False,
    ) -> None:
        """``codec`` forces a video codec; ``resize`` forces ``picture``'s size and frame rate."""
        self._path = path
        self._picture = picture
        self._loop = loop
        self._offset = 0.0
        self._end = 0.0
        self._queue: list[Encoded] = []
        self._container = self._open()
        video = next(iter(self._container.streams.video), None)
        sound = next(iter(self._container.streams.audio), None) if audio else None
        if video is None and sound is None:
            raise SourceError(f"{path} has neither video nor audio.")
        copied = _fits(video, codec) if video is not None and not resize else None
        self.codec: VideoCodec | None = copied or codec or "h264" if video is not None else None
        self.copied = copied is not None
        self.audio = sound is not None
        self._copies_sound = sound is not None and sound.codec_context.name in {"opus", "libopus"}
        self._sound = AudioEncoder() if sound is not None and not self._copies_sound else None
        self._resize = resize
        self._video: VideoEncoder | None = None
        self._filter: _Filters | None = None
        self._want_keyframe = False
        self._reader = self._read()

    def next_due(self) -> float | None:
        # One frame ahead is enough to sort audio and video of well-interleaved files.
        while len(self._queue) < 8:
            try:
                heapq.heappush(self._queue, next(self._reader))
            except StopIteration:
                break
        return self._queue[0].due if self._queue else None

    def request_keyframe(self) -> None:
        self._want_keyframe = True

    def take(self) -> list[Encoded]:
        return [heapq.heappop(self._queue)] if self._queue else []

    def close(self) -> None:
        self._container.close()
        if self._video:
            self._video.close()

    def _open(self) -> InputContainer:
        try:
            return av.open(str(self._path))
        except (OSError, av.error.FFmpegError) as error:
            raise SourceError(f"{self._path} cannot be read: {error}") from error

    def _read(self) -> Iterator[Encoded]:
        while True:
            yield from self._read_once()
            self._container.close()
            if not self._loop or self._end <= self._offset:
                return
            self._offset = self._end
            if self._sound:
                self._sound.skip_to(self._offset)
            self._container = self._open()

    def _read_once(self) -> Iterator[Encoded]:
        streams = self._container.streams
        video = next(iter(streams.video), None)
        sound = next(iter(streams.audio), None) if self.audio else None
        wanted = [s for s in (video, sound) if s is not None]
        if self.copied and video is not None and video.codec_context.name == "h264":
            filter_ = BitStreamFilterContext("h264_mp4toannexb", video)
            self._filter = cast("_Filters", filter_)
        origin: float | None = None
        try:
            for packet in self._container.demux(wanted):
                if packet.pts is not None and packet.time_base and origin is None:
                    origin = float(packet.pts * packet.time_base)
                for encoded in self._convert(
                    packet, origin or 0.0, is_video=packet.stream is video
                ):
                    self._end = max(self._end, encoded.due + 0.02)
                    yield encoded
        except av.error.FFmpegError as error:
            raise SourceError(f"{self._path} is damaged: {error}") from error

    def _convert(
        self, packet: "Packet[Any]", origin: float, *, is_video: bool
    ) -> Iterator[Encoded]:
        if is_video and self.copied:
            yield from self._copy(packet, origin, "video", VIDEO_CLOCK)
        elif not is_video and self._copies_sound:
            yield from self._copy(packet, origin, "audio", AUDIO_CLOCK)
        else:
            for frame in packet.decode():
                if isinstance(frame, VideoFrame):
                    yield from self._picture_again(frame, origin)
                elif isinstance(frame, AudioFrame) and self._sound:
                    yield from self._sound.encode(frame)

    def _copy(
        self, packet: "Packet[Any]", origin: float, kind: Literal["audio", "video"], clock: int
    ) -> Iterator[Encoded]:
        if packet.pts is None or not packet.time_base or not packet.size:
            return
        at = float(packet.pts * packet.time_base) - origin + self._offset
        parts = self._filter.filter(packet) if kind == "video" and self._filter else [packet]
        for part in parts:
            yield Encoded(max(0.0, at), kind, max(0, round(at * clock)), bytes(part))

    def _picture_again(self, frame: VideoFrame, origin: float) -> Iterator[Encoded]:
        at = max(0.0, (frame.time or 0.0) - origin + self._offset)
        frame = self._scaled(frame)
        if self._video is None:
            shape = Picture(
                codec=self.codec or "h264",
                width=frame.width,
                height=frame.height,
                fps=self._picture.fps,
                bitrate=self._picture.bitrate,
                gop_seconds=self._picture.gop_seconds,
            )
            self._video = VideoEncoder(shape)
        keyframe, self._want_keyframe = self._want_keyframe, False
        yield from self._video.encode(frame, round(at * VIDEO_CLOCK), keyframe=keyframe)

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        if self._resize:
            return frame.reformat(self._picture.width, self._picture.height, "yuv420p")
        # Encoders of 4:2:0 need even sizes.
        return frame.reformat(frame.width & ~1, frame.height & ~1, "yuv420p")


def _fits(video: VideoStream, wanted: VideoCodec | None) -> VideoCodec | None:
    """The codec when this stream can go into RTP as it is."""
    names = {"h264": "h264", "vp8": "vp8", "vp9": "vp9", "av1": "av1", "libdav1d": "av1"}
    found = names.get(video.codec_context.name)
    if found not in VIDEO_CODECS or wanted not in {None, found}:
        return None
    # Receivers show frames in the order they come: with B-frames they would jump.
    shape = video.codec_context.format
    if video.codec_context.has_b_frames or shape is None or shape.name != "yuv420p":
        return None
    return found
