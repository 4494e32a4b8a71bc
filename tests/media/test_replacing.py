"""A publisher that comes back or is replaced: its viewers go on in the same session."""

from __future__ import annotations

from itertools import pairwise

from tests.media.clips import Sender, clip
from tests.media.house import House, receive, track


def test_newest_publisher_wins_under_a_watching_viewer(house: House) -> None:
    small, large = clip(), clip(width=640, height=360)
    first = house.publisher()
    with Sender(first, small):
        house.live()
        viewer = house.viewer()
        seen = receive(viewer, lambda s: s.decoded >= 20)
        with Sender(house.publisher(), large):
            receive(viewer, lambda s: s.sizes[-1:] == [(large.width, large.height)], seen)
            receive(viewer, lambda s: s.sizes[-30:] == [(large.width, large.height)] * 30, seen)
            ended = house.event("session_ended", session=house.sessions[first])
    assert ended["reason"] == "replaced"
    assert seen.errors == 0
    assert track(viewer)["packets_lost"] == 0
    times = [frame.rtp_time for frame in seen.video]
    assert all(a < b for a, b in pairwise(times))
    assert max(b - a for a, b in pairwise(times)) < 90_000 * 5


def test_picture_and_sound_stay_together_after_a_replacement(house: House) -> None:
    with Sender(house.publisher(), clip()):
        house.live()
        viewer = house.viewer()
        seen = receive(viewer, lambda s: s.decoded >= 20)
        with Sender(house.publisher(), clip(width=640, height=360)):
            receive(viewer, lambda s: s.sizes[-1:] == [(640, 360)], seen)
            before = len(seen.audio)
            receive(viewer, lambda s: len(s.audio) >= before + 50, seen)
    sound = [frame.rtp_time for frame in seen.audio]
    assert all(a < b for a, b in pairwise(sound))


def test_publisher_that_crashed_and_came_back_is_seen_again(house: House) -> None:
    crashed = house.publisher()
    with Sender(crashed, clip()):
        house.live()
        viewer = house.viewer()
        seen = receive(viewer, lambda s: s.decoded >= 20)
    crashed.close(goodbye=False)
    with Sender(house.publisher(), clip(width=640, height=360)):
        receive(viewer, lambda s: s.sizes[-1:] == [(640, 360)], seen)
        receive(viewer, lambda s: s.sizes[-20:] == [(640, 360)] * 20, seen)
    assert viewer.state == "connected"
    assert seen.errors == 0


def test_replaced_publisher_may_still_send_into_the_void(house: House) -> None:
    with Sender(house.publisher(), clip()) as old:
        house.live()
        viewer = house.viewer()
        seen = receive(viewer, lambda s: s.decoded >= 10)
        with Sender(house.publisher(), clip(width=640, height=360)):
            receive(viewer, lambda s: s.sizes[-1:] == [(640, 360)], seen)
            sizes = len(seen.sizes)
            receive(viewer, lambda s: len(s.sizes) >= sizes + 30, seen)
            assert set(seen.sizes[sizes:]) == {(640, 360)}
        old.stop()
