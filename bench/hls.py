"""LL-HLS, glass to glass: capture of a picture → its display in hls.js on the hosted viewer in Chromium.

The publisher captures and encodes in real time; its capture time travels in RTCP, through the segmenter, into
the playlist's program date time, which hls.js maps to what is on the screen. Server, publisher and browser have
one clock.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from bench.figures import spread
from bench.publishers import ffmpeg
from bench.server import Server
from tests.e2e.browser import Driver

SAMPLE_SECONDS = 0.25
# A player starts behind and comes nearer by playing a little faster.
SETTLE_SECONDS = 10

_PAGE = """() => {
    const player = document.querySelector('stagecast-player');
    const video = player.shadowRoot.querySelector('video');
    if (!window.stalls) {
        window.stalls = { count: 0 };
        video.addEventListener('waiting', () => { window.stalls.count += 1; });
    }
    const { totalVideoFrames, droppedVideoFrames } = video.getVideoPlaybackQuality();
    return JSON.stringify({
        latency: player.latency, at: video.currentTime, stalls: window.stalls.count,
        frames: totalVideoFrames, dropped: droppedVideoFrames,
    });
}"""


def measure(seconds: float) -> dict[str, Any]:
    with Server() as server, ffmpeg(server):
        return asyncio.run(_watch(f"{server.viewer}&protocol=hls", seconds))


async def _watch(url: str, seconds: float) -> dict[str, Any]:
    driver = await Driver.start()
    try:
        async with await driver.open("chromium") as page:
            began = time.monotonic()
            await page.goto(url)
            started = 0.0
            samples: list[dict[str, Any]] = []
            while time.monotonic() < began + SETTLE_SECONDS + seconds:
                await asyncio.sleep(SAMPLE_SECONDS)
                sample = json.loads(await page.evaluate(_PAGE))
                if sample["frames"] and not started:
                    started = time.monotonic() - began
                if time.monotonic() > began + SETTLE_SECONDS and sample["latency"] is not None:
                    samples.append(sample)
    finally:
        await driver.stop()
    if len(samples) < 2:
        raise RuntimeError("nothing was played")
    first, last = samples[0], samples[-1]
    return {
        "latency_ms": spread([sample["latency"] * 1000 for sample in samples]),
        "first_picture_ms": round(started * 1000),
        "stalls": last["stalls"] - first["stalls"],
        "frames": last["frames"] - first["frames"],
        "dropped": last["dropped"] - first["dropped"],
        "seconds": round(last["at"] - first["at"], 1),
    }
