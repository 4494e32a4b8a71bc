"""Real media for load publishers, encoded once with ffmpeg's encoders and kept in a cache.

A moving picture with noise (a test pattern alone compresses too well to reach its bitrate), one slice a
picture, no B-frames, a keyframe every `gop` seconds; Opus, 20 ms. The same pictures for every codec.
"""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, cast

from av.audio.frame import AudioFrame
from av.codec.context import CodecContext
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from stagecast import _core
from stagecast.errors import StagecastError
from stagecast.media.encoding import (
    AUDIO_CLOCK,
    AUDIO_FRAME,
    AudioEncoder,
    Encoded,
    EncodesVideo,
    VideoCodec,
)
from stagecast.media.encoding import Picture as EncoderPicture
from stagecast.media.sources import File

# What a publisher sends; a caller needs no more of the core.
Clip = _core.Clip

# A change of how clips are made changes their names.
_RECIPE = 2
_HEADER = struct.Struct("<BdI")
_LONGEST_FILE = 120.0

_ENCODERS: dict[VideoCodec, tuple[str, dict[str, str]]] = {
    "h264": (
        "libx264",
        {
            "preset": "veryfast",
            "profile": "baseline",
            "sc_threshold": "0",
            "x264-params": "sliced-threads=0:slices=1:repeat-headers=1:nal-hrd=none",
        },
    ),
    "vp8": (
        "libvpx",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"},
    ),
    "vp9": (
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "row-mt": "1"},
    ),
    "av1": (
        "libsvtav1",
        {"preset": "12", "svtav1-params": "pred-struct=1:rc=2:rtc=1:lookahead=0:scd=0"},
    ),
}


class ClipError(StagecastError):
    """The media cannot be made or read; the message says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a generated clip is."""

    codec: VideoCodec = "h264"
    width: int = 1280
    height: int = 720
    fps: int = 30
    bitrate: int = 2_500_000
    gop: float = 2.0
    audio: bool = True
    seconds: float = 12.0

    def name(self) -> str:
        digest = hashlib.sha256(json.dumps([_RECIPE, asdict(self)]).encode()).hexdigest()[:10]
        return f"{self.codec}-{self.height}p{self.fps}-{self.bitrate // 1000}k-{digest}.clip"


def cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stagecast" / "bench"


def generated(
    recipe: Recipe, *, stamped: bool = True, say: Callable[[str], None] = lambda _: None
) -> Clip:
    """The clip of a recipe, from the cache or encoded now."""
    path = cache_directory() / recipe.name()
    if not path.exists():
        say(f"Encoding {recipe.seconds:.0f} s of {recipe.codec} once, into {path} …")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another run may make the same clip: the one that is finished last stays.
        partial = path.with_suffix(f".{os.getpid()}")
        try:
            with partial.open("wb") as file:
                _write(file, _encode(recipe))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    with path.open("rb") as file:
        return _clip(recipe.codec, _read(file), recipe.seconds, stamped=stamped)


def from_file(path: Path, codec: VideoCodec | None, *, stamped: bool = True) -> Clip:
    """A clip of the first two minutes of a media file."""
    source = File(path, EncoderPicture(codec=codec or "h264"), codec=codec)
    frames: list[Encoded] = []
    try:
        while (due := source.next_due()) is not None and due < _LONGEST_FILE:
            frames += source.take()
    finally:
        source.close()
    if not frames:
        raise ClipError(f"{path} has nothing to send.")
    end = max(frame.due for frame in frames)
    step = 1 / 30 if source.codec else AUDIO_FRAME / AUDIO_CLOCK
    return _clip(source.codec, sorted(frames), end + step, stamped=stamped)


def _clip(
    codec: VideoCodec | None, frames: Iterable[Encoded], seconds: float, *, stamped: bool
) -> Clip:
    clip = Clip(codec, stamped)
    try:
        for frame in frames:
            clip.push(frame.kind, frame.due, frame.data)
        clip.finish(seconds)
    except _core.CoreError as error:
        raise ClipError(f"The media cannot be sent: {error.detail}.") from error
    return clip


def _encode(recipe: Recipe) -> list[Encoded]:
    frames = list(_pictures(recipe))
    if recipe.audio:
        frames += _sound(recipe.seconds)
    return sorted(frames)


def _pictures(recipe: Recipe) -> Iterator[Encoded]:
    os.environ.setdefault("SVT_LOG", "1")
    name, options = _ENCODERS[recipe.codec]
    context = cast("VideoCodecContext", CodecContext.create(name, "w"))
    encoder = cast("EncodesVideo", context)
    context.width, context.height, context.pix_fmt = recipe.width, recipe.height, "yuv420p"
    context.time_base = Fraction(1, recipe.fps)
    context.framerate = Fraction(recipe.fps)
    context.bit_rate = recipe.bitrate
    context.gop_size = max(1, round(recipe.gop * recipe.fps))
    rate = str(recipe.bitrate)
    limits = {"maxrate": rate, "bufsize": rate} if recipe.codec == "h264" else {}
    keys = {"keyint_min": str(context.gop_size)} if recipe.codec != "av1" else {}
    context.options = {**options, **limits, **keys}
    if recipe.codec != "av1":
        context.max_b_frames = 0
    graph = Graph()
    size = f"size={recipe.width}x{recipe.height}:rate={recipe.fps}"
    graph.link_nodes(
        graph.add("testsrc2", size),
        graph.add("noise", "alls=12:allf=t"),
        graph.add("format", "pix_fmts=yuv420p"),
        graph.add("buffersink"),
    ).configure()
    count = round(recipe.seconds * recipe.fps)
    for number in range(count + 1):
        frame = cast("VideoFrame", graph.pull()) if number < count else None
        if frame is not None:
            frame.pts, frame.time_base = number, Fraction(1, recipe.fps)
            # Made pictures call themselves I; the encoder decides.
            frame.pict_type = PictureType.NONE
        for packet in encoder.encode(frame):
            at = (packet.pts or 0) / recipe.fps
            yield Encoded(at, "video", packet.pts or 0, bytes(packet))


def _sound(seconds: float) -> Iterator[Encoded]:
    encoder = AudioEncoder()
    graph = Graph()
    graph.link_nodes(
        graph.add("sine", f"frequency=440:sample_rate={AUDIO_CLOCK}:samples_per_frame=960"),
        graph.add("aformat", "channel_layouts=stereo"),
        graph.add("abuffersink"),
    ).configure()
    for _ in range(round(seconds * AUDIO_CLOCK / AUDIO_FRAME)):
        yield from encoder.encode(cast("AudioFrame", graph.pull()))


def _write(file: IO[bytes], frames: Iterable[Encoded]) -> None:
    for frame in frames:
        file.write(_HEADER.pack(frame.kind == "video", frame.due, len(frame.data)))
        file.write(frame.data)


def _read(file: IO[bytes]) -> Iterator[Encoded]:
    while head := file.read(_HEADER.size):
        if len(head) < _HEADER.size:
            raise ClipError(f"{file.name} is damaged; delete it.")
        video, due, size = _HEADER.unpack(head)
        data = file.read(size)
        if len(data) < size:
            raise ClipError(f"{file.name} is damaged; delete it.")
        yield Encoded(due, "video" if video else "audio", 0, data)
