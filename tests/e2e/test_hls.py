"""LL-HLS of a real publisher: in ffprobe, and in hls.js on the hosted viewer."""

from __future__ import annotations

import asyncio
import json
import re
import shutil

import httpx2

from tests.e2e import ffmpeg
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.player import FIND, plays, size
from tests.e2e.server import Server, Token

# What hls.js plays has no MediaStream to listen to; Chromium counts what it decoded.
HEARS = f"() => {{ {FIND} return video.webkitAudioDecodedByteCount > 10_000; }}"


async def playlist(server: Server, token: Token) -> str:
    """Where the stream is played, as the server says."""
    async with httpx2.AsyncClient() as client:
        told = (await client.get(f"{server.url}/viewer/playback.json")).json()
    return f"{told['hls']}/{token.account}/{token.stream}/manifest/video.m3u8"


async def probe(url: str) -> dict[str, str]:
    """The codecs that ffprobe decodes at an address, by kind, each with at least a second of frames."""
    ffprobe = shutil.which("ffprobe")
    assert ffprobe is not None
    process = await asyncio.create_subprocess_exec(
        *(ffprobe, "-v", "error", "-count_frames", "-read_intervals", "%+2"),
        *("-show_entries", "stream=codec_type,codec_name,nb_read_frames", "-of", "json", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, errors.decode()
    assert errors == b"", errors.decode()
    streams = json.loads(output)["streams"]
    assert all(int(stream.get("nb_read_frames", 0)) >= 20 for stream in streams), streams
    return {stream["codec_type"]: stream["codec_name"] for stream in streams}


async def test_a_whip_stream_plays_as_hls_in_ffprobe_and_in_hls_js(
    server: Server, open_page: Open
) -> None:
    token = await server.token("by-hls")
    async with await ffmpeg.Publisher.start(token):
        await until(token.live, what="ffmpeg is live")
        url = await playlist(server, token)
        async with httpx2.AsyncClient(timeout=20) as client:
            answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        assert re.search(r'CODECS="avc1\.[0-9a-f]{6},(opus|mp4a\.40\.2)"', answer.text), answer.text
        # It begins faster than real time, which makes its pictures no shorter.
        assert "FRAME-RATE=30.000" in answer.text, answer.text
        found = await probe(url)
        assert found["video"] == "h264"
        assert found["audio"] in {"opus", "aac"}
        viewer = await open_page()
        await viewer.goto(f"{token.viewer}&protocol=hls")
        await plays(viewer, deadline=40)
        assert await size(viewer) == (1280, 720)
        await viewer.until(HEARS, what="sound is decoded")
        assert await viewer.evaluate(f"() => {{ {FIND} return video.srcObject === null; }}")
        await viewer.wait("::-p-text(LIVE)")


async def test_hls_of_a_stream_that_is_not_live_is_not_found(server: Server) -> None:
    token = await server.token("no-hls")
    url = await playlist(server, token)
    async with httpx2.AsyncClient() as client:
        answer = await client.get(url)
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == "*"
