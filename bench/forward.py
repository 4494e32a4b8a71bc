"""Forwarding: the delay of each packet, and what a packet and a viewer cost the server."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from bench.figures import usage
from bench.publishers import Stamped, until_live
from bench.server import Server
from stagecast import _core
from stagecast.media.client import Session, Wanted, connect

WARM_UP = 4.0


def measure(viewers: int, seconds: float) -> dict[str, Any]:
    probe, pool = _core.DelayProbe(), _background_pool()
    # The viewers join while it is sent, and on a slow machine that takes its time.
    with Server() as server, Stamped(server, probe, seconds + WARM_UP + 10 + viewers / 5):
        until_live(server)
        time.sleep(1)
        before = usage(server.pid)
        wanted = Wanted(role="watch", depth="packets")
        watching = [connect(server.whep, wanted, pool=pool, probe=probe) for _ in range(viewers)]
        try:
            time.sleep(WARM_UP)
            result = _observe(server, watching, probe, seconds)
            grown = usage(server.pid).rss_bytes - before.rss_bytes
            result["memory_per_viewer_kib"] = round(grown / 1024 / viewers, 1)
        finally:
            for session in watching:
                session.close()
            pool.close()
    return result


def _background_pool() -> _core.ClientPool:
    """A pool whose thread yields to the server: real viewers use no core of its machine."""
    tasks = Path("/proc/self/task")
    before = {task.name for task in tasks.iterdir()}
    pool = _core.ClientPool()
    for task in {task.name for task in tasks.iterdir()} - before:
        os.setpriority(os.PRIO_PROCESS, int(task), 15)
    return pool


def _observe(
    server: Server, watching: list[Session], probe: _core.DelayProbe, seconds: float
) -> dict[str, Any]:
    probe.report()
    packets, began, start = _packets(watching), time.monotonic(), usage(server.pid)
    time.sleep(seconds)
    end, took, forwarded = usage(server.pid), time.monotonic() - began, _packets(watching)
    delays = json.loads(probe.report())
    cpu = end.cpu_seconds - start.cpu_seconds
    sent = forwarded[0] - packets[0]
    return {
        "viewers": len(watching),
        "seconds": round(took, 2),
        "delay_ms": delays["packets"],
        "frame_end_delay_ms": delays["frame_ends"],
        "handled_delay_ms": delays["handled"],
        "unmatched_packets": delays["unmatched"],
        "packets_per_viewer_per_second": round(sent / took / len(watching), 1),
        "packets_lost": forwarded[1] - packets[1],
        "cpu_us_per_packet": round(cpu * 1e6 / sent, 2) if sent else None,
        "cpu_share_of_a_core": round(cpu / took, 3),
        "viewers_a_core": round(len(watching) / (cpu / took)) if cpu else None,
    }


def _packets(watching: list[Session]) -> tuple[int, int]:
    """Packets that came and packets that never did, over all viewers."""
    tracks = [track for session in watching for track in session.stats().get("tracks", [])]
    return sum(t["packets"] for t in tracks), sum(t["packets_lost"] for t in tracks)
