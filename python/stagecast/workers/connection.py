"""The worker's end of the socket to the media core; the messages are those of `crates/io/src/workers.rs`."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import Self

_HELLO, _CONFIG, _FRAME, _END = range(4)
_CONFIG_HEAD = struct.Struct("!IIB")
_FRAME_HEAD = struct.Struct("!Iq")
_END_HEAD = struct.Struct("!I")
_MAX_MESSAGE = 256 << 10


@dataclass(frozen=True, slots=True)
class Config:
    """How the frames that follow are decoded; ``record`` is what MP4 carries for the codec."""

    generation: int
    sample_rate: int
    channels: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One encoded frame of a publisher, the one that ``generation`` numbers."""

    generation: int
    pts_us: int
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The publisher is gone."""

    generation: int


class Connection:
    """Reads and writes messages; blocks."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._read = stream.makefile("rb")

    @classmethod
    def open(cls, path: str) -> Self:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.connect(path)
        return cls(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._read.close()
        self._stream.close()

    def hello(self, stream: str, source: str | None, decoded: str, encoded: str) -> None:
        body = {"stream": stream, "source": source, "from": decoded, "to": encoded}
        self._send(_HELLO, json.dumps(body).encode())

    def send(self, message: Config | Frame) -> None:
        match message:
            case Config():
                head = _CONFIG_HEAD.pack(message.generation, message.sample_rate, message.channels)
                self._send(_CONFIG, head + message.record)
            case Frame():
                head = _FRAME_HEAD.pack(message.generation, message.pts_us)
                self._send(_FRAME, head + message.data)

    def receive(self) -> Config | Frame | End | None:
        """The next message; `None` when the core has closed the connection."""
        head = self._read.read(5)
        if len(head) < 5:
            return None
        length, kind = struct.unpack("!IB", head)
        if not 1 <= length <= _MAX_MESSAGE:
            raise ValueError(f"a message of {length} bytes")
        body = self._read.read(length - 1)
        if len(body) < length - 1:
            return None
        match kind:
            case 1:
                generation, rate, channels = _CONFIG_HEAD.unpack_from(body)
                return Config(generation, rate, channels, body[_CONFIG_HEAD.size :])
            case 2:
                generation, pts_us = _FRAME_HEAD.unpack_from(body)
                return Frame(generation, pts_us, body[_FRAME_HEAD.size :])
            case 3:
                return End(*_END_HEAD.unpack_from(body))
            case _:
                raise ValueError(f"a message of kind {kind}")

    def _send(self, kind: int, body: bytes) -> None:
        self._stream.sendall(struct.pack("!IB", len(body) + 1, kind) + body)
