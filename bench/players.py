"""LL-HLS to many players: `stagecast bench hls` on a real server, and on MediaMTX where it is installed.

Both get the same publisher (720p30 H264 at 2.5 Mbit/s with a keyframe each second, and Opus) and the same players,
in turn.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from bench import peers
from bench.server import Server

FEW, MANY = 200, 1000
SECONDS = 10
JOINS_PER_SECOND = 200


def measure() -> dict[str, Any]:
    """Figures of few and of many players on us, and of few on MediaMTX, if it is there."""
    with Server() as server:
        few = _load(server.pid, server.hls, server.whip, server.token, FEW)
    with Server() as server:
        many = _load(server.pid, server.hls, server.whip, server.token, MANY)
    results: dict[str, Any] = {"few": few, "many": many}
    with ExitStack() as running:
        try:
            peer = running.enter_context(peers.MediaMtxHls(peers.find("mediamtx", None).path))
        except peers.Missing as reason:
            results["missing"] = str(reason)
            return results
        results["mediamtx"] = _load(peer.pid, peer.hls, peer.whip, None, FEW)
    return results


def _load(pid: int, url: str, whip: str, token: str | None, players: int) -> dict[str, Any]:
    command = [
        *(sys.executable, "-m", "stagecast", "bench", "hls", url, "--publish", whip),
        *("--pid", str(pid), "--players", str(players), "--rate", str(JOINS_PER_SECOND)),
        *("--gop", "1", "--settle", "4", "--duration", str(SECONDS), "--json", "-"),
    ]
    if token:
        command += ["--publish-token", token]
    limit = 90 + players / JOINS_PER_SECOND + SECONDS
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr.strip()[-300:] or "no result")
    result = json.loads(done.stdout)
    result.pop("seconds")
    return result
