"""RTMP from real encoders and to real players: what is asked, what goes live, what is refused."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stagecast.kit.certificate import ensure_self_signed
from tests.media.encoder import DEBIAN, NEWEST, RATE, Encoder, play
from tests.media.house import STREAM, House, until

STALL = 1.5
REFUSAL = {"verdict": "refuse", "code": "unauthorized", "message": "There is no such key."}
NEW_CODECS = ("-rtmp_enhanced_codecs", "hvc1,av01,vp09,Opus,fLaC", "-f", "flv")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    certificate, key = ensure_self_signed(tmp_path, ["localhost", "127.0.0.1"])
    tls = {"port": 0, "certificate": str(certificate), "key": str(key)}
    rtmp = {"bind": ["127.0.0.1"], "port": 0, "tls": tls, "stall_timeout_ms": round(STALL * 1000)}
    with House(rtmp=rtmp) as made:
        yield made


def address(house: House, path: str = "v2/pub/cam?token=secret", *, tls: bool = False) -> str:
    if tls:
        return f"rtmps://127.0.0.1:{house.engine.rtmps_port}/{path}"
    return f"rtmp://127.0.0.1:{house.engine.rtmp_port}/{path}"


def codecs(live: dict[str, Any]) -> dict[str, str]:
    return {track["track"]: track["codec"] for track in live["tracks"]}


def live_with(house: House, **wanted: str) -> dict[str, Any]:
    """Wait until the source has just these tracks; the event that says so."""

    def found() -> dict[str, Any] | None:
        house.take_events()
        live = (event for event in house.events if event["type"] == "source_live")
        return next((event for event in live if codecs(event) == wanted), None)

    return until(f"a source with {wanted}", found)


@pytest.mark.parametrize("program", [DEBIAN, NEWEST])
def test_encoder_is_asked_for_its_key_and_goes_live(house: House, program: str) -> None:
    with Encoder(address(house, "v2/pub/cam?token=a%2Bb&record"), program=program):
        asked = house.event("admission_asked")
        assert asked["protocol"] == "rtmp"
        assert asked["action"] == "publish"
        assert asked["path"] == "v2/pub/cam"
        assert asked["query"] == [["token", "a+b"], ["record", ""]]
        assert asked["remote"] == "127.0.0.1"
        session = house.event("session_connected", kind="publisher", protocol="rtmp")
        live_with(house, video="h264", audio="aac")
    ended = house.event("session_ended", session=session["session"])
    assert ended["reason"] == "peer_closed"


def test_stream_key_is_asked_for_as_it_stands(house: House) -> None:
    key = "f26566285faca6fbe2e79a73a66"
    with Encoder(address(house, f"live/{key}")):
        asked = house.event("admission_asked")
        assert (asked["path"], asked["query"]) == (f"live/{key}", [])


def test_wrong_key_is_refused_at_publish_in_words(house: House) -> None:
    house.door = lambda _asked: REFUSAL
    with Encoder(address(house)) as encoder:
        assert REFUSAL["message"] in encoder.ended(house)
        assert encoder.process.returncode != 0
    assert not house.engine.is_live(STREAM, None)


@pytest.mark.parametrize(("video", "codec"), [("h265", "h265"), ("av1", "av1"), ("vp9", "vp9")])
def test_enhanced_codecs_go_live_and_are_played(house: House, video: str, codec: str) -> None:
    with Encoder(address(house), program=NEWEST, video=video, audio="opus", form=NEW_CODECS):
        live_with(house, video=codec, audio="opus")
        options = ("-rtmp_enhanced_codecs", "hvc1,av01,vp09,Opus")
        decoded = play(house, address(house, "acme/demo"), *options, program=NEWEST)
        assert decoded["video"] >= RATE
        assert decoded["audio"] >= 50


def test_codec_that_is_not_carried_is_refused_in_words(house: House) -> None:
    with Encoder(address(house), program=NEWEST, audio="flac", form=NEW_CODECS) as encoder:
        assert "fLaC audio is not supported" in encoder.ended(house)


@pytest.mark.parametrize("program", [DEBIAN, NEWEST])
@pytest.mark.parametrize("video", ["h264", "h264-bframes"])
def test_player_gets_picture_and_sound_from_a_keyframe_on(
    house: House, program: str, video: str
) -> None:
    with Encoder(address(house), video=video):
        live_with(house, video="h264", audio="aac")
        decoded = play(house, address(house, "acme/demo"), program=program)
        assert house.event("admission_asked", action="play")["path"] == "acme/demo"
        # Two seconds of both; the last picture may be cut off.
        assert decoded["video"] >= 2 * RATE - 2
        assert decoded["audio"] >= 90


def test_rtmps_has_the_certificate_of_the_settings(house: House, tmp_path: Path) -> None:
    certificate = (tmp_path / "self-signed.crt").read_text()
    port = house.engine.rtmps_port
    assert port is not None
    shown = ssl.get_server_certificate(("127.0.0.1", port))
    assert ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(certificate)
    trusting = ("-ca_file", str(tmp_path / "self-signed.crt"), "-f", "flv")
    with Encoder(address(house, tls=True), program=NEWEST, form=trusting):
        house.event("session_connected", kind="publisher", protocol="rtmps")
        live_with(house, video="h264", audio="aac")


def test_publisher_that_stalls_is_dropped(house: House) -> None:
    with Encoder(address(house)) as encoder:
        live_with(house, video="h264", audio="aac")
        encoder.freeze()
        assert house.event("session_ended", kind="publisher")["reason"] == "stalled"
    house.event("source_ended", stream=STREAM)


def test_publisher_that_comes_again_takes_over(house: House) -> None:
    with Encoder(address(house)):
        first = live_with(house, video="h264", audio="aac")
        with Encoder(address(house)) as second:
            replaced = house.event("session_ended", session=first["session"])
            assert replaced["reason"] == "replaced"
            assert house.engine.is_live(STREAM, None)
            assert second.process.poll() is None


def test_stranger_that_speaks_no_rtmp_is_closed_at_once(house: House) -> None:
    answer = subprocess.run(
        ["curl", "-s", "-m", "5", f"http://127.0.0.1:{house.engine.rtmp_port}/"],
        capture_output=True,
        check=False,
    )
    # 52: closed without a word, 56: reset; 28 would be a timeout.
    assert answer.returncode in {52, 56}
