"""Real browsers from Python: a thin client of `browser.mjs`, which holds puppeteer.

Every call has a deadline; nothing sleeps. `Page.until` asks again until a condition in the page holds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from pathlib import Path
from typing import Any, Literal, Self

from tests.e2e.deadline import until

HERE = Path(__file__).resolve().parent

Engine = Literal["chromium", "firefox"]


class BrowserError(Exception):
    """The browser refused, or the page's script threw."""


class Driver:
    """The node process that holds the browsers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._launched: dict[str, asyncio.Task[str]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> Self:
        node = shutil.which("node")
        assert node is not None, "node was not found"
        process = await asyncio.create_subprocess_exec(
            node,
            str(HERE / "browser.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=64 << 20,
        )
        return cls(process)

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 15)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._reader.cancel()

    async def ask(self, op: str, deadline: float = 30, **arguments: Any) -> Any:
        """Send one request and return its value."""
        number = next(self._numbers)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        assert self._process.stdin is not None
        line = json.dumps({"id": number, "op": op, **arguments})
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
        try:
            return await asyncio.wait_for(reply, deadline)
        finally:
            del self._waiting[number]

    async def open(self, engine: Engine, *, prefix: str | None = None) -> Page:
        """Open an empty page in a context of its own, starting the browser when it is the first."""
        browser: str = f"{engine}:{prefix}" if prefix else engine
        if browser not in self._launched:
            launch = self.ask("launch", 60, browser=engine, prefix=prefix, key=browser)
            self._launched[browser] = asyncio.create_task(launch)
        await self._launched[browser]
        name = f"page{next(self._numbers)}"
        await self.ask("open", browser=browser, name=name, width=1440, height=900)
        return Page(self, name, engine)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            reply = json.loads(line)
            waiting = self._waiting.get(reply["id"])
            if waiting is None or waiting.done():
                continue
            if "error" in reply:
                waiting.set_exception(BrowserError(reply["error"]))
            else:
                waiting.set_result(reply["value"])
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(BrowserError("the browser driver ended"))


class Page:
    """One tab with cookies of its own. Selectors are puppeteer's: CSS, `::-p-text(...)`, `::-p-aria(...)`."""

    def __init__(self, driver: Driver, name: str, engine: Engine, frame: str = "") -> None:
        self._driver = driver
        self._name = name
        self._frame = frame
        self.engine: Engine = engine

    def frame(self, part: str) -> Page:
        """The frame whose address contains that part; looked up again by every call."""
        return Page(self._driver, self._name, self.engine, part)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._ask("close")

    async def goto(self, url: str) -> int:
        """Load an address; the status of the answer."""
        return await self._ask("goto", url=url)

    async def evaluate(self, source: str, *args: Any) -> Any:
        """Call a JavaScript function in the page and wait for its result."""
        return await self._ask("evaluate", source=source, args=args)

    async def until(self, source: str, *args: Any, deadline: float = 15, what: str = "") -> Any:
        """Call a JavaScript function until what it returns is true; return that."""
        return await until(
            lambda: self.evaluate(source, *args), deadline=deadline, what=what or source
        )

    async def click(self, selector: str) -> None:
        await self._ask("click", selector=selector)

    async def hover(self, selector: str) -> None:
        await self._ask("hover", selector=selector)

    async def fill(self, selector: str, text: str) -> None:
        await self._ask("fill", selector=selector, text=text)

    async def press(self, key: str) -> None:
        await self._ask("press", key=key)

    async def wait(self, selector: str, *, hidden: bool = False) -> None:
        await self._ask("wait", selector=selector, hidden=hidden)

    async def text(self, selector: str) -> str:
        return await self._ask("text", selector=selector)

    async def value(self, selector: str) -> str:
        return await self._ask("value", selector=selector)

    async def attribute(self, selector: str, attribute: str) -> str | None:
        return await self._ask("attribute", selector=selector, attribute=attribute)

    async def count(self, selector: str) -> int:
        return await self._ask("count", selector=selector)

    async def url(self) -> str:
        return await self._ask("url")

    async def problems(self) -> list[str]:
        """Script errors and console errors since the last call."""
        return await self._ask("problems")

    async def viewport(self, width: int, height: int) -> None:
        await self._ask("viewport", width=width, height=height)

    async def theme(self, theme: Literal["light", "dark"]) -> None:
        await self._ask("theme", theme=theme)

    async def screenshot(self, path: Path, *, full: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        await self._ask("screenshot", path=str(path), fullPage=full)

    async def axe(self) -> list[dict[str, Any]]:
        """What axe-core finds wrong with the page as it stands."""
        return await self._ask("axe")

    async def _ask(self, op: str, **arguments: Any) -> Any:
        return await self._driver.ask(op, name=self._name, frame=self._frame, **arguments)
