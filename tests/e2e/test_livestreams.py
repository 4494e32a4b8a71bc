"""Livestreams as the product text tells them: two curl commands, one ffmpeg command, and what comes of it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
import pytest_asyncio
from imageio_ffmpeg import get_ffmpeg_exe

from tests.e2e.deadline import until
from tests.e2e.livestreams import Livestream, Livestreams
from tests.e2e.server import Api, Server

LIVE_WITHIN = 3.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(server: Server) -> Api:
    return await server.api()


@pytest.fixture
def livestreams(api: Api) -> Livestreams:
    return Livestreams(api)


async def curl(*arguments: str) -> Any:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    process = await asyncio.create_subprocess_exec(
        program, "--silent", "--show-error", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 15)
    return json.loads(output)


@asynccontextmanager
async def sending(
    address: str,
    *encoding: str,
    format: str = "flv",  # noqa: A002  (ffmpeg's word)
    source: str = "testsrc=size=1280x720 [out0]; sine=frequency=500 [out1]",
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The product text's ffmpeg command, with this address."""
    process = await asyncio.create_subprocess_exec(
        get_ffmpeg_exe(),
        *("-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi"),
        *("-i", source),
        *(encoding or ("-acodec", "aac", "-vcodec", "h264")),
        *("-f", format, address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_two_curl_commands_answer_the_fields_of_the_product_text(api: Api) -> None:
    created = await curl(
        "--location", "--request", "POST", f"{api.url}/livestreams",
        "--header", "Content-Type: application/json",
        "--header", f"Authorization: Bearer {api.token}",
        "--data-raw", '{ "name": "test_livestream" }',
    )  # fmt: skip
    assert created["success"] is True
    made = created["data"]
    fields = {
        "status", "name", "meeting_id", "ingest_server", "id", "stream_key", "playback_url",
    }  # fmt: skip
    assert fields <= made.keys()
    assert (made["status"], made["name"], made["meeting_id"]) == (
        "OFFLINE",
        "test_livestream",
        None,
    )
    assert re.fullmatch(r"rtmp://127\.0\.0\.1:\d+/live/", made["ingest_server"])

    fetched = await curl(
        "--location", "--request", "GET", f"{api.url}/livestreams/{made['id']}",
        "--header", f"Authorization: Bearer {api.token}",
    )  # fmt: skip
    assert fetched["success"] is True
    assert {**{name: made[name] for name in fields}, "ingest_seconds": 0, "viewer_seconds": 0} == {
        name: fetched["data"][name] for name in (*fields, "ingest_seconds", "viewer_seconds")
    }


async def test_the_ffmpeg_command_goes_live_within_3_seconds_and_counts(
    livestreams: Livestreams,
) -> None:
    made = await livestreams.create("rtmp")
    server_and_key = made.fields["ingest_server"] + made.key

    began = time.monotonic()
    async with sending(server_and_key):
        await until(
            lambda: _status_is(livestreams, made, "LIVE"),
            deadline=15,
            what="the livestream is LIVE",
        )
        print(f"LIVE {time.monotonic() - began:.2f} s after ffmpeg was started")
        await until(
            lambda: _counted(livestreams, made, 3), deadline=15, what="3 seconds are counted"
        )
        active = await livestreams.call("GET", f"/{made.id}/active-livestream-session")
        session = active["session"]
        assert session["stopped_time"] is None
        # From when the encoder was let in: how fast ffmpeg starts is the machine's.
        came_in = datetime.fromisoformat(session["invoked_time"])
        went_live = datetime.fromisoformat(session["started_time"])
        assert (went_live - came_in).total_seconds() <= LIVE_WITHIN
    await until(
        lambda: _status_is(livestreams, made, "IDLE"), deadline=5, what="the livestream is IDLE"
    )
    details = await livestreams.get(made)
    assert details["session"]["stopped_time"] is not None
    lasted = time.monotonic() - began
    assert 3 <= details["ingest_seconds"] <= lasted


async def test_a_livestream_takes_srt_with_its_key(livestreams: Livestreams) -> None:
    made = await livestreams.create("srt")
    encoding = ("-acodec", "aac", "-vcodec", "h264", "-pix_fmt", "yuv420p", "-g", "50")
    async with sending(made.fields["srt_url"], *encoding, format="mpegts"):
        await until(lambda: _status_is(livestreams, made, "LIVE"), deadline=15, what="it is LIVE")
        await until(lambda: _counted(livestreams, made, 1), deadline=15, what="a second is counted")


async def test_a_wrong_key_is_refused(livestreams: Livestreams) -> None:
    made = await livestreams.create("wrong")
    async with sending(made.fields["ingest_server"] + "0" * 64) as process:
        assert process.stderr is not None
        text = (await asyncio.wait_for(process.stderr.read(), 15)).decode()
        assert await asyncio.wait_for(process.wait(), 15) != 0
    assert text
    assert await livestreams.status(made) == "OFFLINE"


async def test_a_crash_while_live_loses_at_most_a_second(tmp_path: Path) -> None:
    server = await Server.start("crash", tmp_path / "data")
    livestreams = Livestreams(await server.api())
    made = await livestreams.create("crash")
    address = made.fields["ingest_server"] + made.key
    try:
        async with sending(address):
            await until(lambda: _counted(livestreams, made, 2), deadline=15, what="it counts")
            session = (await livestreams.get(made))["session"]["id"]
            assert server.process is not None
            killed_at = time.monotonic()
            sent = (await livestreams.get(made))["ingest_seconds"]
            server.process.send_signal(signal.SIGKILL)
            await server.process.wait()
        before = sent + (time.monotonic() - killed_at)
        await server.run()
        details = await livestreams.get(made)
        assert details["stream_key"] == made.key
        assert (details["status"], details["session"]["id"]) == ("IDLE", session)
        assert details["session"]["stopped_time"] is not None
        assert sent <= details["ingest_seconds"] <= before
        address = details["ingest_server"] + made.key
        async with sending(address):
            await until(
                lambda: _counted(livestreams, made, details["ingest_seconds"] + 1),
                deadline=15,
                what="it goes on",
            )
            resumed = await livestreams.get(made)
        assert [one["id"] for one in resumed["sessions"]] == [session]
    finally:
        await server.stop()


async def _counted(livestreams: Livestreams, made: Livestream, seconds: float) -> bool:
    return (await livestreams.get(made))["ingest_seconds"] >= seconds


async def test_the_playback_url_plays_and_counts_its_players(livestreams: Livestreams) -> None:
    made = await livestreams.create("hls")
    # Keyframes as the dashboard's command has them: the text's one comes every ten seconds.
    encoding = ("-acodec", "aac", "-vcodec", "h264", "-pix_fmt", "yuv420p", "-g", "50")
    async with (
        sending(made.fields["ingest_server"] + made.key, *encoding),
        httpx2.AsyncClient(timeout=15) as player,
    ):
        await until(lambda: _status_is(livestreams, made, "LIVE"), deadline=15, what="it is LIVE")
        address = made.fields["playback_url"]
        answer = await player.get(address)
        assert answer.status_code == 200, answer.text
        names = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
        assert names, answer.text

        async def watched() -> bool:
            playlist = await player.get(urljoin(address, names[0]))
            assert playlist.status_code == 200, playlist.text
            return (await livestreams.get(made))["viewer_seconds"] >= 2

        began = time.monotonic()
        await until(watched, deadline=20, what="2 seconds are watched")
        counted = (await livestreams.get(made))["viewer_seconds"]
        assert counted <= time.monotonic() - began + 1
        await livestreams.call("PUT", f"/{made.id}/disable")
        await until(lambda: _status_is(livestreams, made, "IDLE"), deadline=5, what="it is IDLE")

        async def refused() -> bool:
            return (await player.get(f"{address}?another=player")).status_code == 403

        # What the control plane said is remembered for five seconds.
        await until(refused, deadline=10, what="a new player is refused")


async def _status_is(livestreams: Livestreams, made: Livestream, wanted: str) -> bool:
    return await livestreams.status(made) == wanted
