"""A UDP relay that loses, delays, reorders and throttles datagrams by a seeded random number generator."""

from __future__ import annotations

import contextlib
import heapq
import random
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from typing import Self, cast

Address = tuple[str, int]

_HEADERS = 28  # of IP and UDP, which count on a link


@dataclass(frozen=True)
class Network:
    """What happens to datagrams, in both directions."""

    loss: float = 0.0
    """The share that never arrives."""
    delay: float = 0.0
    """Seconds."""
    jitter: float = 0.0
    """Up to so many seconds more."""
    reorders: bool = False
    """Whether jitter lets a datagram overtake others; most real paths keep the order."""
    rate: int | None = None
    """Bits a second towards the clients, which wait for each other; the way back is free."""
    queue: float = 0.2
    """Seconds that a datagram waits for others at most; then it is dropped, as routers do."""


class Relay:
    """Passes datagrams between clients and the server; give a client `port` as the server's.

    ``network`` may change at any time, so that a test can begin and end on a perfect one. Each client has a socket of
    its own towards the server, so that the server tells them apart.
    """

    def __init__(self, server_port: int, network: Network | None = None, *, seed: int) -> None:
        self.network = network or Network()
        self.passed = 0
        self.lost = 0
        self.late = 0.0
        """Seconds that this relay itself has been too slow at most."""
        self._server = ("127.0.0.1", server_port)
        self._dice = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        # Not every browser uses the loopback interface.
        self._front = self._socket("", None)
        self._clients: dict[Address, _Way] = {}
        self._queue: list[tuple[float, int, bytes, _Way]] = []
        self._count = 0
        self._free_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for opened in (self._front, *(way.through for way in self._clients.values())):
            opened.close()
        self._selector.close()

    @property
    def port(self) -> int:
        """Where clients send to."""
        return self._front.getsockname()[1]

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

    def _socket(self, address: str, onward: _Way | None) -> socket.socket:
        opened = socket.socket(type=socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        opened.bind((address, 0))
        opened.setblocking(False)
        self._selector.register(opened, selectors.EVENT_READ, onward)
        return opened

    def _run(self) -> None:
        while not self._stop.is_set():
            wait = min(0.05, self._queue[0][0] - time.monotonic()) if self._queue else 0.05
            for key, _ in self._selector.select(max(0.0, wait)):
                self._drain(cast("socket.socket", key.fileobj), key.data)
            now = time.monotonic()
            while self._queue and self._queue[0][0] <= now:
                due, _, data, way = heapq.heappop(self._queue)
                self.late = max(self.late, now - due)
                self.passed += 1
                with contextlib.suppress(OSError):  # the other side has closed
                    way.through.sendto(data, way.to)

    def _drain(self, ready: socket.socket, onward: _Way | None) -> None:
        while True:
            try:
                data, source = ready.recvfrom(65_536)
            except OSError:
                return
            self._take(data, onward or self._way_of(source))

    def _way_of(self, client: Address) -> _Way:
        way = self._clients.get(client)
        if way is None:
            back = self._socket("127.0.0.1", _Way(self._front, client))
            way = self._clients[client] = _Way(back, self._server)
        return way

    def _take(self, data: bytes, way: _Way) -> None:
        network, due = self.network, time.monotonic()
        if network.loss and self._dice.random() < network.loss:
            self.lost += 1
            return
        if network.rate is not None and way.through is self._front:
            begin = max(due, self._free_at)
            if begin - due > network.queue:
                self.lost += 1
                return
            due = self._free_at = begin + (len(data) + _HEADERS) * 8 / network.rate
        due += network.delay
        if network.jitter:
            due += self._dice.random() * network.jitter
        if not network.reorders:
            due = way.last = max(due, way.last)
        self._count += 1
        heapq.heappush(self._queue, (due, self._count, data, way))


@dataclass
class _Way:
    """One direction of a client: how its datagrams go on, and when the last one does."""

    through: socket.socket
    to: Address
    last: float = 0.0
