"""Password hashes (Argon2id, RFC 9106) and the few rules a password must meet.

Hashing is slow and takes 64 MiB on purpose, so it runs in threads, two at a time at most, and a
short queue: the rest is told to come back.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from stagecast.errors import Throttled

MAX_LENGTH = 256
_HASHER = PasswordHasher()
_AT_ONCE = 2
_QUEUE = 16
_ONE_TIME_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


class PasswordChecker:
    """Hashes and verifies passwords without holding up the event loop."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        async with self._slot():
            return await asyncio.to_thread(_HASHER.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password fits. For an unknown user pass None: it takes as long as a known one."""
        async with self._slot():
            fits = await asyncio.to_thread(_verify, stored, password)
        return fits and stored is not None

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        if self._waiting >= _QUEUE:
            raise Throttled("Too many people are logging in right now. Try again in a moment.", 1)
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1


def _verify(stored: str | None, password: str) -> bool:
    try:
        return _HASHER.verify(stored or _decoy(), password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _decoy() -> str:
    """A hash nobody knows the password of, to spend the usual time on unknown users."""
    return _HASHER.hash(secrets.token_hex(16))


def new_one_time_password() -> str:
    """Four groups of four readable characters, 79 bits."""
    groups = ("".join(secrets.choice(_ONE_TIME_ALPHABET) for _ in range(4)) for _ in range(4))
    return "-".join(groups)


def password_problem(password: str, email: str, min_length: int) -> str | None:
    """What is wrong with a new password, or None."""
    if len(password) < min_length:
        return f"Use at least {min_length} characters."
    if len(password) > MAX_LENGTH:
        return f"Use at most {MAX_LENGTH} characters."
    if password.casefold() in {email.casefold(), email.partition("@")[0].casefold()}:
        return "Do not use the e-mail address as the password."
    if len(set(password)) < 4:
        return "Use more than three different characters."
    return None
