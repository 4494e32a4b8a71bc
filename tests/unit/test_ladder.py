"""The transcoder of the ladder worker: sizes, aligned keyframes, and what it makes is a picture."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.video.frame import PictureType

from stagecast.workers.avc import units_of_annex_b
from stagecast.workers.connection import Config, Picture, RungConfig, RungPicture, Rungs
from stagecast.workers.ladder import Ladder, Wish, sizes

WISH = Wish((1080, 720, 480, 360), preset="ultrafast", cards=False)
_MICROSECOND = Fraction(1, 1_000_000)


def original(
    width: int, height: int, count: int, keyframes: set[int]
) -> tuple[Config, list[Picture]]:
    """VP8, whose pictures need no record: a bright bar that moves right, keyframes where asked."""
    encoder: Any = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.gop_size, encoder.bit_rate = _MICROSECOND, 10_000, 2_000_000
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    pictures: list[Picture] = []
    for index in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, value in zip(frame.planes, (40, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        luma = bytearray(bytes(frame.planes[0]))
        stride, bar = frame.planes[0].line_size, width * index // count // 16 * 16
        for line in range(height):
            luma[line * stride + bar : line * stride + bar + 16] = bytes([220]) * 16
        frame.planes[0].update(bytes(luma))
        frame.pts, frame.time_base = 5_000_000 + index * 33_333, _MICROSECOND
        frame.pict_type = PictureType.I if index in keyframes else PictureType.NONE
        pictures += [
            Picture(3, packet.pts, packet.is_keyframe, bytes(packet))
            for packet in encoder.encode(frame)
        ]
    return Config(3, 0, 0, b""), pictures


def decoded(pictures: list[Picture]) -> list[Any]:
    decoder: Any = av.CodecContext.create("vp8", "r")
    return [frame for p in pictures for frame in decoder.decode(av.Packet(p.data))]


def difference(one: Any, other: Any) -> float:
    """How far apart the brightness of two pictures is on average."""
    small = [bytes(frame.reformat(64, 36, "gray").planes[0]) for frame in (one, other)]
    return sum(abs(a - b) for a, b in zip(*small, strict=True)) / len(small[0])


def test_rungs_are_smaller_than_the_original_and_keep_its_shape() -> None:
    def shapes(width: int, height: int, *, same: bool = False) -> list[tuple[str, int, int]]:
        made = sizes(width, height, WISH, same=same)
        assert [size.bitrate for size in made] == sorted((s.bitrate for s in made), reverse=True)
        return [(size.name, size.width, size.height) for size in made]

    assert shapes(1920, 1080) == [("720p", 1280, 720), ("480p", 854, 480), ("360p", 640, 360)]
    assert shapes(720, 1280) == [("480p", 480, 854), ("360p", 360, 640)]
    assert shapes(640, 360) == []
    assert shapes(640, 360, same=True) == [("360p", 640, 360)]
    assert shapes(320, 180, same=True) == []


def test_keyframes_are_where_the_original_has_them_and_pictures_are_its() -> None:
    config, pictures = original(960, 540, 40, {0, 13, 30})
    ladder = Ladder(config, "vp8", WISH)
    made = [message for picture in pictures for message in ladder.feed(picture)]
    assert made[0] == Rungs(3, ("480p", "360p"))
    configs = {m.rung: m for m in made if isinstance(m, RungConfig)}
    assert {(c.width, c.height) for c in configs.values()} == {(854, 480), (640, 360)}
    for rung, how in configs.items():
        rungs = [m for m in made if isinstance(m, RungPicture) and m.rung == rung]
        assert [m.pts_us for m in rungs] == [picture.pts_us for picture in pictures]
        assert [m.keyframe for m in rungs] == [picture.keyframe for picture in pictures]
        decoder: Any = av.CodecContext.create("h264", "r")
        decoder.extradata = how.record
        shown = [frame for m in rungs for frame in decoder.decode(av.Packet(m.data))]
        shown += decoder.decode(None)
        assert len(shown) == 40
        assert {(frame.width, frame.height) for frame in shown} == {(how.width, how.height)}
        assert difference(shown[-1], decoded(pictures)[-1]) < 1
        assert difference(shown[-1], decoded(pictures)[0]) > 3


def test_rung_is_given_up_by_a_machine_that_cannot_make_all_but_not_the_last() -> None:
    config, pictures = original(960, 540, 4, {0})
    ladder = Ladder(config, "vp8", WISH)
    before = [message for picture in pictures[:2] for message in ladder.feed(picture)]
    assert {m.rung for m in before if isinstance(m, RungPicture)} == {0, 1}
    assert ladder.give_up_the_largest() == "480p"
    after = [message for picture in pictures[2:] for message in ladder.feed(picture)]
    assert {m.rung for m in after if isinstance(m, RungPicture)} == {1}
    assert ladder.give_up_the_largest() is None


def test_picture_that_cannot_be_decoded_is_left_out() -> None:
    config, pictures = original(640, 360, 20, {0, 10})
    pictures[5] = Picture(3, pictures[5].pts_us, keyframe=False, data=b"\xff" * 40)
    ladder = Ladder(config, "vp8", WISH)
    made = [m for picture in pictures for m in ladder.feed(picture) if isinstance(m, RungPicture)]
    assert len(made) >= 19
    assert [m.pts_us for m in made if m.keyframe] == [pictures[0].pts_us, pictures[10].pts_us]


def test_units_are_found_behind_start_codes_of_both_lengths() -> None:
    data = b"\0\0\0\1\x67ab\0\0\1\x68c\0\0\0\1\x65\0\0\3\1"
    assert units_of_annex_b(data) == [b"\x67ab", b"\x68c", b"\x65\0\0\3\1"]
