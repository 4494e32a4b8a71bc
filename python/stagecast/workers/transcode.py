"""AAC to Opus and back, on the source's own timeline.

What comes out has no gaps: where the source's times leave the count of its samples, because they are rounded to
milliseconds, clocks drift or a track is put in step with another, sound is stretched or squeezed by as much, too
little to be heard, and silence stands for what was lost. Only where the timeline jumps an encoder begins anew. Its
delay is taken off: ffmpeg's encoders tell it by the time of their first packet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Protocol, cast

import av.error
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.codec.context import CodecContext
from av.filter import Graph
from av.packet import Packet

from stagecast.workers.connection import Config, Connection, End, Frame

_RATE = 48_000
_CHANNELS = 2
_MICROSECONDS = 1_000_000
# The timeline has jumped.
_JUMP_US = 500_000
# Stretching by 3 % at most follows the source's slow moves; a step of more is filled with silence or cut.
_KEEP_IN_STEP = "flags=res:min_comp=0.003:comp_duration=0.5:max_soft_comp=0.03:min_hard_comp=0.05"
_MAX_ERRORS = 50

_DECODERS = {"aac": "aac", "opus": "opus"}
# Encoder, sample format, samples a frame, bits a second, options.
_ENCODERS: dict[str, tuple[str, str, int, int, dict[str, str]]] = {
    "opus": ("libopus", "flt", 960, 128_000, {"application": "audio", "frame_duration": "20"}),
    "aac": ("aac", "fltp", 1024, 160_000, {}),
}


# PyAV's own stubs leave the packet's type open.
class _Decodes(Protocol):
    def decode(self, packet: Packet[Any] | None = None) -> list[AudioFrame]: ...


class _Encodes(Protocol):
    def encode(self, frame: AudioFrame | None = None) -> list[Packet[Any]]: ...


class Transcoder:
    """Frames of one configuration in, frames of another codec out."""

    def __init__(self, config: Config, decoded: str, encoded: str) -> None:
        self._config, self._encoded = config, encoded
        decoder = cast("AudioCodecContext", CodecContext.create(_DECODERS[decoded], "r"))
        decoder.extradata = _extradata(decoded, config.record)
        if decoded == "opus":
            decoder.sample_rate = _RATE
            decoder.layout = "stereo"
        self._decoder = cast("_Decodes", decoder)
        self._errors = 0
        self._next_us = 0
        self._form: tuple[int, str, str] | None = None
        self._open_encoder()

    @property
    def config(self) -> Config:
        """How what comes out is decoded."""
        return Config(self._config.generation, _RATE, _CHANNELS, self._record())

    def feed(self, frame: Frame) -> Iterator[Frame]:
        """Transcode a frame. A frame that cannot be decoded is left out, as loss would."""
        try:
            sounds = self._decoder.decode(cast("Packet[Any]", Packet(frame.data)))
        except av.error.FFmpegError:
            self._errors += 1
            if self._errors > _MAX_ERRORS:
                raise
            return
        self._errors = 0
        at = frame.pts_us
        for sound in sounds:
            self._place(sound, at)
            sound.pts, sound.time_base = at, Fraction(1, _MICROSECONDS)
            at += int(sound.samples) * _MICROSECONDS // int(sound.sample_rate)
            self._next_us = at
            yield from self._encode(sound)

    def _place(self, sound: AudioFrame, at: int) -> None:
        """Begin anew where the timeline jumps or sound of another form begins."""
        form = (int(sound.sample_rate), sound.format.name, sound.layout.name)
        if form == self._form and abs(at - self._next_us) <= _JUMP_US:
            return
        if self._form is not None:
            self._open_encoder()
        self._form = form
        _, encoded, samples, _, _ = _ENCODERS[self._encoded]
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=form[0],
                format=form[1],
                layout=form[2],
                time_base=Fraction(1, _MICROSECONDS),
            ),
            graph.add("aresample", f"{_RATE}:{_KEEP_IN_STEP}"),
            graph.add("aformat", f"sample_fmts={encoded}:channel_layouts=stereo"),
            graph.add("abuffersink"),
        ).configure()
        graph.set_audio_frame_size(samples)
        self._graph = graph

    def _open_encoder(self) -> None:
        name, form, _, bit_rate, options = _ENCODERS[self._encoded]
        encoder = cast("AudioCodecContext", CodecContext.create(name, "w"))
        encoder.sample_rate = _RATE
        encoder.layout = "stereo"
        encoder.format = form
        encoder.bit_rate = bit_rate
        encoder.time_base = Fraction(1, _RATE)
        encoder.options = dict(options)
        encoder.open()
        self._encoder_context = encoder
        self._encoder = cast("_Encodes", encoder)

    def _encode(self, sound: AudioFrame) -> Iterator[Frame]:
        self._graph.push(sound)
        while (piece := self._pull()) is not None:
            for packet in self._encoder.encode(piece):
                at = (packet.pts or 0) * _MICROSECONDS // _RATE
                yield Frame(self._config.generation, at, bytes(packet))

    def _pull(self) -> AudioFrame | None:
        try:
            return cast("AudioFrame", self._graph.pull())
        except (BlockingIOError, EOFError):
            return None

    def _record(self) -> bytes:
        if self._encoded == "aac":
            return bytes(self._encoder_context.extradata or b"")
        # What the encoder's delay adds is in the times already: nothing is to be skipped.
        return struct.pack("!BBHIhB", 0, _CHANNELS, 0, _RATE, 0, 0)


def _extradata(codec: str, record: bytes) -> bytes | None:
    """What ffmpeg's decoder wants: an `OpusHead` is little-endian where `dOps` is not."""
    if codec != "opus":
        return record or None
    version, channels, skip, rate, gain, family = struct.unpack_from("!BBHIhB", record)
    return b"OpusHead" + struct.pack("<BBHIhB", version + 1, channels, skip, rate, gain, family)


def run(connection: Connection, decoded: str, encoded: str) -> None:
    """Transcode until the core closes the connection."""
    transcoder: Transcoder | None = None
    while (message := connection.receive()) is not None:
        match message:
            case Config():
                transcoder = Transcoder(message, decoded, encoded)
                connection.send(transcoder.config)
            case Frame() if transcoder is not None:
                for frame in transcoder.feed(message):
                    connection.send(frame)
            case End():
                transcoder = None
            case _:
                pass
