"""ffmpeg goes live by WHIP; browsers and the command line watch."""

from __future__ import annotations

from tests.e2e import ffmpeg
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.server import Server
from tests.e2e.watching import report, watches


async def test_chromium_watches_what_ffmpeg_publishes(server: Server, rtc: Open) -> None:
    token = await server.token("ffmpeg")
    async with await ffmpeg.Publisher.start(token) as publisher:
        await until(token.live, what="ffmpeg is live")
        viewer = await rtc()
        await watches(viewer, token.whep)
        seen = await report(viewer)
        assert (seen["video"]["width"], seen["video"]["height"]) == (1280, 720)
        assert seen["video"]["codec"] == "h264"
        await publisher.stop()

        async def over() -> bool:
            return not await token.live()

        await until(over, deadline=10, what="the stream ends when ffmpeg deletes its session")


async def test_the_command_line_watches_and_loses_nothing(server: Server) -> None:
    token = await server.token("watched")
    async with await ffmpeg.Publisher.start(token):
        await until(token.live, what="ffmpeg is live")
        status, output, errors = await server.command(
            "watch", token.whep, "--json", "--seconds", "5"
        )
    assert status == 0, errors
    assert '"loss"' in output, output
