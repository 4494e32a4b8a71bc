"""The ladder: smaller pictures of a livestream for HLS players, made while somebody watches."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx2
from imageio_ffmpeg import get_ffmpeg_exe

from tests.e2e.browser import Page
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.livestreams import Livestream, Livestreams
from tests.e2e.player import FIND, plays, size
from tests.e2e.server import Server


@asynccontextmanager
async def sending(livestream: Livestream) -> AsyncGenerator[None]:
    process = await asyncio.create_subprocess_exec(
        get_ffmpeg_exe(),
        *("-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-f", "lavfi"),
        *("-i", "testsrc2=size=960x540:rate=30 [out0]; sine=frequency=500 [out1]"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30"),
        *("-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv"),
        livestream.fields["ingest_server"] + livestream.key,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@dataclass(frozen=True)
class Variant:
    """One variant of a multivariant playlist."""

    resolution: str
    bandwidth: int
    audio: str
    url: str


def variants(url: str, text: str) -> list[Variant]:
    lines = re.findall(r"#EXT-X-STREAM-INF:(.*)\n(.*)", text)
    return [
        Variant(
            re.findall(r"RESOLUTION=(\d+x\d+)", attributes)[0],
            int(re.findall(r"[:,]?BANDWIDTH=(\d+)", attributes)[0]),
            re.findall(r'AUDIO="([^"]*)"', attributes)[0],
            urljoin(url, address),
        )
        for attributes, address in lines
    ]


async def get(url: str) -> str:
    async with httpx2.AsyncClient(timeout=20) as client:
        answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.text


def starts(playlist: str) -> dict[str, float]:
    """When each complete segment began, by its number, and how long it is."""
    pairs = re.findall(
        r"#EXT-X-PROGRAM-DATE-TIME:(\S+)\n(?:#EXT-X-PART:.*\n)*#EXTINF:([\d.]+),.*\n(?:\S*/)?(\d+)\.m4s",
        playlist,
    )
    return {f"{number} {began}": float(length) for began, length, number in pairs}


async def decoded(url: str) -> tuple[str, int]:
    """Size of the picture and how many of three seconds ffmpeg decodes without a complaint."""
    ffprobe = shutil.which("ffprobe")
    assert ffprobe is not None
    process = await asyncio.create_subprocess_exec(
        *(ffprobe, "-v", "error", "-count_frames", "-read_intervals", "%+3"),
        *("-select_streams", "v", "-show_entries", "stream=width,height,nb_read_frames"),
        *("-of", "csv=p=0", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 40)
    assert errors == b"", errors.decode()
    width, height, frames = output.decode().split()[0].split(",")
    return f"{width}x{height}", int(frames)


async def test_a_livestream_with_a_ladder_plays_in_every_size(
    server: Server, open_page: Open
) -> None:
    livestreams = Livestreams(await server.api())
    livestream = await livestreams.create("ladder")
    await livestreams.call("PUT", f"/{livestream.id}/ladder", json={"ladder": True})
    url = livestream.fields["playback_url"]
    async with sending(livestream):

        async def is_live() -> bool:
            return await livestreams.status(livestream) == "LIVE"

        await until(is_live, what="ffmpeg is live")
        # The first answer has all sizes: players read it once.
        listed = variants(url, await get(url))
        assert [one.resolution for one in listed] == ["960x540", "854x480", "640x360"]
        assert [one.bandwidth for one in listed] == sorted(
            (one.bandwidth for one in listed), reverse=True
        )

        async def alike() -> bool:
            playlists = [starts(await get(one.url)) for one in listed]
            common = set(playlists[0]).intersection(*playlists[1:])
            same = [{key: one[key] for key in common} for one in playlists]
            return len(common) >= 2 and same[0] == same[1] == same[2]

        await until(alike, what="segments of all sizes begin and end together")
        for one in listed:
            resolution, frames = await decoded(one.url)
            assert resolution == one.resolution
            assert frames >= 60

        viewer = await open_page()
        await viewer.goto(f"{livestream.fields['viewer_url']}&protocol=hls")
        await plays(viewer, deadline=40)
        assert await size(viewer) in {(960, 540), (854, 480), (640, 360)}
        assert await viewer.evaluate(f"() => {{ {FIND} return video.error === null; }}")
        await chooses_qualities(viewer)


async def chooses_qualities(viewer: Page) -> None:
    """The quality menu by hand, by the keyboard, and back to automatic."""
    menu = f"() => {{ {FIND} return video.getRootNode().querySelector('[data-testid=quality]'); }}"
    assert await viewer.evaluate(f"() => !({menu})().hidden")
    options = await viewer.evaluate(
        f"() => [...({menu})().options].map(({{value, text}}) => [value, text])"
    )
    assert [value for value, _ in options] == ["auto", "540p", "480p", "360p"]
    assert all(re.search(r"p · [\d.]+ [kM]bit/s$", text) for _, text in options[1:]), options
    await viewer.evaluate(
        f"""() => {{
            const menu = ({menu})();
            menu.value = '360p';
            menu.dispatchEvent(new Event('change'));
            menu.focus();
        }}"""
    )
    await _shows(viewer, 360)
    await viewer.press("ArrowUp")
    await _shows(viewer, 480)
    assert await viewer.evaluate(f"() => ({menu})().value") == "480p"
    await viewer.press("Home")
    assert await viewer.evaluate(f"() => ({menu})().value") == "auto"
    await plays(viewer)
    assert await viewer.evaluate(f"() => {{ {FIND} return video.error === null; }}")


async def _shows(viewer: Page, height: int) -> None:
    await viewer.until(
        f"(height) => {{ {FIND} return video.videoHeight === height; }}",
        height,
        what=f"{height}p is shown",
    )


async def test_a_livestream_without_a_ladder_has_its_own_size_only(server: Server) -> None:
    livestreams = Livestreams(await server.api())
    livestream = await livestreams.create("no-ladder")
    await livestreams.call("PUT", f"/{livestream.id}/ladder", json={"ladder": False})
    url = livestream.fields["playback_url"]
    async with sending(livestream):

        async def is_live() -> bool:
            return await livestreams.status(livestream) == "LIVE"

        await until(is_live, what="ffmpeg is live")
        assert [one.resolution for one in variants(url, await get(url))] == ["960x540"]
