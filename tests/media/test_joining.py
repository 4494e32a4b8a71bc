"""A late joiner sees a picture at once, whatever the publisher does with keyframe requests."""

from __future__ import annotations

import time

import pytest

from stagecast.media.encoding import VIDEO_CODECS, VideoCodec
from tests.media.clips import SECONDS, Sender, clip
from tests.media.house import House, receive, track, until


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_late_joiner_need_not_wait_for_the_next_keyframe(house: House, codec: VideoCodec) -> None:
    with Sender(house.publisher(codecs=[codec]), clip(codec), obeys=False) as sender:
        house.live()
        until("the middle of a group of pictures", lambda: sender.keyframes >= 2)
        time.sleep(SECONDS / 2)  # the clip's own clock: half of it has been sent
        before = sender.keyframes
        viewer = house.viewer()
        began = time.monotonic()
        seen = receive(viewer, lambda s: s.decoded >= 1)
        took = time.monotonic() - began
        assert sender.keyframes == before
        assert seen.video[0].keyframe
        assert took < 0.5
        receive(viewer, lambda s: s.decoded >= 60, seen)
        assert seen.errors == 0
        assert track(viewer)["packets_lost"] == 0


def test_late_joiner_catches_up_with_the_present(house: House) -> None:
    with Sender(house.publisher(), clip(), obeys=False) as sender:
        house.live()
        until("the middle of a group of pictures", lambda: sender.keyframes >= 2)
        time.sleep(SECONDS / 2)
        viewer = house.viewer()
        seen = receive(viewer, lambda s: s.decoded >= 90)
        newest = seen.video[-1]
        assert newest.captured is None or newest.arrived - newest.captured < 0.5


def test_many_joiners_ask_the_publisher_for_few_keyframes(house: House) -> None:
    with Sender(house.publisher(), clip()) as sender:
        house.live()
        time.sleep(1)
        asked = sender.requests
        viewers = [house.viewer() for _ in range(10)]
        for viewer in viewers:
            assert receive(viewer, lambda s: s.decoded >= 5).video[0].keyframe
        assert sender.requests - asked <= 4


def test_joiners_disturb_nobody(house: House) -> None:
    with Sender(house.publisher(), clip()):
        house.live()
        first = house.viewer()
        seen = receive(first, lambda s: s.decoded >= 10)
        for _ in range(20):
            house.viewer(depth="packets").close()
        receive(first, lambda s: s.decoded >= 60, seen)
        assert all(frame.contiguous for frame in seen.video[1:])
        assert seen.errors == 0
        assert track(first)["packets_lost"] == 0
