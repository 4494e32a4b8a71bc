"""Shared by all end-to-end tests: one server, one driver of browsers, one foreign origin for pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.browser import Driver, Engine, Page
from tests.e2e.origin import serve_pages
from tests.e2e.server import Server

HERE = Path(__file__).resolve().parent

Open = Callable[..., Awaitable[Page]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything runs in one event loop, so that browsers and servers can be shared; browsers need more time."""
    for item in items:
        if HERE not in item.path.parents:
            continue
        if pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(90))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """The server that most tests share; each test has streams of its own."""
    running = await Server.start("shared", tmp_path_factory.mktemp("shared") / "data")
    yield running
    assert await running.stop() == 0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def driver() -> AsyncIterator[Driver]:
    started = await Driver.start()
    yield started
    await started.stop()


@pytest.fixture(scope="session")
def origin() -> Iterator[str]:
    """The address of a web server that is not Stagecast, with the pages of `pages/`."""
    with serve_pages() as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(driver: Driver) -> AsyncIterator[Open]:
    """Open pages that are closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def opener(engine: Engine = "chromium", *, prefix: str | None = None) -> Page:
            return await stack.enter_async_context(await driver.open(engine, prefix=prefix))

        yield opener


@pytest_asyncio.fixture(loop_scope="session")
async def rtc(open_page: Open, origin: str) -> Open:
    """Open the page that speaks WHIP and WHEP by hand."""

    async def opener(engine: Engine = "chromium") -> Page:
        page = await open_page(engine)
        await page.goto(f"{origin}/rtc.html")
        return page

    return opener
