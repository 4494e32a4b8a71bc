"""A narrow link: a UDP relay that lets so many bits a second through to the client, queues, and drops."""

from __future__ import annotations

import collections
import select
import socket
import threading
import time
from typing import Self

_HEADERS = 28  # of IP and UDP, which count on a link


class Bottleneck:
    """Stands between one client and the media port; give the client `port` as the server's.

    Towards the client packets leave one after the other at ``rate`` bits a second. One that would
    wait longer than ``queue`` seconds is dropped, as routers do. The way back is free.
    """

    def __init__(self, media_port: int, rate: int, *, queue: float = 0.2) -> None:
        self._server = ("127.0.0.1", media_port)
        self._rate, self._longest = rate, queue
        # Not every browser uses the loopback interface.
        self._front, self._back = self._socket(""), self._socket("127.0.0.1")
        self._client: tuple[str, int] | None = None
        self._queue: collections.deque[tuple[float, bytes]] = collections.deque()
        self._free_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bottleneck", daemon=True)
        self.passed = 0
        self.dropped = 0

    @property
    def port(self) -> int:
        return self._front.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._front.close()
        self._back.close()

    @staticmethod
    def _socket(address: str) -> socket.socket:
        opened = socket.socket(type=socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        opened.bind((address, 0))
        opened.setblocking(False)
        return opened

    def _run(self) -> None:
        while not self._stop.is_set():
            now = time.monotonic()
            while self._queue and self._queue[0][0] <= now and self._client is not None:
                self._front.sendto(self._queue.popleft()[1], self._client)
                self.passed += 1
            wait = min(0.05, self._queue[0][0] - now) if self._queue else 0.05
            readable, _, _ = select.select([self._front, self._back], [], [], max(0.0, wait))
            for ready in readable:
                self._drain(ready)

    def _drain(self, ready: socket.socket) -> None:
        while True:
            try:
                data, source = ready.recvfrom(65_536)
            except OSError:
                return
            if ready is self._front:
                self._client = source
                self._back.sendto(data, self._server)
                continue
            now = time.monotonic()
            begin = max(now, self._free_at)
            if begin - now > self._longest:
                self.dropped += 1
                continue
            self._free_at = begin + (len(data) + _HEADERS) * 8 / self._rate
            self._queue.append((self._free_at, data))
