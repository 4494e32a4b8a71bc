"""aiortc as a third engine, publishing and watching."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import ffmpeg
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.server import Server
from tests.e2e.third_engine import Peer, clip
from tests.e2e.watching import report, watches

# aiortc leaves timers and sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


async def test_chromium_watches_what_aiortc_publishes(
    server: Server, rtc: Open, tmp_path: Path
) -> None:
    token = await server.token("aiortc-publishes")
    path = await clip(str(tmp_path / "clip.mp4"))
    async with Peer() as peer:
        await peer.publish(token.whip, token.secret, path)
        await until(token.live, what="aiortc is live")
        viewer = await rtc()
        await watches(viewer, token.whep)
        seen = await report(viewer)
        assert (seen["video"]["width"], seen["video"]["height"]) == (320, 240)


async def test_aiortc_decodes_what_ffmpeg_publishes(server: Server) -> None:
    token = await server.token("aiortc-watches")
    async with await ffmpeg.Publisher.start(token, size="320x240"), Peer() as peer:
        await until(token.live, what="ffmpeg is live")
        await peer.watch(token.whep)

        async def decoded() -> bool:
            return len(peer.frames) >= 20

        await until(decoded, what="aiortc decodes 20 frames")
        first, last = (bytes(frame.planes[0]) for frame in (peer.frames[0], peer.frames[-1]))
        assert (peer.frames[-1].width, peer.frames[-1].height) == (320, 240)
        assert first != last, "the picture does not move"
