"""Failures in a sliding window, requests from a bucket: both forget, and neither grows without end."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from stagecast.kit.window import MAX_KEYS, FailureWindow, RequestRate, in_words


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills_up_again() -> None:
    clock = Clock()
    rate = RequestRate(3, timedelta(seconds=30), clock)
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 10]
    assert rate.take("b") == 0
    clock.now = 9.9
    assert rate.take("a") == 1
    clock.now = 10
    assert [rate.take("a"), rate.take("a")] == [0, 10]
    clock.now = 1000
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 10]


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_a_bucket_never_gives_more_than_its_rate(pauses: list[float]) -> None:
    clock = Clock()
    rate = RequestRate(5, timedelta(seconds=10), clock)
    allowed = 0
    for pause in pauses:
        clock.now += pause
        allowed += rate.take("a") == 0
    assert allowed <= 5 + clock.now / 2


def test_failures_wait_until_the_oldest_leaves_the_window() -> None:
    clock = Clock()
    window = FailureWindow(2, timedelta(seconds=60), clock)
    window.failed("a")
    assert window.wait("a") == 0
    clock.now = 20
    window.failed("a")
    assert (window.wait("a"), window.wait("b")) == (40, 0)
    clock.now = 60
    assert window.wait("a") == 0
    window.failed("a")
    window.forget("a")
    assert window.wait("a") == 0


def test_memory_is_bounded() -> None:
    rate, window = RequestRate(1, timedelta(seconds=1)), FailureWindow(1, timedelta(seconds=1))
    for number in range(MAX_KEYS + 500):
        rate.take(str(number))
        window.failed(str(number))
    assert len(rate._buckets) == len(window._failures) == MAX_KEYS


def test_waiting_times_are_in_words() -> None:
    assert (in_words(89), in_words(90)) == ("89 seconds", "2 minutes")
