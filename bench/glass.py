"""RTMP in, WHEP and LL-HLS out, glass to glass: a picture says when it was made, and a page reads that off the screen.

Raw pictures with the time of day as a row of blocks go to ffmpeg, which encodes them as an encoder of a person would
and sends them by RTMP. Each page draws what its video shows and reads the blocks. The machine has one clock.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe

from bench.figures import spread
from bench.publishers import BITRATE, GOP_SECONDS, until_live
from bench.server import Server
from tests.e2e.browser import Driver

WIDTH, HEIGHT, RATE = 1280, 720, 30
BLOCK, BITS = 40, 24
SETTLE_SECONDS = 10

# Two blocks that are always white and black, the bits, and the number of ones among them, so that no picture that is
# half decoded counts.
_COUNT_BITS = 5
_BLOCKS = 2 + BITS + _COUNT_BITS

_READ = f"""() => {{
    const player = document.querySelector('stagecast-player');
    const video = player.shadowRoot.querySelector('video');
    const canvas = new OffscreenCanvas({_BLOCKS}, 1);
    const context = canvas.getContext('2d', {{ willReadFrequently: true }});
    const bits = (pixels, from, count) =>
        Array.from({{ length: count }}, (_, i) => pixels[(from + i) * 4] > 127 ? 1 : 0);
    window.glass = {{ delays: [], stalls: 0 }};
    video.addEventListener('waiting', () => {{ window.glass.stalls += 1; }});
    const look = (_, {{ expectedDisplayTime }}) => {{
        for (let i = 0; i < {_BLOCKS}; i += 1)
            context.drawImage(video, i * {BLOCK} + 16, 16, 8, 8, i, 0, 1, 1);
        const pixels = context.getImageData(0, 0, {_BLOCKS}, 1).data;
        const code = bits(pixels, 2, {BITS});
        const ones = Number.parseInt(bits(pixels, {2 + BITS}, {_COUNT_BITS}).join(''), 2);
        const sure = pixels[0] > 200 && pixels[4] < 60 && ones === code.reduce((a, b) => a + b, 0);
        const shown = Math.max(Date.now(), performance.timeOrigin + expectedDisplayTime);
        const span = 2 ** {BITS};
        const made = Number.parseInt(code.join(''), 2);
        if (sure) window.glass.delays.push((((shown - made) % span) + span) % span);
        video.requestVideoFrameCallback(look);
    }};
    video.requestVideoFrameCallback(look);
    return true;
}}"""

_TAKE = """() => {
    const { delays, stalls } = window.glass;
    window.glass.delays = [];
    window.glass.stalls = 0;
    return JSON.stringify({ delays, stalls });
}"""


def measure(seconds: float) -> dict[str, Any]:
    with Server() as server, _rtmp(server):
        return asyncio.run(_watch(server, seconds))


async def _watch(server: Server, seconds: float) -> dict[str, Any]:
    driver = await Driver.start()
    results: dict[str, Any] = {}
    try:
        # One after the other: two browsers that decode share what is measured.
        for name, query in (("whep", "&protocol=webrtc"), ("hls", "&protocol=hls")):
            async with await driver.open("chromium") as page:
                await page.goto(server.viewer + query)
                await page.wait("::-p-text(LIVE)")
                await page.evaluate(_READ)
                await asyncio.sleep(SETTLE_SECONDS)
                await page.evaluate(_TAKE)
                await asyncio.sleep(seconds)
                taken = json.loads(await page.evaluate(_TAKE))
            if len(taken["delays"]) < seconds:
                raise RuntimeError(f"{name}: the time was read off {len(taken['delays'])} pictures")
            results[name] = {
                "latency_ms": spread(taken["delays"]),
                "stalls": taken["stalls"],
                "seconds": seconds,
            }
    finally:
        await driver.stop()
    return results


@contextmanager
def _rtmp(server: Server) -> Generator[None]:
    process = subprocess.Popen(
        [
            *(get_ffmpeg_exe(), "-hide_banner", "-loglevel", "fatal"),
            *("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE)),
            *("-i", "-", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"),
            *("-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency"),
            *("-pix_fmt", "yuv420p", "-g", str(int(RATE * GOP_SECONDS)), "-b:v", str(BITRATE)),
            *("-c:a", "aac", "-b:a", "128k", "-flush_packets", "1", "-f", "flv", server.rtmp),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    stop = threading.Event()
    thread = threading.Thread(target=_draw, args=(process, stop), name="pictures")
    thread.start()
    try:
        until_live(server)
        yield
    finally:
        stop.set()
        thread.join()
        process.kill()
        process.wait()


def _draw(process: subprocess.Popen[bytes], stop: threading.Event) -> None:
    """Pictures in real time: stripes that move, and the time they are handed to the encoder."""
    stripes = bytes((x * 2 + 40) % 176 + 40 for x in range(WIDTH * 2))
    began = time.monotonic()
    number = 0
    while not stop.wait(max(0.0, began + number / RATE - time.monotonic())):
        move = number * 4 % WIDTH
        row = stripes[move : move + WIDTH]
        picture = _code(int(time.time() * 1000)) * BLOCK + row * (HEIGHT - BLOCK)
        if process.stdin is None:
            return
        try:
            process.stdin.write(picture)
            process.stdin.flush()
        except OSError:
            return
        number += 1


def _code(milliseconds: int) -> bytes:
    """One line of the row of blocks."""
    value = milliseconds % (1 << BITS)
    bits = f"10{value:0{BITS}b}{value.bit_count():0{_COUNT_BITS}b}"
    line = b"".join((b"\xeb" if bit == "1" else b"\x10") * BLOCK for bit in bits)
    return line.ljust(WIDTH, b"\x10")
