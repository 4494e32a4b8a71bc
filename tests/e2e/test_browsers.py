"""Browsers publish and watch: codecs, protection, continuity."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.browser import Engine
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.server import Server
from tests.e2e.watching import OVER, publishes, report, sees, watches


@pytest.mark.parametrize(
    ("codec", "viewers"),
    [
        ("h264", ["chromium"]),
        ("vp8", ["chromium", "firefox"]),
        ("vp9", ["firefox"]),
        ("av1", ["chromium"]),
    ],
)
async def test_what_chromium_publishes_is_decoded_with_sound(
    server: Server, rtc: Open, codec: str, viewers: list[Engine]
) -> None:
    token = await server.token(f"chromium-{codec}")
    publisher = await rtc()
    await publishes(publisher, token.whip, token.secret, codec=codec)
    pages = await asyncio.gather(*(rtc(engine) for engine in viewers))
    await asyncio.gather(*(watches(page, token.whep) for page in pages))
    for page in pages:
        seen = await report(page)
        assert seen["video"]["codec"] == codec
        assert (seen["video"]["width"], seen["video"]["height"]) == (640, 360)
        assert seen["audio"]["codec"] == "opus"
        assert seen["video"]["packetsLost"] == 0


async def test_media_of_browsers_is_sealed_with_aes_gcm(server: Server, rtc: Open) -> None:
    token = await server.token("sealed")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    await publishes(publisher, token.whip, token.secret, codec="vp8")
    await watches(viewer, token.whep)
    for page in (publisher, viewer):
        seen = await report(page)
        assert seen["srtp"].endswith("AEAD_AES_256_GCM")
        assert seen["role"] == "client"


async def test_what_firefox_publishes_is_decoded_in_chromium(server: Server, rtc: Open) -> None:
    token = await server.token("firefox-vp8")
    publisher, viewer = await asyncio.gather(rtc("firefox"), rtc())
    # Firefox makes its fake picture in one size only.
    answer = await publisher.evaluate(
        """async (url, token) => {
            const { getUserMedia } = MediaDevices.prototype;
            navigator.mediaDevices.getUserMedia = () =>
                getUserMedia.call(navigator.mediaDevices, { audio: true, video: true });
            return publish(url, token, { codec: 'vp8' });
        }""",
        token.whip,
        token.secret,
    )
    assert answer["status"] == 201, answer
    await until(token.live, what="the stream is live")
    await watches(viewer, token.whep)
    assert (await report(viewer))["video"]["codec"] == "vp8"


async def test_a_viewer_without_the_codec_is_told_which_codecs_there_are(
    server: Server, rtc: Open
) -> None:
    token = await server.token("not-for-firefox")
    publisher, viewer = await asyncio.gather(rtc(), rtc("firefox"))
    await publishes(publisher, token.whip, token.secret, codec="h264")
    await until(token.live, what="the stream is live")
    answer = await viewer.evaluate("(url) => watch(url)", token.whep)
    assert answer["status"] == 406
    assert "h264" in answer["body"].lower()


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_a_stream_of_one_kind_is_watched(server: Server, rtc: Open, kind: str) -> None:
    token = await server.token(f"only-{kind}")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    wish = {"audio": kind == "audio", "video": kind == "video"}
    await publishes(publisher, token.whip, token.secret, **wish)
    await until(token.live, what="the stream is live")
    answer = await viewer.evaluate("(url) => watch(url)", token.whep)
    assert answer["status"] == 201, answer
    await viewer.until(
        "async (kind) => ((await report())[kind]?.packetsReceived ?? 0) > 20",
        kind,
        what=f"{kind} is received",
    )


async def test_viewers_go_on_when_the_publisher_crashes_and_comes_back(
    server: Server, rtc: Open
) -> None:
    token = await server.token("comes-back")
    first, viewer, late = await asyncio.gather(rtc(), rtc(), rtc())
    await publishes(first, token.whip, token.secret, codec="vp8")
    joined = await watches(viewer, token.whep)
    await first.evaluate("() => vanish()")
    await first.close()

    second = await rtc()
    await publishes(second, token.whip, token.secret, codec="vp8")
    seen = await sees(viewer, frames=60)
    assert seen["state"] == "connected"
    assert seen["video"]["keyFramesDecoded"] >= 2
    assert joined["resource"] == await viewer.evaluate("() => resource")
    # The one who comes after sees it too.
    await watches(late, token.whep)


async def test_the_newest_publisher_replaces_the_one_before(server: Server, rtc: Open) -> None:
    token = await server.token("replaced")
    first, second, viewer = await asyncio.gather(rtc(), rtc(), rtc())
    await publishes(first, token.whip, token.secret, codec="vp8", width=640, height=360)
    await watches(viewer, token.whep)
    await publishes(second, token.whip, token.secret, codec="vp8", width=320, height=180)
    await viewer.until(
        "async () => (await report()).video.width === 320", what="the new publisher is seen"
    )
    await sees(viewer)
    await first.until(
        OVER,
        deadline=4,
        what="the old publisher is told",
    )


async def test_a_viewer_who_leaves_frees_the_session_and_the_stream_ends_with_its_publisher(
    server: Server, rtc: Open
) -> None:
    token = await server.token("leaves")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    await publishes(publisher, token.whip, token.secret, codec="vp8")
    await watches(viewer, token.whep)
    assert await viewer.evaluate("() => leave()") in {200, 204}
    assert (
        await viewer.evaluate("async () => (await fetch(resource, { method: 'DELETE' })).status")
        == 404
    )
    assert await publisher.evaluate("() => leave()") in {200, 204}

    async def over() -> bool:
        return not await token.live()

    await until(over, what="the stream is over")
    answer = await viewer.evaluate("(url) => watch(url)", token.whep)
    assert (answer["status"], answer["body"]) == (409, "Stream not found")
