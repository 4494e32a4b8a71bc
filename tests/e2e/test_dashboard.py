"""From the first log-in to watching, by hand in a real browser, on a server that was never used before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from tests.e2e.browser import Page
from tests.e2e.conftest import Open
from tests.e2e.dashboard import PASSWORD, add_token, by, choose_password, log_in
from tests.e2e.deadline import until
from tests.e2e.player import plays, sounds
from tests.e2e.server import Server
from tests.e2e.test_livestreams import sending


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(tmp_path: Path) -> AsyncIterator[Server]:
    """A server at its first start."""
    server = await Server.start("first", tmp_path / "data")
    yield server
    await server.stop()


@pytest.mark.timeout(180)
async def test_from_login_to_watching(fresh: Server, open_page: Open) -> None:
    _, once = fresh.first_password()
    studio = await open_page()
    await log_in(studio, fresh, "not the password")
    await studio.wait(by("login-error"))
    # The browser logs the refusal by itself.
    assert all("401" in problem for problem in await studio.problems())

    await log_in(studio, fresh, once)
    await choose_password(studio, once)
    await studio.wait(by("tokens-empty"))
    await add_token(studio, "Concert", "concert")

    await studio.click(f"{by('row-concert')} {by('row-menu')}")
    await studio.click(by("menu-broadcaster"))
    await studio.wait(f"{by('start-button')}:enabled")
    assert "READY" in await studio.text(by("status-pill"))
    await studio.click(by("start-button"))
    await studio.until(
        "() => document.querySelector('[data-testid=status-pill]').innerText.includes('LIVE')",
        what="the broadcaster is live",
    )
    await studio.click(by("share-button"))
    link = await studio.attribute(by("viewer-link"), "data-value")
    assert link is not None
    assert "/viewer?streamId=" in link
    await studio.wait(f"{by('qr')} svg")
    assert "<iframe" in await studio.text(by("iframe-code"))

    viewers = await asyncio.gather(open_page(), open_page())
    for viewer in viewers:
        await viewer.goto(link)
    for viewer in viewers:
        await plays(viewer)
        await sounds(viewer)
        assert await viewer.problems() == []
    await studio.until(
        "() => document.querySelector('[data-testid=viewer-count]').innerText === '2'",
        what="the broadcaster counts two viewers",
    )

    desk = await open_page()
    await log_in(desk, fresh, PASSWORD)
    await desk.wait(f"{by('row-concert')} {by('pill-live')}")
    await desk.until(
        "() => document.querySelector('[data-testid=row-concert] [data-testid=viewers]').innerText === '2'",
        what="the dashboard counts two viewers",
    )

    await studio.click(by("stop-button"))
    await desk.wait(f"{by('row-concert')} {by('pill-live')}", hidden=True)
    await viewers[0].wait("::-p-text(NOT LIVE)")
    for page in (studio, desk):
        assert [line for line in await page.problems() if "401" not in line] == []


async def test_a_token_is_disabled_and_deleted_from_its_menu(
    fresh: Server, open_page: Open
) -> None:
    _, once = fresh.first_password()
    page = await open_page()
    await log_in(page, fresh, once)
    await choose_password(page, once)
    await add_token(page, "Rehearsal", "rehearsal")

    row, menu = by("row-rehearsal"), f"{by('row-rehearsal')} {by('row-menu')}"
    await page.click(menu)
    await page.click(by("menu-disable"))
    await page.wait(f"{row} {by('pill-disabled')}")
    await page.click(menu)
    await page.click(by("menu-enable"))
    await page.wait(f"{row} {by('pill-disabled')}", hidden=True)

    await page.click(menu)
    await page.click(by("menu-delete"))
    await page.wait(by("confirm-dialog"))
    if await page.count(by("confirm-name")):
        await page.fill(by("confirm-name"), "Rehearsal")
    await page.click(by("confirm-yes"))
    await page.wait(by("tokens-empty"))

    async def none_left() -> bool:
        return await fresh.cli("token", "list") == []

    await until(none_left, what="the token is gone")


async def test_a_livestream_is_made_sent_to_reset_disabled_and_deleted(
    fresh: Server, open_page: Open
) -> None:
    _, once = fresh.first_password()
    page = await open_page()
    await log_in(page, fresh, once)
    await choose_password(page, once)
    await page.wait(by("tokens-empty"))
    await page.click(by("nav-livestreams"))
    await page.wait(by("livestreams-empty"))
    await page.click(by("add-livestream"))
    await page.fill(by("livestream-name"), "no spaces")
    await page.click(by("livestream-create"))
    await page.wait('[role="alert"], [aria-invalid="true"]')
    await page.fill(by("livestream-name"), "show")
    await page.click(by("livestream-create"))

    await page.wait(by("ingest-server"))
    server = await page.attribute(by("ingest-server"), "data-value")
    assert server is not None
    assert re.fullmatch(r"rtmp://127\.0\.0\.1:\d+/live/", server)
    key = await _key(page)
    await page.click(by("tab-rtmp"))
    snippet = await page.text(by("snippet-rtmp"))
    assert server in snippet
    assert key not in snippet  # hidden on screen, copied in full

    await page.click(by("tab-settings"))
    await page.click(by("reset-key"))
    await page.click(by("confirm-yes"))
    await page.wait(by("confirm-dialog"), hidden=True)
    assert await _key(page) != key

    await page.wait(by("livestream-id"))
    secret = await _key(page, shown=True)
    b_frames = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p")
    source = "testsrc=size=640x360 [out0]; sine=frequency=500 [out1]"
    async with sending(server + secret, *b_frames, "-c:a", "aac", source=source):
        await page.click(by("tab-overview"))
        await page.wait(by("status-live"))
        await page.wait(by("livestream-preview"))
        await page.wait(by("b-frames"))
        await page.click(by("tab-settings"))
        await page.click(by("livestream-enabled"))
        await page.click(by("confirm-yes"))
        await page.wait(by("pill-disabled"))
        await page.wait(by("status-live"), hidden=True)

    await page.click(by("livestream-delete"))
    await page.fill(by("confirm-name"), "show")
    await page.click(by("confirm-yes"))
    await page.wait(by("livestreams-empty"))
    # The preview asks again and again whether a stream is live: 409 until it is.
    problems = [line for line in await page.problems() if "401" not in line and "409" not in line]
    assert problems == []


async def test_an_api_token_is_shown_once_and_revoked(fresh: Server, open_page: Open) -> None:
    _, once = fresh.first_password()
    page = await open_page()
    await log_in(page, fresh, once)
    await choose_password(page, once)
    await page.wait(by("tokens-empty"))
    await page.goto(f"{fresh.url}/settings/api-tokens")
    await page.click(by("add-api-token"))
    await page.fill(by("api-token-label"), "reader")
    await page.click(by("scope-livestreams:write"))
    await page.click(by("api-token-create"))
    await page.wait(by("api-token-value"))
    secret = await page.attribute(by("api-token-value"), "data-value")
    assert secret is not None
    made = await fresh.api()
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx2.AsyncClient(headers=headers) as client:
        assert (await client.get(f"{made.url}/livestreams")).status_code == 200
        assert (await client.post(f"{made.url}/livestreams", json={})).status_code == 403
        await page.click(by("api-token-done"))
        await page.wait(by("api-token-once"), hidden=True)
        assert await page.count(by("api-token-value")) == 0
        await page.click(by("api-token-delete"))
        await page.fill(by("confirm-name"), "reader")
        await page.click(by("confirm-yes"))
        await page.wait(by("confirm-dialog"), hidden=True)
        assert (await client.get(f"{made.url}/livestreams")).status_code == 401


async def _key(page: Page, *, shown: bool = False) -> str:
    """The stream key, which the eye shows."""
    if not shown:
        await page.click(by("stream-key-eye"))
    await page.wait(f"{by('stream-key')}[data-value]")
    return await page.attribute(by("stream-key"), "data-value") or ""
