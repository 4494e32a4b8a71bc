"""A UDP relay that loses, delays and reorders datagrams by a seeded random number generator."""

from __future__ import annotations

import heapq
import random
import select
import socket
import threading
import time
from typing import Self


class Relay:
    """Stands between clients and the media port; put its address into an answer with `route`.

    It passes everything until `disturb` is called, so that a test begins connected.
    """

    def __init__(
        self, port: int, *, seed: int, loss: float, delay: float = 0.0, jitter: float = 0.0
    ) -> None:
        """``delay`` and ``jitter`` in seconds each way; a jitter above 1/rate reorders."""
        self._server = ("127.0.0.1", port)
        self._random = random.Random(seed)
        self._loss, self._delay, self._jitter = loss, delay, jitter
        self.seed = seed
        self.passed = 0
        self.lost = 0
        self._disturbed = False
        self._blocked = False
        self._front = self._socket()
        # One socket towards the server for each client, so that the server tells them apart.
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._queue: list[tuple[float, int, bytes, socket.socket, tuple[str, int]]] = []
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for opened in (self._front, *self._backs.values()):
            opened.close()

    @property
    def port(self) -> int:
        """Where clients send to."""
        return self._front.getsockname()[1]

    def disturb(self) -> None:
        """Begin to lose, delay and reorder."""
        self._disturbed = True

    def calm(self) -> None:
        """Pass everything again."""
        self._disturbed = False

    def block(self) -> None:
        """Lose everything from now on."""
        self._blocked = True

    def route(self, answer: str) -> str:
        """Replace the candidates of an answer by the relay's address."""
        ours = f"a=candidate:1 1 udp 2130706431 127.0.0.1 {self.port} typ host"
        lines: list[str] = []
        for line in answer.splitlines():
            if not line.startswith("a=candidate:"):
                lines.append(line)
            elif ours not in lines:
                lines.append(ours)
        return "\r\n".join(lines) + "\r\n"

    @staticmethod
    def _socket() -> socket.socket:
        opened = socket.socket(type=socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        opened.bind(("127.0.0.1", 0))
        opened.setblocking(False)
        return opened

    def _run(self) -> None:
        while not self._stop.is_set():
            now = time.monotonic()
            while self._queue and self._queue[0][0] <= now:
                _, _, data, out, to = heapq.heappop(self._queue)
                out.sendto(data, to)
            wait = min(0.05, self._queue[0][0] - now) if self._queue else 0.05
            readable, _, _ = select.select([self._front, *self._backs.values()], [], [], wait)
            for ready in readable:
                self._drain(ready)

    def _drain(self, ready: socket.socket) -> None:
        while True:
            try:
                data, source = ready.recvfrom(65_536)
            except OSError:
                return
            if ready is self._front:
                if source not in self._backs:
                    self._backs[source] = self._socket()
                self._pass(data, self._backs[source], self._server)
            else:
                client = next(c for c, back in self._backs.items() if back is ready)
                self._pass(data, self._front, client)

    def _pass(self, data: bytes, out: socket.socket, to: tuple[str, int]) -> None:
        if self._blocked:
            return
        due = time.monotonic()
        if self._disturbed:
            if self._random.random() < self._loss:
                self.lost += 1
                return
            due += self._delay + self._random.random() * self._jitter
        self.passed += 1
        self._count += 1
        heapq.heappush(self._queue, (due, self._count, data, out, to))
