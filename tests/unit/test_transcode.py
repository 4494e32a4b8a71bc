"""The transcoder of the audio worker: AAC to Opus and back, in time."""

from __future__ import annotations

import array
import math
import struct
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import pytest

from stagecast.workers.connection import Config, Frame
from stagecast.workers.transcode import Transcoder

_ENCODERS = {"aac": ("aac", "fltp", 1024), "opus": ("libopus", "flt", 960)}
_BEEP_AT = 0.7


def _tone(at: float) -> float:
    return 0.5 * math.sin(2 * math.pi * 1000 * at) if at >= _BEEP_AT else 0.0


def encoded(codec: str, rate: int = 48_000) -> tuple[Config, list[Frame]]:
    """Two seconds of silence with a tone that begins at `_BEEP_AT`; times are those that players use."""
    name, form, size = _ENCODERS[codec]
    context: Any = av.CodecContext.create(name, "w")
    context.sample_rate, context.layout, context.format = rate, "stereo", form
    context.time_base = Fraction(1, rate)
    context.open()
    frames: list[Frame] = []
    for start in range(0, 2 * rate, size):
        tone = [_tone(at / rate) for at in range(start, start + size)]
        sound: Any = av.AudioFrame(form, "stereo", size)
        if form == "fltp":
            for plane in sound.planes:
                plane.update(array.array("f", tone).tobytes())
        else:
            both = [value for value in tone for _ in range(2)]
            sound.planes[0].update(array.array("f", both).tobytes())
        sound.sample_rate, sound.pts, sound.time_base = rate, start, Fraction(1, rate)
        for packet in context.encode(sound):
            # Rounded as RTMP does it.
            milliseconds = round(packet.pts * 1000 / rate)
            frames.append(Frame(7, 5_000_000 + milliseconds * 1000, bytes(packet)))
    record = bytes(context.extradata or b"")
    if codec == "opus":
        record = struct.pack("!BBHIhB", 0, 2, 0, rate, 0, 0)
    return Config(7, rate, 2, record), frames


def beep(codec: str, config: Config, frames: list[Frame]) -> float:
    """When a player that shows each frame at its time begins to sound."""
    decoder: Any = av.CodecContext.create(codec, "r")
    if codec == "aac":
        decoder.extradata = config.record
    for frame in frames:
        for sound in decoder.decode(av.Packet(frame.data)):
            values = array.array("f", bytes(sound.planes[0]))
            values = values if sound.format.is_planar else values[::2]
            for at, value in enumerate(values[: sound.samples]):
                if abs(value) > 0.1:
                    return frame.pts_us / 1e6 + at / sound.sample_rate - 5
    raise AssertionError("silence")


@pytest.mark.parametrize(
    ("decoded", "made", "rate"),
    [("aac", "opus", 48_000), ("aac", "opus", 44_100), ("opus", "aac", 48_000)],
)
def test_sound_stays_where_it_was(decoded: str, made: str, rate: int) -> None:
    config, frames = encoded(decoded, rate)
    transcoder = Transcoder(config, decoded, made)
    out = [piece for frame in frames for piece in transcoder.feed(frame)]
    before, after = beep(decoded, config, frames), beep(made, transcoder.config, out)
    print(f"{decoded} {before * 1000:.1f} ms, {made} {after * 1000:.1f} ms")
    assert abs(before - _BEEP_AT) < 0.015
    assert abs(after - before) < 0.015
    steps = {b.pts_us - a.pts_us for a, b in pairwise(out)}
    length = 1_000_000 * _ENCODERS[made][2] / 48_000
    assert all(abs(step - length) <= 1 for step in steps), steps


def test_gap_in_the_source_is_a_gap_in_what_is_made() -> None:
    config, frames = encoded("aac")
    moved = [
        frame if index < 40 else Frame(7, frame.pts_us + 1_000_000, frame.data)
        for index, frame in enumerate(frames)
    ]
    transcoder = Transcoder(config, "aac", "opus")
    out = [piece for frame in moved for piece in transcoder.feed(frame)]
    largest = max(b.pts_us - a.pts_us for a, b in pairwise(out))
    assert 980_000 <= largest <= 1_080_000


@pytest.mark.parametrize("step_us", [400, -400, 80_000, -80_000])
def test_sound_follows_a_source_that_moves_without_a_gap(step_us: int) -> None:
    config, frames = encoded("opus")
    # A few hundred microseconds a frame up to the beep, or all at once.
    each = abs(step_us) < 1000
    moved = [
        Frame(7, frame.pts_us + step_us * (min(index, 34) if each else index > 20), frame.data)
        for index, frame in enumerate(frames)
    ]
    transcoder = Transcoder(config, "opus", "aac")
    out = [piece for frame in moved for piece in transcoder.feed(frame)]
    before, after = beep("opus", config, moved), beep("aac", transcoder.config, out)
    print(f"opus {before * 1000:.1f} ms, aac {after * 1000:.1f} ms")
    assert abs(after - before) < 0.015
    steps = {b.pts_us - a.pts_us for a, b in pairwise(out)}
    assert all(abs(step - 1_000_000 * 1024 / 48_000) <= 1 for step in steps), steps


def test_sound_that_was_lost_is_silence() -> None:
    config, frames = encoded("opus")
    transcoder = Transcoder(config, "opus", "aac")
    heard = frames[:10] + frames[20:]
    out = [piece for frame in heard for piece in transcoder.feed(frame)]
    assert abs(beep("aac", transcoder.config, out) - _BEEP_AT) < 0.015
    steps = {b.pts_us - a.pts_us for a, b in pairwise(out)}
    assert all(abs(step - 1_000_000 * 1024 / 48_000) <= 1 for step in steps), steps


def test_frame_that_cannot_be_decoded_is_left_out() -> None:
    config, frames = encoded("aac")
    frames[30] = Frame(7, frames[30].pts_us, b"\xff" * 40)
    transcoder = Transcoder(config, "aac", "opus")
    out = [piece for frame in frames for piece in transcoder.feed(frame)]
    assert len(out) >= 90
