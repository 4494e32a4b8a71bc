"""What a livestream's meter counts, and how its sessions begin, end and fail."""

from hypothesis import given
from hypothesis import strategies as st

from stagecast.kit.clock import utc_now
from stagecast.livestreams.meter import Meter

NOW = utc_now()


def meter() -> Meter:
    return Meter("account", "livestream", 0.0)


def test_nothing_is_counted_before_media_and_after_it() -> None:
    one = meter()
    one.viewers = 2
    one.advance(10)
    one.begin(None, "a", NOW)
    one.advance(13)
    one.end(None, "a", 13, NOW)
    one.advance(100)
    assert (one.ingest_seconds, one.viewer_seconds) == (3, 6)


def test_a_session_that_was_replaced_does_not_end_the_source() -> None:
    one = meter()
    one.begin(None, "a", NOW)
    one.begin(None, "b", NOW)
    one.end(None, "a", 5, NOW)
    assert one.live
    one.end(None, "b", 5, NOW)
    assert not one.live


def test_a_failure_is_kept_whichever_event_tells_it_first() -> None:
    for failure_first in (True, False):
        one = meter()
        one.begin(None, "a", NOW)
        if failure_first:
            one.fail("a", "stalled", 5, NOW)
            one.end(None, "a", 5, NOW)
        else:
            one.end(None, "a", 5, NOW)
            one.fail("a", "stalled", 5, NOW)
        assert (one.live, one.error, one.stopped_on) == (False, "stalled", NOW)


def test_one_failing_source_of_two_is_no_failure() -> None:
    one = meter()
    one.begin(None, "a", NOW)
    one.begin("cam", "b", NOW)
    one.fail("b", "stalled", 5, NOW)
    assert (one.live, one.error) == (True, None)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 9), st.booleans()), max_size=50))
def test_counters_never_fall_and_never_outrun_the_clock(
    steps: list[tuple[float, int, bool]],
) -> None:
    one, now = meter(), 0.0
    for pause, viewers, live in steps:
        now += pause
        before = (one.ingest_seconds, one.viewer_seconds)
        one.advance(now)
        one.advance(now - 1)  # a clock that seems to go back counts nothing twice
        one.viewers = viewers
        if live:
            one.begin(None, "a", NOW)
        else:
            one.end(None, "a", now, NOW)
        assert one.ingest_seconds >= before[0]
        assert one.viewer_seconds >= before[1]
    assert one.ingest_seconds <= now + 1e-6
    assert one.viewer_seconds <= 9 * now + 1e-6
