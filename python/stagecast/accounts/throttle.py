"""Login throttling: failures are counted per address and per e-mail from an address."""

import time
from collections.abc import Callable
from datetime import timedelta

from stagecast.errors import Throttled
from stagecast.kit.window import FailureWindow, in_words

_PER_ADDRESS = 4  # an address may be an office: it gets more failures than one e-mail does


class LoginThrottle:
    """Refuses whoever failed too often; see `FailureWindow`."""

    def __init__(
        self, attempts: int, window: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._addresses = FailureWindow(attempts * _PER_ADDRESS, window, clock)
        self._logins = FailureWindow(attempts, window, clock)

    def check(self, address: str, email: str) -> None:
        """Raise `Throttled` when this address or e-mail has to wait."""
        wait = self._addresses.wait(address) or self._logins.wait(_login(address, email))
        if wait:
            raise Throttled(f"Too many failed logins. Try again in {in_words(wait)}.", wait)

    def failed(self, address: str, email: str) -> None:
        self._addresses.failed(address)
        self._logins.failed(_login(address, email))

    def succeeded(self, address: str, email: str) -> None:
        """Forget the e-mail's failures; the address keeps its own, other e-mails may be tried from it."""
        self._logins.forget(_login(address, email))


def _login(address: str, email: str) -> str:
    return f"{address} {email}"
