"""Layers: simulcast and SVC of a real browser, chosen by viewers and by their networks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.browser import Page
from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.player import plays
from tests.e2e.server import Server, Token
from tests.e2e.watching import publishes, report, sees, watches
from tests.relay import Network, Relay

SIMULCAST = [
    {"rid": "q", "scaleResolutionDownBy": 4, "maxBitrate": 100_000},
    {"rid": "h", "scaleResolutionDownBy": 2, "maxBitrate": 300_000},
    {"rid": "f", "scaleResolutionDownBy": 1, "maxBitrate": 1_200_000},
]
BIG = {"width": 960, "height": 540}


async def simulcasts(page: Page, token: Token, **wish: Any) -> None:
    """Publish three layers and wait until all are sent."""
    wish = {"codec": "vp8", "encodings": SIMULCAST, **BIG, **wish}
    await publishes(page, token.whip, token.secret, **wish)
    await page.until(
        """async () => {
            const sent = await sending();
            return sent.length === 3 && sent.every((layer) => layer.framesEncoded > 5);
        }""",
        deadline=30,
        what="three layers are sent",
    )


async def shows(page: Page, width: int, *, deadline: float = 15) -> None:
    await page.until(
        "async (width) => (await report()).video?.width === width",
        width,
        deadline=deadline,
        what=f"a picture {width} pixels wide is shown",
    )


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_a_viewer_chooses_a_layer_of_simulcast(server: Server, rtc: Open, codec: str) -> None:
    token = await server.token(f"choice-{codec}")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    await simulcasts(publisher, token, codec=codec)
    await watches(viewer, token.whep)
    await shows(viewer, 960)
    media = next(iter((await viewer.evaluate("() => layers()"))["medias"].values()))
    assert [encoding["id"] for encoding in media["active"]] == ["f", "h", "q"]
    assert [encoding["width"] for encoding in media["active"]] == [960, 480, 240]
    for rid, width in (("q", 240), ("h", 480), ("f", 960)):
        entry = next(entry for entry in media["layers"] if entry["encodingId"] == rid)
        assert await viewer.evaluate("(layer) => select(layer)", entry) == 200
        await shows(viewer, width)
    assert await viewer.evaluate("() => select({ maxHeight: 300 })") == 200
    await shows(viewer, 480)
    assert await viewer.evaluate("() => select(null)") == 200
    await shows(viewer, 960)
    await sees(viewer)
    assert (await report(viewer))["video"]["packetsLost"] == 0


async def test_the_viewer_page_has_a_quality_menu(
    server: Server, rtc: Open, open_page: Open
) -> None:
    token = await server.token("quality-menu")
    publisher, viewer = await asyncio.gather(rtc(), open_page())
    await simulcasts(publisher, token)
    await viewer.goto(f"{token.viewer}&muted&startingQuality=Low")
    await plays(viewer)
    menu = "() => find('[data-testid=quality]')"
    await viewer.evaluate(
        """() => {
            window.find = (selector) =>
                document.querySelector('stagecast-player').shadowRoot.querySelector(selector);
        }"""
    )
    await viewer.until(
        f"() => [...({menu})().options].map((option) => option.value).join() === 'auto,540p,270p,135p'",
        what="the quality menu has all layers",
    )
    assert await viewer.evaluate(f"() => ({menu})().value") == "135p"
    await viewer.until("() => find('video').videoWidth === 240", what="it starts low")
    await viewer.evaluate(
        f"""() => {{
            const menu = ({menu})();
            menu.value = '270p';
            menu.dispatchEvent(new Event('change'));
        }}"""
    )
    await viewer.until("() => find('video').videoWidth === 480", what="270p is shown")


async def test_layers_of_simulcast_are_qualities_of_hls(
    server: Server, rtc: Open, open_page: Open
) -> None:
    token = await server.token("hls-qualities")
    publisher, viewer = await asyncio.gather(rtc(), open_page())
    await simulcasts(publisher, token, codec="h264")
    await viewer.goto(f"{token.viewer}&protocol=hls&muted&startingQuality=Low")
    await plays(viewer, deadline=40)
    await viewer.evaluate(
        """() => {
            window.find = (selector) =>
                document.querySelector('stagecast-player').shadowRoot.querySelector(selector);
        }"""
    )
    menu = "() => find('[data-testid=quality]')"
    options = await viewer.evaluate(f"() => [...({menu})().options].map((option) => option.value)")
    # H264 of Chromium has an even number of lines.
    assert options == ["auto", "540p", "270p", "134p"]
    assert await viewer.evaluate(f"() => ({menu})().value") == "134p"
    await viewer.until("() => find('video').videoWidth === 240", what="it starts low")
    await viewer.evaluate(
        f"""() => {{
            const menu = ({menu})();
            menu.value = '540p';
            menu.dispatchEvent(new Event('change'));
        }}"""
    )
    await viewer.until("() => find('video').videoWidth === 960", what="540p is shown")


async def test_simulcast_by_ssrc_group_has_three_layers(server: Server, rtc: Open) -> None:
    """As the Millicast SDK publishes."""
    token = await server.token("ssrc-group")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    sizes = [{name: layer[name] for name in layer if name != "rid"} for layer in SIMULCAST]
    await simulcasts(publisher, token, encodings=None, group=sizes)
    await watches(viewer, token.whep)
    media = next(iter((await viewer.evaluate("() => layers()"))["medias"].values()))
    names = {encoding["id"] for encoding in media["active"]}
    assert names == {"0", "1", "2"}
    await viewer.evaluate("() => select({ encodingId: '0' })")
    await shows(viewer, 240)
    await viewer.evaluate("() => select({ encodingId: '2' })")
    await shows(viewer, 960)


@pytest.mark.parametrize(
    ("codec", "mode", "widths"),
    [
        ("vp9", "L3T3_KEY", [240, 480, 960]),
        ("vp9", "L2T2", [480, 960]),
        ("av1", "L2T1", [480, 960]),
    ],
)
async def test_a_viewer_chooses_a_spatial_layer_of_one_stream(
    server: Server, rtc: Open, codec: str, mode: str, widths: list[int]
) -> None:
    token = await server.token(f"svc-{codec}-{mode}")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    encodings = [{"scalabilityMode": mode, "maxBitrate": 1_500_000}]
    await publishes(publisher, token.whip, token.secret, codec=codec, encodings=encodings, **BIG)
    await watches(viewer, token.whep, dependencies=codec == "av1")

    async def layered() -> list[dict[str, Any]] | None:
        medias = (await viewer.evaluate("() => layers()"))["medias"]
        listed = next(iter(medias.values()))["layers"]
        spatial = {entry["spatialLayerId"] for entry in listed}
        return listed if spatial == set(range(len(widths))) else None

    await until(layered, deadline=30, what="the spatial layers are told")
    for spatial, width in enumerate(widths):
        await viewer.evaluate("(id) => select({ spatialLayerId: id })", spatial)
        await shows(viewer, width)
        await sees(viewer)


@pytest.mark.parametrize("codec", ["vp8", "av1"])
async def test_temporal_layers_are_left_out_without_harm(
    server: Server, rtc: Open, codec: str
) -> None:
    token = await server.token(f"temporal-{codec}")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    encodings = [{"scalabilityMode": "L1T3", "maxBitrate": 500_000}]
    await publishes(publisher, token.whip, token.secret, codec=codec, encodings=encodings)
    await watches(viewer, token.whep)
    rate = """async () => {
        const before = (await report()).video.framesDecoded;
        await new Promise((resolve) => setTimeout(resolve, 2000));
        return ((await report()).video.framesDecoded - before) / 2;
    }"""
    whole = await viewer.evaluate(rate)
    await viewer.evaluate("() => select({ maxTemporalLayerId: 0 })")

    async def slow() -> bool:
        return (await viewer.evaluate(rate)) < whole * 0.4

    await until(slow, what="a quarter of the frames comes")
    await viewer.evaluate("() => select(null)")

    async def fast() -> bool:
        return (await viewer.evaluate(rate)) > whole * 0.7

    await until(fast, what="all frames come again")
    assert (await report(viewer))["video"]["packetsLost"] == 0


async def test_each_viewer_gets_the_layer_that_its_network_carries(
    server: Server, rtc: Open
) -> None:
    token = await server.token("networks")
    publisher, narrow, wide = await asyncio.gather(rtc(), rtc(), rtc())
    # Without temporal layers, so that the largest picture has no smaller rate that fits.
    whole = [{**layer, "scalabilityMode": "L1T1"} for layer in SIMULCAST]
    await simulcasts(publisher, token, encodings=whole)
    await watches(wide, token.whep)
    await shows(wide, 960, deadline=3)
    before = (await report(wide))["video"]
    with Relay(server.media_port, Network(rate=500_000), seed=1) as link:
        answer = await narrow.evaluate(
            "(url, through) => watch(url, undefined, { through })", token.whep, link.port
        )
        assert answer["status"] == 201, answer
        await narrow.until(
            "async () => ((await report()).video?.framesDecoded ?? 0) > 0", what="a first picture"
        )
        await shows(narrow, 480, deadline=6)
        for _ in range(4):
            seen = await sees(narrow, frames=25)
            assert seen["video"]["width"] == 480
    after = (await report(wide))["video"]
    assert after["width"] == 960
    assert after["freezeCount"] == before["freezeCount"]
    assert after["packetsLost"] == 0
