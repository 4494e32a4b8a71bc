"""A load run of LL-HLS players: like a run of viewers, but each player makes its own requests.

Figures of one poll (`_core.HlsLoad.poll`): `players`, `playing`; `failures` (counts by words); `start_ms` (listed,
started: spreads); `last` and `window` (seconds, active, requests, playlists, parts, hinted, bytes, missed,
wrong_hints, errors, stalls, stalled_seconds, part_age_ms, tool_late_ms); and `publishers`, as in a run of viewers.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from stagecast import _core
from stagecast.media.load.run import LIVE_PATIENCE, Plan, Progress, Run, RunError, percent
from stagecast.media.load.signalling import Target


@dataclass(frozen=True, slots=True)
class PlayersPlan(Plan):
    """`watch` is the address of a multivariant playlist."""

    hints: bool = True
    deltas: bool = True

    def players(self, at: Target) -> bytes:
        """What the players need to know."""
        parts = urlsplit(at.url)
        if parts.scheme != "http":
            raise RunError(
                "Players speak plain HTTP only: give an address that begins with http://."
            )
        port = parts.port or 80
        host = f"[{at.host}]" if ":" in at.host else at.host
        query = f"?{parts.query}" if parts.query else ""
        return json.dumps(
            {
                "server": f"{host}:{port}",
                "host": parts.netloc,
                "path": (parts.path or "/") + query,
                "threads": self.threads,
                "niceness": self.niceness,
                "audio": self.audio,
                "hints": self.hints,
                "deltas": self.deltas,
            }
        ).encode()


class PlayersRun(Run):
    """One run; `stop` may be called from a signal handler."""

    def __init__(
        self, plan: PlayersPlan, on_second: Callable[[Progress], None] = lambda _: None
    ) -> None:
        super().__init__(plan, on_second)
        self._manners = {"hints": plan.hints, "deltas": plan.deltas}
        if plan.watch is None:
            raise RunError("There is nothing to play.")
        self._players = _core.HlsLoad(plan.players(plan.watch))

    def _ramp(self, pool: ThreadPoolExecutor) -> None:
        plan = self._plan
        # The first one also waits for the stream to be live; it counts like any other.
        self._players.join()
        deadline = time.monotonic() + LIVE_PATIENCE
        while not (figures := self._poll())["playing"]:
            if time.monotonic() > deadline:
                why = ", ".join(figures["failures"]) or "no answer"
                raise RunError(f"The first player does not play: {why}.")
            if self._stopped.wait(0.1):
                return
        start = time.monotonic()
        next_second = start + 1
        for number in range(1, plan.viewers):
            due = start + number / plan.rate
            while (left := due - time.monotonic()) > 0:
                if self._stopped.wait(min(left, max(0.0, next_second - time.monotonic()))):
                    return
                if time.monotonic() >= next_second:
                    next_second += 1
                    self._second("join")
            self._players.join()

    def _leave(self, pool: ThreadPoolExecutor) -> None:
        self._players.close()
        super()._leave(pool)

    def _mark(self) -> None:
        super()._mark()
        self._players.mark()

    def _poll(self) -> dict[str, Any]:
        publishers = super()._poll()["publishers"]
        return {**json.loads(self._players.poll()), "publishers": publishers}

    def _described(self) -> dict[str, Any]:
        plan = super()._described()
        plan["players"] = plan.pop("viewers")
        for name in ("codecs", "probes", "offload", "loss", "delay_ms", "jitter_ms"):
            plan.pop(name)
        return {**plan, "audio": self._plan.audio, **self._manners}

    def _sample(self, figures: dict[str, Any]) -> dict[str, Any]:
        last = figures["last"]
        seconds = max(1e-3, last["seconds"])
        return {
            "viewers": figures["playing"],
            "active": last["active"],
            "requests_per_second": round(last["requests"] / seconds),
            "mbit_per_second": round(last["bytes"] * 8e-6 / seconds, 2),
            "missed_percent": percent(last["missed"], last["parts"] + last["missed"]),
            "part_age_p50_ms": last["part_age_ms"]["p50"],
            "part_age_p99_ms": last["part_age_ms"]["p99"],
            "stalls": last["stalls"],
            "errors": last["errors"],
        }

    def _costs(self, cpu: float, window: dict[str, Any]) -> dict[str, Any]:
        requests = window["requests"]
        return {
            "cpu_us_per_request": round(cpu * 1e6 / requests, 3) if requests else None,
            "requests_a_core_second": round(requests / cpu) if cpu else None,
        }
