"""LL-HLS of a real publisher: in ffprobe, and in hls.js on the hosted viewer."""

from __future__ import annotations

import array
import asyncio
import json
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import av
import httpx2
import pytest

from tests.e2e import ffmpeg
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.livestreams import Livestreams
from tests.e2e.player import FIND, plays, size
from tests.e2e.server import Server, Token
from tests.e2e.test_livestreams import sending

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


# A second begins with a tenth of white picture and of tone.
FLASH = "color=c=black:s={size}:r=30,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.1)'"
BEEP = "aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000"
# The same of a browser, by the clock of its sound, which goes on in steps. Pictures are made without a
# canvas on the page, whose drawing waits for the next refresh of a screen; a flash that is late is left out.
FLASH_AND_BEEP = """async (url, token) => {
    const sound = new AudioContext({ latencyHint: 'interactive' });
    const tone = new OscillatorNode(sound, { frequency: 1000 });
    const gain = new GainNode(sound, { gain: 0 });
    const output = new MediaStreamAudioDestinationNode(sound);
    tone.connect(gain).connect(output);
    for (let second = 1; second < 90; second += 1) {
        gain.gain.setValueAtTime(0.5, second);
        gain.gain.setValueAtTime(0, second + 0.1);
    }
    tone.start();
    const picture = new MediaStreamTrackGenerator({ kind: 'video' });
    const writer = picture.writable.getWriter();
    const canvas = new OffscreenCanvas(320, 180);
    const drawing = canvas.getContext('2d');
    let behind = Infinity;
    let lit = false;
    const draw = () => {
        const now = performance.now();
        behind = Math.min(behind, now - sound.currentTime * 1000);
        const at = now - behind;
        const phase = at % 1000;
        if (phase < 33) lit = phase < 10;
        else if (phase > 95) lit = false;
        drawing.fillStyle = lit ? 'white' : 'black';
        drawing.fillRect(0, 0, 320, 180);
        void writer.write(new VideoFrame(canvas, { timestamp: Math.round(now * 1000) }));
        const next = (Math.floor(at * 0.03) + 1) / 0.03;
        setTimeout(draw, next - at);
    };
    draw();
    navigator.mediaDevices.getUserMedia = async () =>
        new MediaStream([picture, ...output.stream.getTracks()]);
    return publish(url, token, { codec: 'h264' });
}"""


def flashes_and_beeps(url: str, seconds: float) -> tuple[list[float], list[float]]:
    """When each flash and each beep begins, as a player decodes and times it from the first segment on."""
    brightness: list[tuple[float, float]] = []
    loudness: list[tuple[float, float]] = []
    with av.open(url, options={"live_start_index": "0"}) as media:
        assert media.streams.audio[0].codec_context.name == "aac"
        decoding: Any = media.decode(video=0, audio=0)
        for frame in decoding:
            if isinstance(frame, av.VideoFrame):
                luma = bytes(frame.planes[0])[::997]
                brightness.append((frame.time or 0, sum(luma) / len(luma)))
                if brightness[-1][0] - brightness[0][0] > seconds:
                    break
                continue
            samples = array.array("f", bytes(frame.planes[0]))[: frame.samples]
            for at in range(0, len(samples), 48):
                loudest = max(map(abs, samples[at : at + 48]))
                loudness.append(((frame.time or 0) + at / frame.sample_rate, loudest))
    return onsets(brightness, 100), onsets(loudness, 0.1)


def onsets(signal: list[tuple[float, float]], threshold: float) -> list[float]:
    found: list[float] = []
    loud = float("-inf")
    for (_, before), (at, now) in pairwise(sorted(signal)):
        # What rings on at the end of a beep begins nothing.
        if before < threshold <= now and at - loud > 0.5:
            found.append(at)
        if now >= threshold:
            loud = at
    return found


@asynccontextmanager
async def flashing(kind: str, server: Server, rtc: Open) -> AsyncGenerator[str]:
    """A stream that flashes and beeps, by the publisher of this kind: its playlist."""
    if kind == "rtmp":
        made = await Livestreams(await server.api()).create("in-step")
        source = f"{FLASH.format(size='320x180')} [out0]; {BEEP} [out1]"
        x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p")
        address = made.fields["ingest_server"] + made.key
        async with sending(address, *x264, "-c:a", "aac", source=source):
            yield made.fields["playback_url"]
        return
    token = await server.token(f"in-step-{kind}")
    url = await playlist(server, token)
    if kind == "ffmpeg":
        publisher = ffmpeg.Publisher.start(token, size="320x180", picture=FLASH, sound=BEEP)
        async with await publisher:
            yield url
        return
    page = await rtc()
    answer = await page.evaluate(FLASH_AND_BEEP, token.whip, token.secret)
    assert answer["status"] == 201, answer
    yield url


@pytest.mark.parametrize("kind", ["ffmpeg", "chromium", "rtmp"])
async def test_sound_is_aac_and_in_step_with_the_picture_from_the_start(
    server: Server, rtc: Open, kind: str
) -> None:
    async with flashing(kind, server, rtc) as url, httpx2.AsyncClient(timeout=20) as client:

        async def has_aac() -> bool:
            return "mp4a.40.2" in (await client.get(url)).text

        await until(has_aac, deadline=30, what="there is AAC")
        flashes, beeps = await asyncio.to_thread(flashes_and_beeps, url, 8)
    # What began before the first sound, or after the last, has nothing to be in step with.
    flashes = [flash for flash in flashes if beeps[0] - 0.5 < flash < beeps[-1] + 0.5]
    offsets = [min((beep - flash for beep in beeps), key=abs) for flash in flashes]
    print(f"{kind}: beeps before (-) or after flashes {[round(o * 1000) for o in offsets]} ms")
    assert len(offsets) >= 5
    assert all(abs(offset) <= 0.040 for offset in offsets), offsets


async def test_hls_of_a_stream_that_is_not_live_is_not_found(server: Server) -> None:
    token = await server.token("no-hls")
    url = await playlist(server, token)
    async with httpx2.AsyncClient() as client:
        answer = await client.get(url)
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == "*"
