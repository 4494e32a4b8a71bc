"""`stagecast bench` against a real engine: what it reports, and what it refuses."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stagecast.cli import app as cli
from tests.media.house import House
from tests.media.signalling import TOKEN, Signalling

RUNNER = CliRunner()
# Small pictures: encoding them once takes a fraction of a second.
SMALL = ("--size", "160x90", "--bitrate", "200k", "--gop", "1")


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Signalling]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with House() as house, Signalling(house) as made:
        yield made


def bench(*arguments: str, status: int = 0) -> str:
    """What it prints; of one that ends well without its progress."""
    result = RUNNER.invoke(cli, ["bench", *arguments])
    assert result.exit_code == status, result.output
    return result.output if status else result.stdout


def whep(door: Signalling, *arguments: str) -> dict[str, Any]:
    return json.loads(
        bench(
            *(
                "whep",
                door.whep,
                "--token",
                TOKEN,
                "--publish",
                door.whip,
                "--publish-token",
                TOKEN,
            ),
            *("--settle", "0.5", "--duration", "2", "--json", "-", *SMALL, *arguments),
        )
    )


def test_viewers_play_and_what_they_cost_is_reported(door: Signalling, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = whep(
        door, "--viewers", "8", "--rate", "40", "--pid", str(os.getpid()), "--html", str(page)
    )
    figures, window = result["result"], result["result"]["window"]
    assert (figures["viewers"], figures["playing"], window["active"]) == (8, 8, 8)
    assert figures["join_ms"]["keyframe"]["count"] == 8
    # Undecryptable would be a fault of keys or of replay windows.
    assert (window["lost"], window["undecryptable"]) == (0, 0)
    assert window["delay_ms"]["first_packet"]["count"] > 100
    assert 0 < window["delay_ms"]["last_packet"]["p50"] < 1000
    assert figures["publishers"]["live"] == 1
    assert result["server"]["cpu_us_per_packet"] > 0
    assert result["joins_failed"] == {}
    assert [row["phase"] for row in result["seconds"]].count("measure") >= 1
    assert "<svg" in page.read_text() or len(result["seconds"]) < 2
    # Nine sessions were made, and every one was deleted.
    assert len(door.deleted) == door.posts == 9


def test_losses_are_injected_seen_and_repaired(door: Signalling) -> None:
    result = whep(door, "--viewers", "3", "--loss", "10", "--delay", "10", "--no-audio")
    window = result["result"]["window"]
    assert 0.02 < window["missed"] / window["expected"] < 0.3
    assert window["nacks"] > 0
    assert window["filled"] > window["lost"]


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1"])
def test_every_codec_can_be_published_and_played(door: Signalling, codec: str) -> None:
    figures = whep(door, "--viewers", "2", "--codec", codec)["result"]
    assert figures["playing"] == 2
    assert figures["window"]["delay_ms"]["last_packet"]["count"] > 0


def test_publishers_alone_are_measured(door: Signalling) -> None:
    said = bench(
        *("publish", door.whip, "--token", TOKEN, "--duration", "1", "--ignore-pli"),
        *("--json", "-", *SMALL),
    )
    result = json.loads(said)
    sent = result["result"]["publishers"]
    assert (sent["count"], sent["live"]) == (1, 1)
    assert sent["frames"] >= 20
    assert result["server"] is None
    assert len(door.deleted) == 1


def test_the_result_is_printed_for_people_too(door: Signalling) -> None:
    said = bench("publish", door.whip, "--token", TOKEN, "--duration", "1", *SMALL)
    assert "publishers" in said
    assert "1 of 1 live" in said


def test_stream_that_is_refused_or_not_there_ends_with_a_reason(door: Signalling) -> None:
    assert "401" in bench("whep", door.whep, "--duration", "1", status=1)
    door.refuse = 503
    said = bench("publish", door.whip, "--token", TOKEN, *SMALL, status=1)
    assert "The publisher was refused" in said
    assert "503" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("whep", "http://192.0.2.1/whep"),
        ("whep", "http://127.0.0.1/whep", "--publish", "http://192.0.2.1/whip"),
        ("publish", "http://192.0.2.1/whip"),
    ],
)
def test_another_machine_is_not_loaded_unasked(arguments: tuple[str, ...]) -> None:
    assert "--allow-remote" in bench(*arguments, status=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--viewers", "0"),
        ("--viewers", "10001"),
        ("--rate", "0"),
        ("--duration", "3601"),
        ("--loss", "91"),
        ("--threads", "65"),
        ("--codec", "h263"),
        ("--pid", "0"),
    ],
)
def test_what_is_out_of_bounds_is_refused(arguments: tuple[str, ...]) -> None:
    bench("whep", "http://127.0.0.1/whep", *arguments, status=2)


def test_process_that_is_not_there_is_said_at_once() -> None:
    said = bench("whep", "http://127.0.0.1:9/whep", "--pid", "4194304", status=1)
    assert "no process 4194304" in said


def test_several_publishers_need_several_streams() -> None:
    assert "{n}" in bench("publish", "http://127.0.0.1/whip", "--publishers", "2", status=2)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Signalling]:
    """A core with LL-HLS whose questions are answered while a command runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    hls = {"bind": ["127.0.0.1"], "port": 0}
    with House(hls=hls) as house, Signalling(house) as made:
        done = threading.Event()

        def answer() -> None:
            while not done.wait(0.005):
                house.take_events()

        answering = threading.Thread(target=answer)
        answering.start()
        try:
            yield made
        finally:
            done.set()
            answering.join()


@pytest.mark.parametrize("manners", [(), ("--no-hints", "--no-deltas")])
def test_players_of_hls_get_every_part(stage: Signalling, manners: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{stage.house.engine.hls_port}/demo/manifest/video.m3u8"
    result = json.loads(
        bench(
            *("hls", url, "--publish", stage.whip, "--publish-token", TOKEN, "--players", "12"),
            *("--rate", "50", "--settle", "0.5", "--duration", "3", "--json", "-"),
            *("--pid", str(os.getpid()), *SMALL, *manners),
        )
    )
    figures, window = result["result"], result["result"]["window"]
    assert (figures["players"], figures["playing"], window["active"]) == (12, 12, 12)
    # Five parts a second, of video and of audio.
    assert window["parts"] >= 12 * 3 * 2 * 4
    assert (window["missed"], window["errors"]) == (0, 0)
    assert (window["hinted"] > 0) is (not manners)
    assert window["requests"] >= window["parts"] + window["playlists"]
    assert window["part_age_ms"]["count"] >= 12 * 3 * 4
    assert 0 < window["part_age_ms"]["p50"] < 1000
    assert result["server"]["cpu_us_per_request"] > 0


def test_players_of_nothing_say_why(stage: Signalling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagecast.media.load.players.LIVE_PATIENCE", 0.5)
    url = f"http://127.0.0.1:{stage.house.engine.hls_port}/demo/manifest/video.m3u8"
    said = bench("hls", url, status=1)
    assert "The first player does not play: http 404 The stream is not live." in said
    said = bench("hls", url.replace("http:", "https:"), status=1)
    assert "plain HTTP only" in said
