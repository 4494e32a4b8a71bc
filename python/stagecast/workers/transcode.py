"""AAC to Opus and back, on the source's own timeline.

Times are counted in samples from an anchor, because those of a publisher are rounded to milliseconds, and the
anchor is set anew when they leave it by more than a gap of sound. An encoder's delay is taken off: ffmpeg's
encoders tell it by the time of their first packet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Protocol, cast

import av.error
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.context import CodecContext
from av.packet import Packet

from stagecast.workers.connection import Config, Connection, End, Frame

_RATE = 48_000
_CHANNELS = 2
_MICROSECONDS = 1_000_000
_MAX_DRIFT_US = 60_000
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
        self._started = False
        self._errors = 0
        self._anchor_us = 0
        self._samples = 0
        self._rate: int = _RATE
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
            rate = int(sound.sample_rate)
            self._place(at, rate)
            sound.pts = self._samples
            sound.time_base = Fraction(1, rate)
            self._samples += int(sound.samples)
            at += int(sound.samples) * _MICROSECONDS // rate
            yield from self._encode(sound)

    def _place(self, pts_us: int, rate: int) -> None:
        """Go on counting, or begin anew where the publisher's time is."""
        expected: int = self._anchor_us + self._samples * _MICROSECONDS // self._rate
        on_time = abs(pts_us - expected) <= _MAX_DRIFT_US and rate == self._rate
        if self._started and on_time:
            return
        if self._started:
            self._open_encoder()
        self._started = True
        self._anchor_us, self._samples, self._rate = pts_us, 0, rate

    def _open_encoder(self) -> None:
        name, form, samples, bit_rate, options = _ENCODERS[self._encoded]
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
        self._resampler = AudioResampler(form, "stereo", _RATE, samples)

    def _encode(self, sound: AudioFrame) -> Iterator[Frame]:
        for piece in self._resampler.resample(sound):
            for packet in self._encoder.encode(piece):
                ticks = packet.pts or 0
                at = self._anchor_us + ticks * _MICROSECONDS // _RATE
                yield Frame(self._config.generation, at, bytes(packet))

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
