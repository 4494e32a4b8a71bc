"""Every page at phone and desk width, light and dark: a screenshot for a person, an axe check for all.

The screenshots are in `tests/.artifacts/pages`.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio

from tests.e2e import ffmpeg
from tests.e2e.browser import Driver, Page
from tests.e2e.dashboard import by, choose_password, log_in
from tests.e2e.deadline import until
from tests.e2e.livestreams import Livestream, Livestreams
from tests.e2e.player import plays
from tests.e2e.server import ARTIFACTS, Server, Token

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = {360: 740, 1440: 900}

# name: (address, what must be there before the picture is taken)
PAGES = {
    "live-broadcast": ("/live-broadcast", by("row-stage")),
    "token-details": ("/live-broadcast/{token}/details", by("token-value")),
    "token-publishing": ("/live-broadcast/{token}/publishing", by("whip-url")),
    "token-playback": ("/live-broadcast/{token}/playback", by("whep-url")),
    "token-streams": ("/live-broadcast/{token}/streams", by("stream-add")),
    "token-security": ("/live-broadcast/{token}/security", by("security-secure")),
    "token-api": ("/live-broadcast/{token}/api", by("stream-id")),
    "livestreams": ("/livestreams", by("livestream-show")),
    "livestream-overview": ("/livestreams/{livestream}/overview", by("playback-url")),
    "livestream-ingest": ("/livestreams/{livestream}/ingest", by("ingest-server")),
    "livestream-sessions": ("/livestreams/{livestream}/sessions", by("session-row")),
    "livestream-settings": ("/livestreams/{livestream}/settings", by("reset-key")),
    "subscribe-tokens": ("/subscribe-tokens", by("tokens-empty")),
    "monitoring": ("/monitoring", by("stream-stage")),
    "monitoring-stream": ("/monitoring/stream?name=stage", "main h1"),
    "secrets": ("/settings/secrets", by("add-secret")),
    "api-tokens": ("/settings/api-tokens", by("api-token-row")),
    "account": ("/settings/account", by("password-submit")),
    "not-found": ("/no-such-page", "main h1"),
    "broadcaster": ("/broadcaster?tokenId={token}&stream=stage", f"{by('start-button')}:enabled"),
    "viewer-waiting": ("/viewer?streamId={account}/silence", "::-p-text(NOT LIVE)"),
}


class Tour:
    """A logged-in page on a server with one live stream."""

    def __init__(self, page: Page, token: Token, livestream: Livestream) -> None:
        self.page = page
        self.token = token
        self.livestream = livestream

    def url(self, path: str) -> str:
        return self.token.server.url + path.format(
            token=self.token.id, account=self.token.account, livestream=self.livestream.id
        )

    async def look(self, name: str, *, over: str | None = None) -> None:
        """Take the four pictures, with the pointer over an element, and ask axe about each."""
        page = self.page
        wrong: list[str] = []
        for theme in THEMES:
            await page.theme(theme)
            for width, height in WIDTHS.items():
                await page.viewport(width, height)
                scrolls = await page.evaluate(
                    "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
                )
                if over:
                    await page.hover(over)
                await page.screenshot(ARTIFACTS / "pages" / f"{name}-{width}-{theme}.png")
                where = f"{width} px {theme}"
                if scrolls > 0:
                    wrong.append(f"{where}: scrolls sideways by {scrolls} px")
                for found in await page.axe():
                    wrong += [f"{where}: {found['id']} {element}" for element in found["elements"]]
        assert not wrong, "\n".join(wrong)


def add_past(data: Path, livestream: Livestream) -> None:
    """Sessions that took as many digits as sessions ever take: nobody waits for one that is a month long."""
    began = datetime(2026, 9, 28, 22, 58, 58, tzinfo=UTC)
    rows = [
        # A month, watched by a thousand; an hour; one that never came to anything.
        (began, timedelta(days=27, hours=23), 88_888_888.0 * 27, None),
        (began - timedelta(days=1), timedelta(minutes=59, seconds=59), 3_599.0, None),
        (None, timedelta(0), 0.0, "The picture is mpeg2video; " + "x" * 80),
    ]
    with closing(sqlite3.connect(data / "stagecast.db", timeout=10)) as database, database:
        for start, length, watched, error in rows:
            stop = (start or began) + length
            database.execute(
                "INSERT INTO livestream_session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(str(uuid.uuid4()), livestream.id, error),
                    *(_stored(began), start and _stored(start), _stored(stop)),
                    *(length.total_seconds(), watched, _stored(began), _stored(stop)),
                ),
            )


def _stored(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tour(tmp_path_factory: pytest.TempPathFactory, driver: Driver) -> AsyncIterator[Tour]:
    data = tmp_path_factory.mktemp("pages") / "data"
    server = await Server.start("pages", data)
    token = await server.own_token("stage")
    livestream = await Livestreams(await server.api()).create("show")
    add_past(data, livestream)
    async with (
        await ffmpeg.Publisher.start(token, size="640x360"),
        await ffmpeg.Publisher.start(livestream.whip_token(server), size="640x360"),
        await driver.open("chromium") as page,
    ):
        await until(token.live, what="ffmpeg is live")
        yield Tour(page, token, livestream)
    await server.stop()


async def test_login_and_first_password(tour: Tour) -> None:
    _, once = tour.token.server.first_password()
    await tour.page.goto(tour.url("/"))
    await tour.page.wait(by("login-email"))
    await tour.look("login")
    await log_in(tour.page, tour.token.server, once)
    await tour.page.wait(by("new-password"))
    await tour.look("first-password")
    await choose_password(tour.page, once)
    await tour.page.wait(by("row-stage"))


@pytest.mark.parametrize("name", PAGES)
async def test_page(tour: Tour, name: str) -> None:
    path, ready = PAGES[name]
    await tour.page.goto(tour.url(path))
    await tour.page.wait(ready)
    await tour.look(name)


async def test_viewer_with_picture(tour: Tour) -> None:
    await tour.page.goto(tour.token.viewer)
    await plays(tour.page)
    # The controls show while the pointer moves.
    await tour.look("viewer", over="stagecast-player")


async def test_add_livestream_and_api_token_dialogs(tour: Tour) -> None:
    for path, button, field in (
        ("/livestreams", "add-livestream", "livestream-name"),
        ("/settings/api-tokens", "add-api-token", "api-token-label"),
    ):
        await tour.page.goto(tour.url(path))
        await tour.page.click(by(button))
        await tour.page.wait(by(field))
        await tour.look(button)


async def test_add_token_dialog(tour: Tour) -> None:
    await tour.page.goto(tour.url("/live-broadcast"))
    await tour.page.click(by("add-token"))
    await tour.page.wait(by("token-label"))
    await tour.look("add-token")
