"""One publisher, many bounded readers, inside one event loop.

Publishing never waits. A reader that falls ``capacity`` items behind is closed, and its consumer learns so
by the end of its iteration: better to reconnect and start from a fresh state than to miss a change.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Subscription(Generic[T]):
    """One reader; iterate with `next` until it returns None twice in a row with `closed` true."""

    def __init__(self, fanout: "Fanout[T]", capacity: int) -> None:
        self._fanout = fanout
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._ready = asyncio.Event()
        self.closed = False

    def offer(self, item: T) -> None:
        if self.closed:
            return
        if len(self._items) >= self._capacity:
            self.close()
            return
        self._items.append(item)
        self._ready.set()

    def close(self) -> None:
        """Stop receiving; items already queued can still be read."""
        self.closed = True
        self._ready.set()
        self._fanout.forget(self)

    async def next(self, timeout: float) -> T | None:
        """The next item, or None when none came in time or the subscription is closed and empty."""
        if not self._items and not self.closed:
            try:
                async with asyncio.timeout(timeout):
                    await self._ready.wait()
            except TimeoutError:
                return None
        if self._items:
            item = self._items.popleft()
            if not self._items and not self.closed:
                self._ready.clear()
            return item
        return None

    async def __aiter__(self) -> AsyncIterator[T]:
        while self._items or not self.closed:
            item = await self.next(3600)
            if item is not None:
                yield item


class Fanout(Generic[T]):
    def __init__(self) -> None:
        self._subscriptions: set[Subscription[T]] = set()

    def subscribe(self, capacity: int = 256) -> Subscription[T]:
        subscription = Subscription(self, capacity)
        self._subscriptions.add(subscription)
        return subscription

    def publish(self, item: T) -> None:
        for subscription in list(self._subscriptions):
            subscription.offer(item)

    def forget(self, subscription: Subscription[T]) -> None:
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Close every reader, as the server does when it drains."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def __len__(self) -> int:
        return len(self._subscriptions)
