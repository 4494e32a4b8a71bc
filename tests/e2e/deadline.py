"""Wait for a condition with a deadline, the only way tests wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(
    condition: Callable[[], Awaitable[T]],
    *,
    deadline: float = 15,
    what: str,
    every: float = 0.1,
) -> T:
    """Ask until the answer is true; return it. Fails with the last answer when the deadline passes."""
    end = time.monotonic() + deadline
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(
                f"after {deadline:g} s still not: {what} (last answer: {answer!r})"
            )
        await asyncio.sleep(every)
