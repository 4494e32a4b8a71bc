"""Viewers behind a network that loses 5 % of all datagrams in both directions, or that lets none through."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e import ffmpeg
from tests.e2e.browser import Engine, Page
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.namespace import Unavailable, namespace
from tests.e2e.server import Server
from tests.e2e.third_engine import DecodeErrors, Peer
from tests.e2e.watching import hears, publishes, report, sees, watches
from tests.relay import Network, Relay

NETWORK = Network(loss=0.05, jitter=0.05)


async def watches_through_loss(viewer: Page, url: str, through: int | None = None) -> None:
    """Decode 300 frames in time, which repair alone makes possible."""
    answer = await viewer.evaluate("(...given) => watch(...given)", url, None, {"through": through})
    assert answer["status"] == 201, answer
    await sees(viewer, frames=30)
    await hears(viewer)
    start = await viewer.evaluate("async () => (await report()).video.framesDecoded")
    await viewer.until(
        "async (wanted) => (await report()).video.framesDecoded >= wanted",
        start + 300,
        deadline=15,
        what="300 frames are decoded in 15 s",
    )
    seen = await viewer.evaluate("async () => (await report()).video")
    assert seen["nackCount"] > 0, "nothing was lost: the test tests nothing"
    assert seen["pliCount"] <= 5, "loss is to be repaired by retransmission, not by key frames"


@pytest.mark.parametrize("engine", ["chromium", "firefox"])
async def test_a_browser_behind_a_relay_that_loses_and_delays_goes_on(
    server: Server, rtc: Open, engine: Engine
) -> None:
    token = await server.token(f"relay-{engine}")
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    publisher, viewer = await asyncio.gather(rtc(), rtc(engine))
    await publishes(publisher, token.whip, token.secret, codec="vp8")
    await until(token.live, what="the stream is live")
    with Relay(server.media_port, NETWORK, seed=seed) as relay:
        await watches_through_loss(viewer, token.whep, relay.port)
        assert relay.lost > 0
        assert (await report(viewer))["srtp"].endswith("AEAD_AES_256_GCM")


# aiortc leaves timers and sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
async def test_aiortc_behind_a_relay_that_loses_goes_on(server: Server) -> None:
    token = await server.token("relay-aiortc")
    relayed = Relay(server.media_port, NETWORK, seed=1)
    with relayed as relay, DecodeErrors() as errors:
        async with await ffmpeg.Publisher.start(token, size="640x360"), Peer() as peer:
            await until(token.live, what="ffmpeg is live")
            await peer.watch(token.whep, through=relay.port)

            async def decoded() -> bool:
                return len(peer.decoded) >= 300

            await until(decoded, deadline=25, what="aiortc decodes 300 pictures")
        assert relay.lost > 0
    # Without repair every fourth picture would be broken. Some are: aiortc asks again only at the next gap, and
    # what the server cannot know to be lost (it reports no arrivals) comes too late.
    assert errors.count <= 15, "what is lost is to come again before aiortc gives it up"


async def test_a_viewer_in_a_lossy_network_namespace_goes_on(
    open_page: Open, origin: str, tmp_path: Path
) -> None:
    async with behind(tmp_path, round(NETWORK.loss * 100), open_page, origin) as (viewer, url):
        await watches_through_loss(viewer, url)


async def test_a_viewer_behind_a_firewall_without_udp_watches_over_tcp(
    open_page: Open, origin: str, tmp_path: Path
) -> None:
    async with behind(tmp_path, 100, open_page, origin) as (viewer, url):
        await watches(viewer, url)
        assert (await report(viewer))["protocol"] == "tcp"


@asynccontextmanager
async def behind(
    folder: Path, percent: int, open_page: Open, origin: str
) -> AsyncGenerator[tuple[Page, str], None]:
    """A page behind a network that loses that share, and the address of a live stream."""
    try:
        async with namespace(folder, percent=percent) as network:
            # Started after the network is there, so that its address is among the candidates.
            server = await Server.start("lossy", folder / "data")
            try:
                token = await server.token("lossy")
                async with await ffmpeg.Publisher.start(token, size="640x360"):
                    await until(token.live, what="ffmpeg is live")
                    viewer = await open_page("chromium", prefix=network.chromium)
                    await viewer.goto(f"{origin}/rtc.html".replace("127.0.0.1", network.outside))
                    yield viewer, token.whep.replace("127.0.0.1", network.outside)
            finally:
                await server.stop()
    except Unavailable as reason:
        pytest.skip(str(reason))
