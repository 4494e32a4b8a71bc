"""Layers that nobody reads: publishers leave them out, and they are back when somebody needs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.browser import Page
from tests.e2e.conftest import Open
from tests.e2e.dashboard import by, choose_password, log_in
from tests.e2e.deadline import until
from tests.e2e.player import plays
from tests.e2e.server import Server
from tests.e2e.test_layers import SIMULCAST, shows, simulcasts
from tests.e2e.watching import report, sees, watches
from tests.relay import Network, Relay


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def thrifty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    data = tmp_path_factory.mktemp("thrifty") / "data"
    # More than one media thread, whatever the machine has.
    settings = {"STAGECAST_MEDIA__PAUSE_UNREAD_LAYERS": "true", "STAGECAST_MEDIA__THREADS": "2"}
    running = await Server.start("thrifty", data, **settings)
    yield running
    assert await running.stop() == 0


async def sends(publisher: Page, *rids: str, deadline: float = 25) -> None:
    """Wait until these encodings are sent and no others."""

    async def only() -> bool:
        return sorted(await publisher.evaluate("() => flowing()")) == sorted(rids)

    await until(only, deadline=deadline, what=f"the publisher sends {', '.join(rids)}")


async def told(viewer: Page, *, active: list[str]) -> dict[str, Any]:
    """What the viewer is told of the layers, once it is told that these are active."""

    async def listed() -> dict[str, Any] | None:
        media = next(iter((await viewer.evaluate("() => layers()"))["medias"].values()))
        return media if [encoding["id"] for encoding in media["active"]] == active else None

    media = await until(listed, what=f"{', '.join(active)} are active")
    assert media is not None
    return media


async def test_a_page_that_listens_sends_what_is_watched(thrifty: Server, rtc: Open) -> None:
    token = await thrifty.token("listens")
    publisher, narrow, wide = await asyncio.gather(rtc(), rtc(), rtc())
    # Without temporal layers, so that the largest picture has no smaller rate that fits.
    whole = [{**layer, "scalabilityMode": "L1T1"} for layer in SIMULCAST]
    await simulcasts(publisher, token, encodings=whole)
    assert await publisher.evaluate("() => obey()") == 201
    with Relay(thrifty.media_port, Network(rate=500_000), seed=1) as link:
        await watches(narrow, token.whep, through=link.port)
        await shows(narrow, 480)
        await sends(publisher, "q", "h", deadline=40)
        found = {layer["rid"]: layer for layer in await publisher.evaluate("() => sending()")}
        assert [found[rid]["active"] for rid in "qhf"] == [True, True, False]
        seen = await sees(narrow)
        media = await told(narrow, active=["h", "q"])
        inactive = [(encoding["id"], encoding["width"]) for encoding in media["inactive"]]
        assert inactive == [("f", 960)]
        assert {entry["encodingId"] for entry in media["layers"]} == {"q", "h", "f"}
        await watches(wide, token.whep)
        await shows(wide, 960, deadline=5)
        again = await sees(narrow)
        assert again["video"]["width"] == 480
        assert again["video"]["freezeCount"] == seen["video"]["freezeCount"]
    assert (await report(wide))["video"]["packetsLost"] == 0


async def test_a_page_that_does_not_listen_is_told_a_bitrate(
    thrifty: Server, server: Server, rtc: Open
) -> None:
    token, other = await thrifty.token("deaf"), await server.token("asked-nothing")
    publisher, unasked, viewer, late = await asyncio.gather(rtc(), rtc(), rtc(), rtc())
    await asyncio.gather(simulcasts(publisher, token), simulcasts(unasked, other))
    await watches(viewer, token.whep)
    assert await viewer.evaluate("() => select({ encodingId: 'q' })") == 200
    await shows(viewer, 240)
    await sends(publisher, "q")
    found = {layer["rid"]: layer for layer in await publisher.evaluate("() => sending()")}
    assert [found[rid]["active"] for rid in "qhf"] == [True, True, True], "the page did nothing"
    # Without the setting nobody is asked for less, not even with no viewer at all.
    assert sorted(await unasked.evaluate("() => flowing()")) == ["f", "h", "q"]
    await watches(late, token.whep)
    await shows(late, 960, deadline=5)
    assert await viewer.evaluate("() => select({ encodingId: 'h' })") == 200
    await shows(viewer, 480, deadline=5)


async def test_players_of_hls_have_every_size_again(
    thrifty: Server, rtc: Open, open_page: Open
) -> None:
    token = await thrifty.token("hls-wants-all")
    publisher, viewer = await asyncio.gather(rtc(), open_page())
    await simulcasts(publisher, token, codec="h264")
    assert await publisher.evaluate("() => obey()") == 201
    await sends(publisher, "q")
    await viewer.goto(f"{token.viewer}&protocol=hls&muted")
    await plays(viewer, deadline=40)
    assert sorted(await publisher.evaluate("() => flowing()")) == ["f", "h", "q"]
    options = await viewer.evaluate(
        """() => [...document.querySelector('stagecast-player').shadowRoot
            .querySelector('[data-testid=quality]').options].map((option) => option.value)"""
    )
    assert options == ["auto", "540p", "270p", "134p"]


async def test_the_broadcaster_leaves_out_what_nobody_needs(
    thrifty: Server, rtc: Open, open_page: Open
) -> None:
    token = await thrifty.token("thrifty-broadcast")
    studio, viewer = await asyncio.gather(open_page(), rtc())
    _, once = thrifty.first_password()
    await log_in(studio, thrifty, once)
    await choose_password(studio, once)
    await studio.wait(by("add-token"))
    await studio.goto(f"{thrifty.url}/broadcaster?tokenId={token.id}&stream={token.stream}")
    await studio.evaluate(
        """() => {
            window.peers = [];
            const Native = RTCPeerConnection;
            window.RTCPeerConnection = class extends Native {
                constructor(...given) {
                    super(...given);
                    peers.push(this);
                }
            };
            window.active = () => {
                const senders = peers.at(-1)?.getSenders() ?? [];
                const sender = senders.find(({ track }) => track?.kind === 'video');
                const encodings = sender?.getParameters().encodings ?? [];
                return encodings.filter(({ active }) => active).map(({ rid }) => rid).join();
            };
        }"""
    )
    await studio.wait(f"{by('start-button')}:enabled")
    await studio.click(by("start-button"))
    await studio.until("() => active() === 'q,h,f'", what="three layers are sent")
    await watches(viewer, token.whep)
    assert await viewer.evaluate("() => select({ encodingId: 'q' })") == 200
    await studio.until("() => active() === 'q'", deadline=25, what="the others are left out")
    await sees(viewer)
    assert await viewer.evaluate("() => select({ encodingId: 'f' })") == 200
    await studio.until("() => active() === 'q,f'", deadline=5, what="the chosen one is sent")
    await shows(viewer, 1280, deadline=5)
