"""Frames in and out: what comes by RTMP is watched by WebRTC, with sound."""

from __future__ import annotations

import array
import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import av
import pytest

from stagecast import _core
from stagecast.workers.connection import Config, Connection, Frame
from tests.media.clips import Sender, clip
from tests.media.house import STREAM, House, Seen, receive
from tests.media.ingest import AAC, H264, LIVE, NO_B, QUIET, controlled, rtmp, until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def house() -> Iterator[House]:
    with House(workers=True, rtmp={"bind": ["127.0.0.1"], "port": 0}) as made:
        yield made


def live(house: House) -> bool:
    return house.engine.is_live(STREAM, None)


def pictures(count: int) -> Callable[[Seen], bool]:
    return lambda seen: seen.decoded >= count


def sounds(count: int) -> Callable[[Seen], bool]:
    return lambda seen: len(seen.audio) >= count


async def watch(house: House, enough: Callable[[Seen], bool], patience: float = 25.0) -> Seen:
    viewer = await asyncio.to_thread(house.viewer)
    return await asyncio.to_thread(receive, viewer, enough, None, patience)


def figures(house: House) -> dict[str, Any]:
    sources = house.figures()["sources"]
    return {t["track"]: t for s in sources for t in s["tracks"]}


async def test_picture_that_comes_by_rtmp_is_decoded_from_the_first_keyframe(house: House) -> None:
    async with controlled(house), rtmp(house, *H264, *NO_B, audio=False):
        await until("live", lambda: live(house))
        seen = await watch(house, pictures(40))
    assert seen.errors == 0
    assert set(seen.sizes) == {(320, 180)}
    assert seen.video[0].keyframe


async def test_pictures_that_others_do_not_need_are_left_out_of_a_stream_with_b_frames(
    house: House,
) -> None:
    b_frames = ("-bf", "2", "-x264-params", "b-pyramid=none:b-adapt=0:scenecut=0")
    async with controlled(house), rtmp(house, *H264, *b_frames, audio=False):
        await until("live", lambda: live(house))
        seen = await watch(house, pictures(20))
        await until("figures", lambda: figures(house).get("video"))
        video = figures(house)["video"]["layers"][0]
    times = [frame.rtp_time for frame in seen.video]
    assert all(a < b for a, b in pairwise(times))
    assert seen.errors == 0
    assert video["b_frames"]


@pytest.mark.parametrize(
    ("codec", "encoding"),
    [
        # x264's own choice: B-frames that other B-frames need.
        ("h264", (*H264, "-bf", "3")),
        ("h265", ("-c:v", "libx265", "-preset", "ultrafast", "-g", "25", "-bf", "0", *QUIET)),
        ("av1", ("-c:v", "libsvtav1", "-preset", "12", "-g", "25", "-pix_fmt", "yuv420p", *LIVE)),
    ],
)
async def test_every_codec_of_enhanced_rtmp_is_decoded(
    house: House, codec: str, encoding: tuple[str, ...]
) -> None:
    async with controlled(house), rtmp(house, *encoding, audio=False):
        await until("live", lambda: live(house))
        seen = await watch(house, pictures(30))
    assert {frame.codec for frame in seen.video} == {codec}
    assert seen.errors == 0
    assert all(a.rtp_time < b.rtp_time for a, b in pairwise(seen.video))


def hears(frames: list[_core.Frame]) -> list[tuple[float, float]]:
    """Loudness of each Opus packet with the time it was captured."""
    decoder: Any = av.CodecContext.create("opus", "r")
    return [
        (frame.captured, max(map(abs, array.array("f", bytes(sound.planes[0])))))
        for frame in frames
        for sound in decoder.decode(av.Packet(frame.data))
        if frame.captured is not None
    ]


def sees(frames: list[_core.Frame]) -> list[tuple[float, float]]:
    """Brightness of each picture with the time it was captured."""
    decoder: Any = av.CodecContext.create("h264", "r")
    return [
        (frame.captured, sum(luma := bytes(picture.planes[0])[::101]) / len(luma))
        for frame in frames
        for picture in decoder.decode(av.Packet(frame.data))
        if frame.captured is not None
    ]


def onsets(signal_: list[tuple[float, float]], threshold: float) -> list[float]:
    return [at for (_, before), (at, now) in pairwise(signal_) if before < threshold <= now]


async def test_aac_is_heard_by_viewers_in_step_with_the_picture(house: House) -> None:
    async with controlled(house), rtmp(house, *H264, *NO_B, *AAC):
        await until("live", lambda: live(house))
        seen = await watch(house, sounds(250))
    beeps, flashes = onsets(hears(seen.audio), 0.1), onsets(sees(seen.video), 100)
    offsets = [min((beep - flash for flash in flashes), key=abs) for beep in beeps]
    print(f"beeps before (-) or after flashes: {[round(o * 1000) for o in offsets]} ms")
    assert len(offsets) >= 2
    # A packet is 20 ms long and tells its beginning only.
    assert all(abs(offset) <= 0.040 for offset in offsets[-2:]), offsets


async def test_sound_comes_back_after_a_worker_was_killed(house: House) -> None:
    async with controlled(house) as control, rtmp(house, *H264, *NO_B, *AAC):
        await until("live", lambda: live(house))
        viewer = await asyncio.to_thread(house.viewer)
        seen = await asyncio.to_thread(receive, viewer, sounds(50), None, 25)
        (pid,) = control.transcoders.pids.values()
        heard = len(seen.audio)
        os.kill(pid, signal.SIGKILL)
        await until(
            "another worker", lambda: [p for p in control.transcoders.pids.values() if p != pid]
        )
        enough = sounds(heard + 100)
        seen = await asyncio.to_thread(receive, viewer, enough, seen, 25)
    times = [frame.rtp_time / 48_000 for frame in seen.audio]
    gap = max(b - a for a, b in pairwise(times))
    print(f"sound lost by kill -9: {gap:.2f} s")
    assert gap < 1
    assert all(b - a > 0.015 for a, b in pairwise(times)), "nothing comes twice"


def test_frames_of_a_webrtc_publisher_are_put_together_for_readers(house: House) -> None:
    assert house.engine.worker_socket
    with Sender(house.publisher(), clip()):
        house.live()
        config, frames = _read(house.engine.worker_socket)
    assert (config.sample_rate, config.channels) == (48_000, 2)
    steps = {b.pts_us - a.pts_us for a, b in pairwise(frames)}
    assert all(19_000 <= step <= 21_000 for step in steps), steps


def _read(path: str) -> tuple[Config, list[Frame]]:
    with Connection.open(path) as worker:
        worker.hello(STREAM, None, "opus", "aac")
        config = worker.receive()
        assert isinstance(config, Config)
        frames: list[Frame] = []
        while len(frames) < 50:
            message = worker.receive()
            assert isinstance(message, Frame)
            frames.append(message)
        return config, frames
