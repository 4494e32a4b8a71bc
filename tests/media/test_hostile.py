"""Whatever is thrown at the media port or into an offer: refused or dropped, and nobody else notices."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from stagecast import _core
from tests.media.clips import FPS, Sender, clip
from tests.media.house import STREAM, House, receive, track

MAGIC = 0x2112A442


def stun(kind: int, attributes: bytes, *, length: int | None = None) -> bytes:
    size = len(attributes) if length is None else length
    return struct.pack(">HHI", kind, size, MAGIC) + b"transaction!" + attributes


def attribute(kind: int, value: bytes, *, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack(">HH", kind, size) + value + b"\0" * (-len(value) % 4)


def rtp(payload_type: int, ssrc: int, payload: bytes, first: int = 0x80) -> bytes:
    return struct.pack(">BBHII", first, payload_type, 1, 1, ssrc) + payload


def corpus(ufrag: str) -> Iterator[bytes]:
    """Well-formed and nearly well-formed messages of every protocol on the port."""
    yield b""
    yield b"\0"
    yield from (bytes([first]) for first in range(256))
    yield stun(0x0001, b"")
    yield stun(0x0001, attribute(0x0006, f"{ufrag}:peer".encode()))
    yield stun(0x0001, attribute(0x0006, f"{ufrag}:peer".encode()) + attribute(0x0008, b"0" * 20))
    yield stun(0x0001, attribute(0x0006, b"x" * 600))
    yield stun(0x0001, attribute(0x0006, b"none", length=0xFFFF))
    yield stun(0x0001, b"", length=0xFFFC)
    yield stun(0x0101, attribute(0x0020, b"\0\1" + b"\0" * 6))
    yield stun(0x0111, attribute(0x0009, b"\0\0\4\1"))
    yield stun(0x0001, attribute(0x8028, b"\0\0\0\0"))
    yield b"\x16\xfe\xfd" + b"\0" * 8 + b"\xff\xff" + b"\1" * 40
    yield b"\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x10\1\0\0\4\0\0\0\0\0\0\0\4abcd"
    yield b"\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\2\2\x28"
    yield b"\x14\xfe\xfd\0\0\0\0\0\0\0\0\0\1\1"
    yield rtp(108, 0xDEADBEEF, b"\x65" * 1200)
    yield rtp(108, 0, b"", first=0xBF)
    yield rtp(108, 1, b"\xbe\xde\xff\xff", first=0x90)
    yield rtp(108, 1, b"\x10\0\0\1\xff\xff\0\0", first=0x90)
    yield struct.pack(">BBHI", 0x80, 200, 0xFFFF, 1)
    yield struct.pack(">BBHIIIIII", 0x80, 200, 6, 1, 0, 0, 0, 0, 0)
    yield struct.pack(">BBHII", 0x81, 206, 2, 1, 1)
    yield struct.pack(">BBHII", 0x8F, 206, 2, 1, 1)
    yield struct.pack(">BBHI", 0x9F, 203, 1, 1)
    yield b"\x80" * 1500
    yield b"\xff" * 65_507


def mutated(messages: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(count):
        message = bytearray(chance.choice(messages)[:1500])
        for _ in range(chance.randint(1, 8)):
            match chance.randrange(4):
                case 0 if message:
                    message[chance.randrange(len(message))] = chance.randrange(256)
                case 1 if message:
                    del message[chance.randrange(len(message)) :]
                case 2:
                    message += chance.randbytes(chance.randint(1, 64))
                case _:
                    at = chance.randint(0, len(message))
                    message[at:at] = chance.randbytes(chance.randint(1, 8))
        yield bytes(message)


def ufrag(sdp: str) -> str:
    return next(x.split(":")[1] for x in sdp.splitlines() if x.startswith("a=ice-ufrag:"))


@pytest.mark.parametrize("seed", [1, 2])
def test_datagrams_of_a_stranger_disturb_nobody(house: House, seed: int) -> None:
    with Sender(house.publisher(), clip()):
        house.live()
        viewer = house.viewer()
        waiting = house.client("watch")
        answer = house.engine.view(stream=STREAM, source=None, offer=waiting.offer, local=True)
        seen = receive(viewer, lambda s: s.decoded >= 10)
        messages = list(corpus(ufrag(answer.sdp)))
        with socket.socket(type=socket.SOCK_DGRAM) as stranger:
            for number, message in enumerate([*messages, *mutated(messages, 6000, seed)]):
                stranger.sendto(message, ("127.0.0.1", house.engine.port))
                if number % 100 == 0:
                    before = seen.decoded
                    receive(viewer, lambda s, before=before: s.decoded > before, seen)
        before = seen.decoded
        receive(viewer, lambda s: s.decoded >= before + FPS, seen)
        assert track(viewer)["packets_lost"] == 0, seed
        assert seen.errors == 0, seed
        # The session whose name was abused can still be used by its owner.
        waiting.accept_answer(answer.sdp)
        assert waiting.wait_connected(10)


def test_tcp_connections_of_strangers_disturb_nobody(house: House) -> None:
    with Sender(house.publisher(), clip()):
        house.live()
        viewer = house.viewer(transport="tcp")
        seen = receive(viewer, lambda s: s.decoded >= 10)
        address = ("127.0.0.1", house.engine.port)
        chance = random.Random(5)
        opened: list[socket.socket] = []
        for number in range(60):
            stranger = socket.create_connection(address, timeout=5)
            opened.append(stranger)
            try:
                match number % 6:
                    case 0:
                        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    case 1:
                        stranger.sendall(b"\xff\xff" + b"\0" * 1000)
                    case 2:
                        stranger.sendall(b"\0")
                    case 3:
                        stranger.sendall(b"\0\0" * 500)
                    case 4:
                        stranger.sendall(chance.randbytes(20_000))
                    case _:
                        stranger.close()
            except OSError:
                pass  # hanging up on a stranger is fine
        receive(viewer, lambda s: s.decoded >= 10 + 2 * FPS, seen)
        for stranger in opened:
            stranger.close()
        assert track(viewer)["packets_lost"] == 0
        assert seen.errors == 0


def test_broken_offers_are_refused_with_a_code(house: House) -> None:
    allowed = {"accepted", "sdp.invalid", "sdp.direction", "sdp.no_common_codec"}
    with Sender(house.publisher("acme/live"), clip()):
        house.live("acme/live")
        offers = [house.client(role).offer for role in ("publish", "watch")]
        chance = random.Random(9)
        whole = ["", "v=0", "\0" * 100, "v=0\r\n" * 5000, "a" * 300_000, "\u2028" * 1000]
        broken = [_break(chance.choice(offers), chance) for _ in range(400)]
        for offer in [*whole, *broken]:
            for call in (_publish, _view):
                code = refusal(lambda call=call, offer=offer: call(house, offer))
                assert code in allowed, (code, offer[:200])
        seen = receive(house.viewer("acme/live"), lambda s: s.decoded >= FPS)
        assert seen.errors == 0


def refusal(call: Callable[[], object]) -> str:
    """The code a call was refused with, or `accepted`."""
    try:
        call()
    except _core.CoreError as error:
        return error.code if error.detail else f"{error.code} without a detail"
    return "accepted"


def _publish(house: House, offer: str) -> None:
    answer = house.engine.publish(stream=STREAM, source=None, offer=offer)
    house.engine.end_session(answer.session, "deleted")


def _view(house: House, offer: str) -> None:
    answer = house.engine.view(stream="acme/live", source=None, offer=offer)
    house.engine.end_session(answer.session, "deleted")


def _break(offer: str, chance: random.Random) -> str:
    lines = offer.splitlines()
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, chance.choice(lines))
            case 2:
                lines[at] = lines[at][: chance.randint(0, len(lines[at]))]
            case 3:
                digits = str(chance.choice([0, -1, 255, 65_536, 2**32, 2**64]))
                lines[at] = "".join(digits if c.isdigit() else c for c in lines[at])
            case _:
                lines[at] += chance.choice([";", " ", ":" * 50, "\t", "é", "=" * 5000])
        if not lines:
            return ""
    return "\r\n".join(lines) + "\r\n"


def test_broken_fragments_are_refused_with_a_code(house: House) -> None:
    publisher = house.client("publish")
    answer = house.engine.publish(stream=STREAM, source=None, offer=publisher.offer)
    fragments = [
        "",
        "a=candidate:",
        "a=ice-ufrag:x",
        "m=",
        "\0",
        "a=mid:0\r\n" * 10_000,
        "a" * 100_000,
    ]
    for fragment in fragments:
        for etag in (answer.etag, '"*"', "*", None):
            code = refusal(lambda f=fragment, e=etag: house.engine.patch(answer.session, f, e))
            assert code.startswith(("ice.", "accepted")), code
    with pytest.raises(_core.CoreError) as refused:
        house.engine.patch("0" * 32, "", None)
    assert refused.value.code == "session.not_found"


def test_broken_answers_do_not_hurt_the_client(house: House) -> None:
    client = house.client("publish")
    answer = house.engine.publish(stream=STREAM, source=None, offer=client.offer, local=True).sdp
    chance = random.Random(4)
    for _ in range(100):
        other = house.client("publish")
        code = refusal(lambda other=other: other.accept_answer(_break(answer, chance)))
        assert code in {"accepted", "client.answer"}
        other.close()
