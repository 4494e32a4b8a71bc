"""What encoders send over RTMP, in ffprobe over HLS and in Chromium over WHEP."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest
import pytest_asyncio

from tests.e2e import obs
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.livestreams import Livestream, Livestreams
from tests.e2e.server import Server
from tests.e2e.test_hls import probe
from tests.e2e.test_livestreams import sending
from tests.e2e.watching import report, sees, watches

PICTURE = ("-pix_fmt", "yuv420p", "-g", "25")
AAC = ("-c:a", "aac", "-ac", "2")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", *PICTURE)
QUIET = ("-x265-params", "log-level=none:keyint=25:bframes=0")
H265 = ("-c:v", "libx265", "-preset", "ultrafast", *QUIET, *PICTURE)
AV1 = (
    "-c:v",
    "libsvtav1",
    "-preset",
    "12",
    "-svtav1-params",
    "pred-struct=1:lookahead=0",
    *PICTURE,
)
SEQUENCE = re.compile(r"#EXT-X-MEDIA-SEQUENCE:(\d+)")


@pytest_asyncio.fixture(loop_scope="session")
async def livestreams(server: Server) -> Livestreams:
    return Livestreams(await server.api())


async def goes_live(livestreams: Livestreams, made: Livestream) -> None:
    async def live() -> bool:
        return await livestreams.status(made) == "LIVE"

    await until(live, deadline=20, what="the livestream is LIVE")


def sequence(playlist: str) -> int:
    found = SEQUENCE.search(playlist)
    assert found is not None, playlist
    return int(found[1])


@pytest.mark.parametrize(
    ("video", "name", "tag"), [(H265, "hevc", "hvc1"), (AV1, "av1", "av01")], ids=["h265", "av1"]
)
async def test_newer_codecs_by_rtmp_play_as_hls(
    livestreams: Livestreams, video: tuple[str, ...], name: str, tag: str
) -> None:
    made = await livestreams.create(f"hls-{name}")
    async with sending(made.fields["ingest_server"] + made.key, *video, *AAC):
        await goes_live(livestreams, made)
        url = made.fields["playback_url"]
        async with httpx2.AsyncClient(timeout=20) as client:
            listing = (await client.get(url)).text
        assert f'CODECS="{tag}.' in listing
        assert await probe(url) == {"video": name, "audio": "aac"}


async def test_av1_by_rtmp_is_decoded_by_whep_in_chromium(
    livestreams: Livestreams, server: Server, rtc: Open
) -> None:
    made = await livestreams.create("whep-av1")
    async with sending(made.fields["ingest_server"] + made.key, *AV1, *AAC):
        await goes_live(livestreams, made)
        viewer = await rtc("chromium")
        await watches(viewer, made.whip_token(server).whep)


async def test_b_frames_play_by_whep_and_the_viewer_is_told(
    livestreams: Livestreams, server: Server, rtc: Open
) -> None:
    made = await livestreams.create("whep-b-frames")
    b_frames = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", *PICTURE)
    async with sending(made.fields["ingest_server"] + made.key, *b_frames, *AAC):
        await goes_live(livestreams, made)
        viewer = await rtc("chromium")

        # What comes in is measured once a second.
        async def told() -> bool:
            answer = await watches(viewer, made.whip_token(server).whep)
            return "B-frames" in (answer["warning"] or "")

        await until(told, what="the viewer is told of B-frames")


async def test_a_pyramid_of_b_frames_moves_in_chromium_without_asking_for_keyframes(
    livestreams: Livestreams, server: Server, rtc: Open
) -> None:
    made = await livestreams.create("whep-pyramid")
    # The product text's command leaves everything to x264.
    async with sending(made.fields["ingest_server"] + made.key):
        await goes_live(livestreams, made)
        viewer = await rtc("chromium")
        await watches(viewer, made.whip_token(server).whep)
        before = (await report(viewer))["video"]
        seen = (await sees(viewer, frames=30))["video"]
        assert seen["pliCount"] - before["pliCount"] <= 1
        assert seen["framesDropped"] - before["framesDropped"] <= 3


async def test_an_encoder_that_comes_back_continues_the_playlist_with_a_discontinuity(
    livestreams: Livestreams,
) -> None:
    made = await livestreams.create("comes-back")
    address = made.fields["ingest_server"] + made.key
    async with httpx2.AsyncClient(timeout=20) as client:
        async with sending(address, *H264, *AAC):
            await goes_live(livestreams, made)
            listing = (await client.get(made.fields["playback_url"])).text
            variant = next(line for line in listing.splitlines() if line and line[0] != "#")
            playlist = urljoin(made.fields["playback_url"], variant)
            before = (await client.get(playlist)).text
        async with sending(address, *H264, *AAC):

            async def goes_on() -> bool:
                text = (await client.get(playlist)).text
                _, mark, after = text.partition("#EXT-X-DISCONTINUITY\n")
                assert "#EXT-X-ENDLIST" not in text
                return bool(mark) and ".m4s" in after

            await until(goes_on, deadline=20, what="the playlist goes on behind a discontinuity")
            text = (await client.get(playlist)).text
        segments = [int(number) for number in re.findall(r"\n(\d+)\.m4s", text)]
        assert segments == list(range(segments[0], segments[-1] + 1))
        assert segments[0] - sequence(before) in range(10)


@pytest.mark.skipif(bool(obs.missing()), reason=f"not installed: {obs.missing()}")
async def test_obs_goes_live_and_plays_as_hls(livestreams: Livestreams, tmp_path: Path) -> None:
    made = await livestreams.create("obs")
    server = made.fields["ingest_server"].rstrip("/")
    async with obs.streaming(tmp_path, server, made.key) as log:
        try:
            await goes_live(livestreams, made)
        except AssertionError as error:
            raise AssertionError(log.read_text()[-3000:]) from error
        assert await probe(made.fields["playback_url"]) == {"video": "h264", "audio": "aac"}
