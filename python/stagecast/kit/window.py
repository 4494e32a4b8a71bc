"""Limits on how often something may happen, in bounded memory: failures in a sliding window, requests from a bucket.

Keys are addresses or credentials; the least recently used ones are forgotten when there are too many.
"""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import timedelta

MAX_KEYS = 10_000


class FailureWindow:
    """Counts failures of a key; one with too many waits until the oldest leaves the window."""

    def __init__(
        self, limit: int, window: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._window = window.total_seconds()
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, key: str) -> int:
        """Seconds until the key may try again; 0 when it may now."""
        failures = self._recent(key)
        if len(failures) < self._limit:
            return 0
        return max(1, math.ceil(failures[0] + self._window - self._clock()))

    def failed(self, key: str) -> None:
        failures = self._recent(key)
        failures.append(self._clock())
        while len(failures) > self._limit:
            failures.popleft()
        self._failures[key] = failures
        self._failures.move_to_end(key)
        while len(self._failures) > MAX_KEYS:
            self._failures.popitem(last=False)

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)

    def _recent(self, key: str) -> deque[float]:
        oldest = self._clock() - self._window
        failures = self._failures.get(key, deque[float]())
        while failures and failures[0] <= oldest:
            failures.popleft()
        return failures


class RequestRate:
    """A bucket of ``requests`` for each key that fills up again within ``window``."""

    def __init__(
        self, requests: int, window: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = float(requests)
        self._per_second = requests / window.total_seconds()
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> int:
        """Take one request; seconds to wait instead when there is none left, else 0."""
        now = self._clock()
        left, at = self._buckets.get(key, (self._size, now))
        left = min(self._size, left + (now - at) * self._per_second)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        self._buckets.move_to_end(key)
        while len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) / self._per_second))


def in_words(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} seconds"
    return f"{math.ceil(seconds / 60)} minutes"
