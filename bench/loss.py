"""Real engines behind a network that loses 5 % of all datagrams and delays each by up to 50 ms, both ways.

Every engine watches with some viewers at once, so that minutes are hours for it. A freeze is what WebRTC's statistics
call one: the time between two pictures is more than three times the average and 150 ms above it. Browsers count them.
aiortc and pion show nothing; their pictures are taken to be shown as a player with a buffer of 150 ms would show them.
pion decodes nothing either: what counts is pictures that could not be made whole. It needs Go and is skipped without.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from bench.publishers import until_live
from bench.server import COMMAND, Server
from tests.e2e.browser import Driver, Engine, Page
from tests.e2e.origin import serve_pages
from tests.e2e.third_engine import DecodeErrors, Peer
from tests.relay import Network, Relay

NETWORK = Network(loss=0.05, jitter=0.05)
SEED = 1
# Joining is not what is measured here.
SETTLE_SECONDS = 5.0
# Of the player that aiortc and pion lack; browsers make theirs as long as the network's jitter asks for.
BUFFER = 0.15
# How long it remembers when pictures came.
MEMORY = 10.0

# Who watches, and what.
ENGINES: dict[str, tuple[Engine | Literal["aiortc", "pion"], str]] = {
    "chromium h264": ("chromium", "h264"),
    "chromium vp8": ("chromium", "vp8"),
    "firefox vp8": ("firefox", "vp8"),
    "aiortc h264": ("aiortc", "h264"),
    "aiortc vp8": ("aiortc", "vp8"),
    "pion h264": ("pion", "h264"),
    "pion vp8": ("pion", "vp8"),
}
_PION = Path(__file__).parent / "pion"


def measure(
    seconds: float, viewers: int, names: Sequence[str] = tuple(ENGINES)
) -> dict[str, dict[str, Any]]:
    """What each engine saw in so many seconds."""
    return {name: _measure(name, seconds, viewers) for name in names if not _missing(name)}


def skipped(names: Sequence[str] = tuple(ENGINES)) -> dict[str, str]:
    """Those that cannot be measured here, and why."""
    return {name: reason for name in names if (reason := _missing(name))}


def _missing(name: str) -> str | None:
    if ENGINES[name][0] == "pion" and shutil.which("go") is None:
        return "Go is not installed"
    return None


def _measure(name: str, seconds: float, viewers: int) -> dict[str, Any]:
    engine, codec = ENGINES[name]
    with (
        _pion() if engine == "pion" else contextlib.nullcontext() as program,
        Server() as server,
        _publisher(server, codec),
        _through(server) as relay,
    ):
        if engine == "aiortc":
            watching = _watch_aiortc(server.whep, relay.port, seconds, viewers)
        elif engine == "pion":
            watching = _watch_pion(str(program), server.whep, relay.port, seconds, viewers)
        else:
            watching = _watch_browser(engine, server.whep, relay.port, seconds, viewers)
        figures = asyncio.run(watching)
        figures["relay_late_ms"] = round(relay.late * 1000, 1)
        figures["lost_share"] = round(relay.lost / max(1, relay.lost + relay.passed), 4)
    return figures


def _through(server: Server) -> Relay:
    return Relay(server.media_port, NETWORK, seed=SEED)


@contextlib.contextmanager
def _publisher(server: Server, codec: str) -> Generator[None]:
    process = subprocess.Popen(
        [
            *(*COMMAND, "bench", "publish", server.whip, "--token", server.token),
            *("--codec", codec, "--size", "640x360", "--bitrate", "1000k", "--duration", "3600"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_live(server)
        yield
    finally:
        process.terminate()
        process.wait()


async def _watch_browser(
    engine: Engine, url: str, through: int, seconds: float, viewers: int
) -> dict[str, Any]:
    driver = await Driver.start()
    try:
        async with AsyncExitStack() as stack:
            origin = stack.enter_context(serve_pages())
            pages: list[Page] = []
            for _ in range(viewers):
                page = await stack.enter_async_context(await driver.open(engine))
                await page.goto(f"{origin}/rtc.html")
                answer = await page.evaluate(
                    "(url, through) => watch(url, undefined, { through })", url, through
                )
                if answer["status"] != 201:
                    raise RuntimeError(f"{engine} was refused: {answer}")
                pages.append(page)
            await asyncio.sleep(SETTLE_SECONDS)
            before = await _reports(pages)
            began = time.monotonic()
            await asyncio.sleep(seconds)
            took = time.monotonic() - began
            after = await _reports(pages)
    finally:
        await driver.stop()
    return _differences(before, after, took)


async def _reports(pages: list[Page]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(page.evaluate("() => report()") for page in pages)))


def _differences(
    before: list[dict[str, Any]], after: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    def total(key: str, kind: str = "video") -> float:
        pairs = zip(before, after, strict=True)
        return sum((new[kind].get(key) or 0) - (old[kind].get(key) or 0) for old, new in pairs)

    watched = seconds * len(after)
    frozen = [
        new["video"]["totalFreezesDuration"] - old["video"]["totalFreezesDuration"]
        for old, new in zip(before, after, strict=True)
    ]
    return {
        "viewers": len(after),
        "watched_seconds": round(watched, 1),
        "pictures": total("framesDecoded"),
        "dropped": total("framesDropped"),
        # A browser that cannot decode asks for a keyframe; so does one that has given a packet up.
        "decode_errors": total("pliCount"),
        "freezes": total("freezeCount"),
        "frozen_share": round(sum(frozen) / watched, 5),
        "frozen_share_worst": round(max(frozen) / seconds, 5),
        "buffer_ms": round(
            1000 * total("jitterBufferDelay") / max(1, total("jitterBufferEmittedCount"))
        ),
        "nacks": total("nackCount"),
        "lost_at_first": total("packetsLost"),
        "srtp": sorted({str(report.get("srtp")) for report in after}),
    }


async def _watch_aiortc(url: str, through: int, seconds: float, viewers: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        errors = stack.enter_context(DecodeErrors())
        peers = [await stack.enter_async_context(Peer()) for _ in range(viewers)]
        for peer in peers:
            await peer.watch(url, through=through)
        await asyncio.sleep(SETTLE_SECONDS)
        begun, early_errors = time.monotonic(), errors.count
        await asyncio.sleep(seconds)
        watched = (time.monotonic() - begun) * viewers
        decoded = [[picture for picture in peer.decoded if picture[0] >= begun] for peer in peers]
    return _shown(decoded, watched) | {"decode_errors": errors.count - early_errors}


@contextlib.contextmanager
def _pion() -> Generator[Path]:
    """The program that watches with pion, built."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "pion"
        subprocess.run(["go", "build", "-o", str(program), "."], cwd=_PION, check=True)
        yield program


