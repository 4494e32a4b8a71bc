"""The worker's end of the socket to the media core; the messages are those of `crates/io/src/workers.rs`."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import Self

_HELLO, _CONFIG, _FRAME, _END, _PICTURE, _RUNGS, _RUNG_CONFIG, _RUNG_PICTURE = range(8)
_CONFIG_HEAD = struct.Struct("!IIB")
_FRAME_HEAD = struct.Struct("!Iq")
_END_HEAD = struct.Struct("!I")
_PICTURE_HEAD = struct.Struct("!Iq?")
_RUNG_CONFIG_HEAD = struct.Struct("!IBHH")
_RUNG_PICTURE_HEAD = struct.Struct("!IBq?")
_MAX_MESSAGE = 16 << 20


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
class Picture:
    """One encoded picture of a publisher."""

    generation: int
    pts_us: int
    keyframe: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Rungs:
    """Which smaller pictures a worker makes: the names of layers, none when the original is small already."""

    generation: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RungConfig:
    """How pictures of a rung are decoded; ``record`` is an ``avcC``."""

    generation: int
    rung: int
    width: int
    height: int
    record: bytes


@dataclass(frozen=True, slots=True)
class RungPicture:
    """One picture of a rung: NAL units, each behind its length in 32 bits."""

    generation: int
    rung: int
    pts_us: int
    keyframe: bool
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

    def send(self, message: Config | Frame | Rungs | RungConfig | RungPicture) -> None:
        match message:
            case Config():
                head = _CONFIG_HEAD.pack(message.generation, message.sample_rate, message.channels)
                self._send(_CONFIG, head + message.record)
            case Frame():
                head = _FRAME_HEAD.pack(message.generation, message.pts_us)
                self._send(_FRAME, head + message.data)
            case Rungs(generation, names):
                self._send(_RUNGS, _END_HEAD.pack(generation) + json.dumps(names).encode())
            case RungConfig(generation, rung, width, height, record):
                head = _RUNG_CONFIG_HEAD.pack(generation, rung, width, height)
                self._send(_RUNG_CONFIG, head + record)
            case RungPicture(generation, rung, pts_us, keyframe, data):
                head = _RUNG_PICTURE_HEAD.pack(generation, rung, pts_us, keyframe)
                self._send(_RUNG_PICTURE, head + data)

    def receive(self) -> Config | Frame | Picture | End | None:
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
            case 4:
                generation, pts_us, keyframe = _PICTURE_HEAD.unpack_from(body)
                return Picture(generation, pts_us, keyframe, body[_PICTURE_HEAD.size :])
            case _:
                raise ValueError(f"a message of kind {kind}")

    def _send(self, kind: int, body: bytes) -> None:
        self._stream.sendall(struct.pack("!IB", len(body) + 1, kind) + body)
