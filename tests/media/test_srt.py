"""SRT from real encoders and to real players, also over a network that loses packets."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import quote

import pytest

from tests.media.encoder import DEBIAN, NEWEST, RATE, Encoder, play, watched
from tests.media.house import House
from tests.media.test_rtmp import live_with
from tests.relay import Network, Relay

TS = ("-f", "mpegts")
STREAM_ID = "cam?t=q83v&sourceId=left"
SECONDS = 20
PASSPHRASE = "long-passphrase"


@pytest.fixture
def house() -> Iterator[House]:
    with House(srt={"bind": ["127.0.0.1"], "port": 0}, rtmp=RTMP) as made:
        yield made


RTMP = {"bind": ["127.0.0.1"], "port": 0}


def address(
    house: House, stream_id: str = STREAM_ID, *, port: int | None = None, **more: str
) -> str:
    query = {"streamid": stream_id, "mode": "caller", **more}
    words = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return f"srt://127.0.0.1:{port or house.engine.srt_port}?{words}"


@pytest.mark.parametrize("program", [DEBIAN, NEWEST])
@pytest.mark.parametrize(("video", "audio"), [("h264", "aac"), ("h265", "opus")])
def test_encoder_is_asked_for_its_token_and_goes_live(
    house: House, program: str, video: str, audio: str
) -> None:
    with Encoder(address(house), program=program, video=video, audio=audio, form=TS):
        asked = house.event("admission_asked")
        assert (asked["protocol"], asked["action"]) == ("srt", "publish")
        assert asked["path"] == "cam"
        assert asked["query"] == [["t", "q83v"], ["sourceId", "left"]]
        session = house.event("session_connected", kind="publisher", protocol="srt")
        live_with(house, video=video, audio=audio)
    ended = house.event("session_ended", session=session["session"])
    assert ended["reason"] in {"peer_closed", "consent_lost"}


def test_wrong_token_is_refused(house: House) -> None:
    house.door = lambda _asked: {"verdict": "refuse", "code": "unauthorized", "message": "No."}
    with Encoder(address(house), form=TS) as encoder:
        encoder.ended(house)
        assert encoder.process.returncode != 0


@pytest.mark.parametrize(("video", "audio"), [("h264", "aac"), ("h265", "opus")])
def test_player_asks_by_access_control_and_gets_picture_and_sound(
    house: House, video: str, audio: str
) -> None:
    with Encoder(address(house), program=NEWEST, video=video, audio=audio, form=TS):
        live_with(house, video=video, audio=audio)
        decoded = play(house, address(house, "#!::r=acme/demo,m=request"), program=NEWEST)
        assert house.event("admission_asked", action="play")["path"] == "acme/demo"
        assert decoded["video"] >= RATE
        assert decoded["audio"] >= 40


def test_passphrase_is_needed_and_encrypts_both_ways() -> None:
    srt = {"bind": ["127.0.0.1"], "port": 0, "passphrase": PASSPHRASE}
    with House(srt=srt) as house:
        with Encoder(address(house, passphrase="another-passphrase"), form=TS) as wrong:
            wrong.ended(house)
            assert wrong.process.returncode != 0
        with Encoder(address(house), form=TS) as clear:
            clear.ended(house)
            assert clear.process.returncode != 0
        with Encoder(address(house, passphrase=PASSPHRASE), form=TS):
            live_with(house, video="h264", audio="aac")
            url = address(house, "#!::r=acme/demo,m=request", passphrase=PASSPHRASE)
            decoded = play(house, url)
            assert decoded["video"] >= RATE


def test_libsrt_of_debian_forwards_a_transport_stream(house: House) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = f"udp://127.0.0.1:{port}?mode=listener"
    forwarder = subprocess.Popen(
        ["srt-live-transmit", "-q", source, address(house)], stdout=subprocess.DEVNULL
    )
    try:
        into = f"udp://127.0.0.1:{port}?pkt_size=1316"
        with Encoder(into, form=TS):
            live_with(house, video="h264", audio="aac")
    finally:
        forwarder.terminate()
        forwarder.wait()


def test_no_picture_is_lost_at_ten_percent_loss(house: House) -> None:
    assert house.engine.srt_port is not None
    source = f"rtmp://127.0.0.1:{house.engine.rtmp_port}/acme/demo"
    player = subprocess.Popen(
        [
            *(DEBIAN, "-loglevel", "error", "-i", source),
            *("-map", "0:v", "-c", "copy", "-f", "framecrc", "-"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    house.event("admission_asked", action="play")
    with Relay(house.engine.srt_port, seed=7) as relay:
        through = address(house, port=relay.port, latency="120000", linger="2")
        with Encoder(through, program=NEWEST, form=TS, seconds=SECONDS) as encoder:
            live_with(house, video="h264", audio="aac")
            relay.network = Network(loss=0.1, delay=0.01)
            encoder.ended(house, SECONDS + 20)
        assert relay.lost > 100
    house.event("source_ended")
    house.engine.close()
    with player:
        watched(house, player, 10)
        assert player.stdout is not None
        times = [int(line.split(",")[2]) for line in player.stdout if line[0].isdigit()]
    steps = {later - earlier for earlier, later in pairwise(times)}
    assert steps <= {40, 39, 41}, sorted(steps)
    # What is under way when the encoder hangs up goes down with the connection: half a second.
    assert len(times) >= SECONDS * RATE - RATE // 2