async def _watch_pion(
    program: str, url: str, through: int, seconds: float, viewers: int
) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(program, "-url", url, "-through", str(through), "-viewers", str(viewers)),
        *("-settle", f"{SETTLE_SECONDS}s", "-duration", f"{seconds}s"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError("pion could not watch; what it says is above")
    seen = json.loads(output)
    figures = _shown([viewer["pictures"] for viewer in seen], seconds * viewers)
    return figures | {"decode_errors": sum(viewer["lost"] for viewer in seen)}


def _shown(decoded: Sequence[Sequence[tuple[float, float]]], watched: float) -> dict[str, Any]:
    """What players would have shown, who watched for so many seconds together."""
    shown = [play(pictures, BUFFER) for pictures in decoded]
    frozen = [freezes(times) for times in shown]
    return {
        "viewers": len(shown),
        "watched_seconds": round(watched, 1),
        "pictures": sum(len(times) for times in shown),
        "freezes": sum(len(gaps) for gaps in frozen),
        "frozen_share": round(sum(sum(gaps) for gaps in frozen) / watched, 5),
        "frozen_share_worst": round(max(sum(gaps) for gaps in frozen) * len(shown) / watched, 5),
    }


def play(decoded: Sequence[tuple[float, float]], buffer: float) -> list[float]:
    """When a player shows pictures that were decoded at a time and have a time in the stream.

    It goes by the earliest pictures of late: a sender's clock is not the player's, and slips where it is busy.
    """
    earliest: deque[tuple[float, float]] = deque()
    shown: list[float] = []
    for at, media in decoded:
        begun = at - media
        while earliest and earliest[-1][1] >= begun:
            earliest.pop()
        earliest.append((at, begun))
        while earliest[0][0] < at - MEMORY:
            earliest.popleft()
        shown.append(max(at, earliest[0][1] + media + buffer, shown[-1] if shown else 0.0))
    return shown


def freezes(times: Sequence[float]) -> list[float]:
    """Seconds of each freeze in a row of pictures."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if not gaps:
        return []
    average = statistics.fmean(gaps)
    return [gap for gap in gaps if gap > max(3 * average, average + 0.15)]
