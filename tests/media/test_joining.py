"""A late joiner sees a picture at once, whatever the publisher does with keyframe requests."""

from __future__ import annotations

import socket

import pytest
from aioice import stun
from OpenSSL import SSL

from stagecast.media.encoding import VIDEO_CODECS, VideoCodec
from tests.media.clips import FPS, SECONDS, Sender, clip
from tests.media.house import PATIENCE, STREAM, House, receive, track, until

# linux/udp.h: cut what is sent into datagrams of this size.
UDP_SEGMENT = 103


def midway(sender: Sender) -> None:
    """Wait for the middle of a group of pictures that follows another."""
    reached = SECONDS * FPS // 2
    until("midway", lambda: sender.keyframes >= 2 and sender.position >= reached)


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_late_joiner_need_not_wait_for_the_next_keyframe(house: House, codec: VideoCodec) -> None:
    with Sender(house.publisher(codecs=[codec]), clip(codec), obeys=False) as sender:
        house.live()
        midway(sender)
        before = sender.keyframes
        viewer = house.viewer()
        seen = receive(viewer, lambda s: s.decoded >= 1)
        assert sender.keyframes == before
        assert seen.video[0].keyframe
        receive(viewer, lambda s: s.decoded >= 60, seen)
        assert seen.errors == 0
        assert track(viewer)["packets_lost"] == 0


def test_late_joiner_catches_up_with_the_present(house: House) -> None:
    published = clip("vp8")
    pictures = [frame.data for frame in published.frames if frame.kind == "video"]
    with Sender(house.publisher(codecs=["vp8"]), published, obeys=False) as sender:
        house.live()
        midway(sender)
        viewer = house.viewer()
        # It begins with pictures of the past and goes on with those of now, without a gap.
        seen = receive(viewer, lambda s: s.decoded >= 90)
        assert all(frame.contiguous for frame in seen.video[1:])
        behind = sender.position - pictures.index(seen.video[-1].data)
        assert behind % len(pictures) <= len(pictures) // 4


def test_many_joiners_ask_the_publisher_for_few_keyframes(house: House) -> None:
    with Sender(house.publisher(), clip()) as sender:
        house.live()
        until("a second of pictures is sent", lambda: sender.position >= FPS)
        asked = sender.requests
        viewers = [house.viewer() for _ in range(10)]
        for viewer in viewers:
            assert receive(viewer, lambda s: s.decoded >= 5).video[0].keyframe
        assert sender.requests - asked <= 4


def test_joiners_disturb_nobody(house: House) -> None:
    with Sender(house.publisher(), clip()):
        house.live()
        first = house.viewer()
        seen = receive(first, lambda s: s.decoded >= 10)
        for _ in range(20):
            house.viewer(depth="packets").close()
        receive(first, lambda s: s.decoded >= 60, seen)
        assert all(frame.contiguous for frame in seen.video[1:])
        assert seen.errors == 0
        assert track(first)["packets_lost"] == 0


def test_a_crowd_is_spread_over_the_media_threads(house: House) -> None:
    def shares() -> list[int]:
        return sorted(thread["sessions"] for thread in house.figures()["threads"])

    with Sender(house.publisher(), clip()):
        house.live()
        offer = house.client("watch").offer

        def join(count: int) -> list[str]:
            view = house.engine.view
            return [
                view(stream=STREAM, source=None, offer=offer, local=True).session
                for _ in range(count)
            ]

        crowd = join(100)
        until("few stay with their publisher", lambda: shares() == [0, 101])
        crowd += join(400)
        until("many are spread", lambda: shares() == [250, 251])
        for session in crowd:
            house.engine.end_session(session, "over")
        until("all are gone", lambda: shares() == [0, 1])
        join(20)
        until("the next few stay with their publisher", lambda: shares() == [0, 21])


def attribute(sdp: str, name: str) -> str:
    return next(x.partition(":")[2] for x in sdp.splitlines() if x.startswith(f"a={name}:"))


def binding_request(offer: str, answer: str, size: int) -> bytes:
    """At least so many bytes long."""
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    names = attribute(answer, "ice-ufrag"), attribute(offer, "ice-ufrag")
    request.attributes["USERNAME"] = ":".join(names)
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 1
    request.attributes["USE-CANDIDATE"] = None
    request.attributes["SOFTWARE"] = "x" * (size - len(bytes(request)))
    request.add_message_integrity(attribute(answer, "ice-pwd").encode())
    return bytes(request)


def client_hello() -> bytes:
    context = SSL.Context(SSL.DTLS_METHOD)
    connection = SSL.Connection(context)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(1500)


def test_a_handshake_right_behind_the_first_request_is_not_lost(house: House) -> None:
    """On whichever thread's socket the kernel puts a peer. Lost, it would come again a second later."""
    with Sender(house.publisher(), clip()):
        house.live()
        offer = house.client("watch").offer
        hello = client_hello()
        for _ in range(12):
            answer = house.engine.view(stream=STREAM, source=None, offer=offer, local=True).sdp
            with socket.socket(type=socket.SOCK_DGRAM) as peer:
                peer.settimeout(PATIENCE)
                peer.connect(("127.0.0.1", house.engine.port))
                # Both in one call, so that no word of another thread comes between.
                request = binding_request(offer, answer, len(hello))
                peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(request))
                peer.send(request + hello)
                kinds = [peer.recv(1500)[0] for _ in range(2)]
                assert sorted(kinds) == [1, 22], "a STUN success and a DTLS handshake"
