"""The WHIP publisher and the WHEP viewer of the command line: what they say, and how they come back."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stagecast.cli_media import publish, watch
from stagecast.media.client import NotLive, Refused, Unreachable, Wanted, connect
from stagecast.media.encoding import Picture
from stagecast.media.publishing import Publisher
from stagecast.media.sources import TestPattern
from stagecast.media.watching import Watcher
from tests.media.clips import Sender, clip
from tests.media.house import House, until
from tests.media.signalling import TOKEN, Signalling

SMALL = Picture("vp8", 320, 180, 30, 400_000)


@pytest.fixture
def signalling(house: House) -> Iterator[Signalling]:
    with Signalling(house) as made:
        yield made


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.command("publish")(publish)
    app.command("watch")(watch)
    return app


@contextmanager
def publishing(signalling: Signalling) -> Generator[Publisher]:
    source = TestPattern(SMALL)
    publisher = Publisher(signalling.whip, source, token=TOKEN)
    thread = threading.Thread(target=publisher.run)
    thread.start()
    try:
        signalling.house.live()
        yield publisher
    finally:
        publisher.stop()
        thread.join()
        source.close()


def test_leaving_a_session_deletes_it(signalling: Signalling) -> None:
    with Sender(signalling.house.publisher(), clip()):
        signalling.house.live()
        with connect(signalling.whep, Wanted(role="watch"), token=TOKEN) as session:
            assert session.next_frame(10) is not None
        assert signalling.deleted == [session.resource.rpartition("/")[2]]
        session.close()
        assert len(signalling.deleted) == 1
        assert session.next_frame(0) is None or not session.alive


def test_refusals_say_what_to_do(signalling: Signalling) -> None:
    watching = Wanted(role="watch")
    with pytest.raises(Refused, match="valid subscribe token with --token") as refused:
        connect(signalling.whep, watching)
    assert refused.value.status == 401
    with pytest.raises(NotLive, match="Start a publisher first"):
        connect(signalling.whep, watching, token=TOKEN)
    signalling.refuse = 503
    with pytest.raises(Unreachable, match="busy"):
        connect(signalling.whep, watching, token=TOKEN)
    signalling.refuse = 404
    with pytest.raises(Refused, match="/api/whep/ACCOUNT/NAME"):
        connect(signalling.whep, watching, token=TOKEN)
    signalling.refuse = 200
    with pytest.raises(Refused, match="200"):
        connect(signalling.whep, watching, token=TOKEN)
    with pytest.raises(Unreachable, match="Is the server running"):
        connect("http://127.0.0.1:9/whep", watching)
    with pytest.raises(Refused, match="http://"):
        connect("whep://host/x", watching)


def test_no_media_path_is_said_with_the_addresses(signalling: Signalling) -> None:
    publishes = Wanted(role="publish", codecs=["vp8"])
    with House(tcp=False) as udp_only, Signalling(udp_only) as other:
        wanted = Wanted(role="publish", codecs=["vp8"], transport="tcp")
        with pytest.raises(Unreachable, match="Tcp"):
            connect(other.whip, wanted, token=TOKEN)
        assert len(other.deleted) == 1
    with connect(signalling.whip, publishes, token=TOKEN) as session:
        assert session.alive


def test_publisher_comes_back_after_the_server_ended_its_session(signalling: Signalling) -> None:
    house = signalling.house
    with publishing(signalling) as publisher:
        first = house.event("source_live")["session"]
        assert house.engine.end_session(first, "stopped")
        until("a second session", lambda: signalling.posts >= 2 or None)
        house.live()
        watcher = Watcher(signalling.whep, token=TOKEN)
        seen = watcher.run(3)
    assert publisher.result.reconnects == 1
    assert seen.decoded > 10


def test_publisher_ends_when_it_is_refused_later(signalling: Signalling) -> None:
    source = TestPattern(SMALL, audio=False)
    publisher = Publisher(signalling.whip, source, token=TOKEN)
    refused: list[Refused] = []

    def run() -> None:
        try:
            publisher.run()
        except Refused as error:
            refused.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        live = signalling.house.event("source_live")
        signalling.refuse = 403
        signalling.house.engine.end_session(live["session"], "stopped")
        thread.join(15)
        assert [error.status for error in refused] == [403]
    finally:
        publisher.stop()
        thread.join()
        source.close()


def test_watcher_waits_for_the_stream(signalling: Signalling) -> None:
    watcher = Watcher(signalling.whep, token=TOKEN, wait=20)
    thread = threading.Thread(target=watcher.run, args=(1.5,))
    thread.start()
    until("the watcher has asked", lambda: signalling.posts or None)
    with publishing(signalling):
        thread.join()
    assert watcher.result.decoded > 20


def test_watcher_measures_what_it_decoded(signalling: Signalling) -> None:
    with publishing(signalling):
        report = Watcher(signalling.whep, token=TOKEN).run(3).report()
    assert (report["codec"], report["width"], report["height"]) == ("vp8", 320, 180)
    assert report["audio_codec"] == "opus"
    assert report["loss"] == 0
    assert report["decode_errors"] == 0
    assert 25 < report["fps"] < 35
    assert report["join_ms"] > 0
    assert report["protocol"] == "udp"


def test_watch_prints_one_json_object(signalling: Signalling, command: typer.Typer) -> None:
    with publishing(signalling):
        arguments = ["watch", signalling.whep, "--token", TOKEN, "--seconds", "1.5", "--json"]
        ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["frames"] > 20


def test_watch_fails_without_a_picture(signalling: Signalling, command: typer.Typer) -> None:
    arguments = ["watch", signalling.whep, "--token", TOKEN, "--json"]
    ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 1
    assert "not live" in json.loads(ran.stdout)["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either a FILE or --test-pattern"),
        (["--test-pattern", "--size", "100"], "1280x720"),
        (["--test-pattern", "--size", "101x100"], "even"),
        (["--test-pattern", "--bitrate", "fast"], "not a bitrate"),
        (["--test-pattern", "--bitrate", "1"], "not a bitrate"),
    ],
)
def test_publish_explains_wrong_options(
    command: typer.Typer, arguments: list[str], said: str
) -> None:
    ran = CliRunner().invoke(command, ["publish", "--to", "http://127.0.0.1:9/x", *arguments])
    assert ran.exit_code == 2
    assert said in " ".join(ran.output.replace("│", " ").split())


def test_publish_says_that_a_file_is_no_media(
    signalling: Signalling, command: typer.Typer, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no film")
    arguments = ["publish", str(path), "--to", signalling.whip, "--token", TOKEN]
    ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 1
    assert "cannot be read" in ran.output
