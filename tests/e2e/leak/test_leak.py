"""Viewers who come and go leave nothing behind."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from stagecast._core import Client, ClientPool
from tests.e2e import ffmpeg
from tests.e2e.deadline import until
from tests.e2e.leak.process import Held
from tests.e2e.server import Server, Token

CYCLES = 1_000
WARM_UP = 200
AT_ONCE = 10


@pytest_asyncio.fixture(loop_scope="session")
async def quiet(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that nobody else uses."""
    server = await Server.start("leak", tmp_path / "data")
    yield server
    await server.stop()


async def join_and_leave(
    client: httpx2.AsyncClient, pool: ClientPool, token: Token, how: int
) -> None:
    """Watch until the first frame; leave by DELETE, by saying goodbye, or both."""
    viewer = Client(json.dumps({"role": "watch", "depth": "frames"}).encode(), pool)
    try:
        answer = await client.post(
            token.whep, content=viewer.offer, headers={"Content-Type": "application/sdp"}
        )
        assert answer.status_code == 201, answer.text
        viewer.accept_answer(answer.text)
        frame = await asyncio.to_thread(viewer.next_frame, 10)
        assert frame is not None, "no frame came"
        if how != 1:
            gone = await client.delete(str(httpx2.URL(token.whep).join(answer.headers["location"])))
            assert gone.is_success, gone.text
    finally:
        viewer.close(goodbye=how != 0)


@pytest.mark.timeout(300)
async def test_a_thousand_viewers_come_and_go_and_leave_nothing(quiet: Server) -> None:
    token = await quiet.token("leak")
    pool = ClientPool()
    ways = itertools.cycle(range(3))
    async with (
        await ffmpeg.Publisher.start(token, size="320x180"),
        httpx2.AsyncClient(timeout=20) as client,
    ):
        await until(token.live, what="ffmpeg is live")
        alone = Held.of(quiet.pid)

        async def cycles(count: int) -> Held:
            for _ in range(count // AT_ONCE):
                await asyncio.gather(
                    *(join_and_leave(client, pool, token, next(ways)) for _ in range(AT_ONCE))
                )
            return await settled(quiet.pid, alone)

        warm = await cycles(WARM_UP)
        end = await cycles(CYCLES - WARM_UP)
    pool.close()
    print(f"alone {alone}\nwarm  {warm}\nend   {end}")
    assert end.resident_kib - warm.resident_kib < 5 * 1024
    # Pools of threads and connections breathe with the load; what 800 viewers leave behind would be 800.
    assert end.descriptors < warm.descriptors + AT_ONCE
    assert end.threads < warm.threads + AT_ONCE


async def settled(pid: int, alone: Held) -> Held:
    """Wait until the viewers' descriptors are closed, then look."""

    async def closed() -> bool:
        # The connections of the HTTP client are kept alive, and the publisher may have been given a
        # socket of its own since.
        return Held.of(pid).descriptors <= alone.descriptors + AT_ONCE + 1

    await until(closed, what="the descriptors of viewers are closed")
    return Held.of(pid)
