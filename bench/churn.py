"""A thousand viewers come and go: what they leave behind in the server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.figures import Usage, usage
from bench.publishers import Stamped, until_live
from bench.server import Server
from stagecast import _core
from stagecast.media.client import Wanted, connect

AT_ONCE = 8
SETTLE = 3.0


def measure(cycles: int, warm_up: int) -> dict[str, Any]:
    pool = _core.ClientPool()
    with Server() as server, Stamped(server):
        until_live(server)
        _cycle(server, pool, warm_up)
        before = _settled(server)
        began = time.monotonic()
        _cycle(server, pool, cycles - warm_up)
        took = time.monotonic() - began
        after = _settled(server)
    pool.close()
    return {
        "cycles": cycles,
        "after_first": warm_up,
        "rss_growth_kib": (after.rss_bytes - before.rss_bytes) // 1024,
        "rss_mib": round(after.rss_bytes / 2**20, 1),
        "descriptor_growth": after.descriptors - before.descriptors,
        "thread_growth": after.threads - before.threads,
        "cycles_per_second": round((cycles - warm_up) / took, 1),
        "cpu_ms_per_cycle": round(
            (after.cpu_seconds - before.cpu_seconds) * 1000 / (cycles - warm_up), 2
        ),
    }


def _settled(server: Server) -> Usage:
    """After keep-alive connections and closing sessions are gone."""
    time.sleep(SETTLE)
    return usage(server.pid)


def _cycle(server: Server, pool: _core.ClientPool, count: int) -> None:
    with ThreadPoolExecutor(AT_ONCE) as workers:
        for done in [workers.submit(_join_and_leave, server, pool) for _ in range(count)]:
            done.result()


def _join_and_leave(server: Server, pool: _core.ClientPool) -> None:
    with connect(server.whep, Wanted(role="watch", depth="packets"), pool=pool) as session:
        deadline = time.monotonic() + 15
        while not session.stats().get("tracks"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no packet in 15 s: {session.stats()}")
            time.sleep(0.01)
