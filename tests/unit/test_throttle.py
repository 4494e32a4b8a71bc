from datetime import timedelta

import pytest

from stagecast.accounts.throttle import LoginThrottle
from stagecast.errors import Throttled


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> LoginThrottle:
    return LoginThrottle(3, timedelta(seconds=60), clock)


def fail(throttle: LoginThrottle, times: int, address: str = "a", email: str = "e") -> None:
    for _ in range(times):
        throttle.check(address, email)
        throttle.failed(address, email)


def test_too_many_failures_have_to_wait_until_the_first_leaves_the_window(
    throttle: LoginThrottle, clock: Clock
) -> None:
    fail(throttle, 1)
    clock.now = 20
    fail(throttle, 2)
    with pytest.raises(Throttled, match="40 seconds") as refused:
        throttle.check("a", "e")
    assert refused.value.headers["Retry-After"] == "40"
    clock.now = 60
    throttle.check("a", "e")


def test_another_address_is_not_locked_out(throttle: LoginThrottle) -> None:
    fail(throttle, 3)
    throttle.check("b", "e")


def test_one_address_cannot_try_many_emails(throttle: LoginThrottle) -> None:
    for number in range(12):
        fail(throttle, 1, email=str(number))
    with pytest.raises(Throttled):
        throttle.check("a", "another")


def test_success_forgets_the_failures_of_the_email(throttle: LoginThrottle) -> None:
    fail(throttle, 2)
    throttle.succeeded("a", "e")
    fail(throttle, 2)
    throttle.check("a", "e")


def test_memory_is_bounded(throttle: LoginThrottle) -> None:
    for number in range(12_000):
        throttle.failed(str(number), "e")
    assert len(throttle._logins._failures) <= 10_000
    assert len(throttle._addresses._failures) <= 10_000
