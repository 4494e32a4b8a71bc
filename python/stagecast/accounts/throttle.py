"""Login throttling: a sliding window of failures per address and per e-mail, in bounded memory."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import timedelta

from stagecast.errors import Throttled

_MAX_KEYS = 10_000
_PER_ADDRESS = 4  # an address may be an office: it gets more failures than one e-mail does


class LoginThrottle:
    """Counts failed logins; a key with too many is refused until the oldest leaves the window."""

    def __init__(
        self, attempts: int, window: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._attempts = attempts
        self._window = window.total_seconds()
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str, email: str) -> None:
        """Raise `Throttled` when this address or e-mail has to wait."""
        now = self._clock()
        for key, limit in self._keys(address, email):
            failures = self._recent(key, now)
            if len(failures) >= limit:
                wait = math.ceil(failures[0] + self._window - now)
                raise Throttled(f"Too many failed logins. Try again in {_in_words(wait)}.", wait)

    def failed(self, address: str, email: str) -> None:
        now = self._clock()
        for key, limit in self._keys(address, email):
            failures = self._recent(key, now)
            failures.append(now)
            while len(failures) > limit:
                failures.popleft()
            self._failures[key] = failures
            self._failures.move_to_end(key)
        while len(self._failures) > _MAX_KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, email: str) -> None:
        """Forget the e-mail's failures; the address keeps its own, other e-mails may be tried from it."""
        self._failures.pop(self._keys(address, email)[1][0], None)

    def _keys(self, address: str, email: str) -> list[tuple[str, int]]:
        return [
            (f"address {address}", self._attempts * _PER_ADDRESS),
            (f"login {address} {email}", self._attempts),
        ]

    def _recent(self, key: str, now: float) -> deque[float]:
        failures = self._failures.get(key, deque[float]())
        while failures and failures[0] <= now - self._window:
            failures.popleft()
        return failures


def _in_words(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} seconds"
    return f"{math.ceil(seconds / 60)} minutes"
