"""A load run: publish if asked, join at a steady rate, let it settle, measure a window, leave.

Figures of one poll (`_core.Load.poll`): `viewers`, `connected`, `receiving`, `playing`; `ended` and `profiles`
(counts by name); `join_ms` (answered, connected, first_packet, keyframe), `jitter_video_ms`, `jitter_audio_ms`
(spreads: count, p50, p95, p99, max); `last` and `window` (seconds, active, packets, bytes, expected, missed,
filled, lost, stale, retransmissions, undecryptable, nacks, plis, frames, freezes, frozen_seconds, worst_loss,
delay_ms with first_packet, last_packet, capture, tool_late_ms); `publishers`.
"""

import contextlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from stagecast import __version__, _core
from stagecast.errors import StagecastError
from stagecast.media.load.machine import Usage, idle_seconds, machine, usage
from stagecast.media.load.signalling import JoinError, Signalling, Target

MAX_VIEWERS = 10_000
MAX_PUBLISHERS = 1_000
MAX_SECONDS = 3_600
_WORKERS = 64
LIVE_PATIENCE = 15.0
_LEAVE_PATIENCE = 10.0
_KIB, _MIB = 1 << 10, 1 << 20


class RunError(StagecastError):
    """Nothing could be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does; times in seconds."""

    watch: Target | None = None
    viewers: int = 0
    rate: float = 20.0
    settle: float = 3.0
    duration: float = 10.0
    publish: Sequence[Target] = ()
    clip: _core.Clip | None = None
    obeys: bool = True
    codecs: Sequence[str] = ("h264", "vp8", "vp9", "av1")
    audio: bool = True
    pid: int | None = None
    threads: int = 1
    niceness: int = 10
    probes: int = 5
    offload: bool = False
    loss: float = 0.0
    delay_ms: int = 0
    jitter_ms: int = 0
    seed: int = 1

    def config(self) -> bytes:
        network = {"loss": self.loss, "delay_ms": self.delay_ms, "jitter_ms": self.jitter_ms}
        return json.dumps(
            {
                "threads": self.threads,
                "niceness": self.niceness,
                "probes": self.probes,
                "offload": self.offload,
                "network": network,
                "seed": self.seed,
            }
        ).encode()


@dataclass(slots=True)
class Progress:
    """What a live view shows."""

    phase: str
    seconds: float
    figures: dict[str, Any]
    failed: int = 0
    server_cores: float | None = None
    rss_mib: float | None = None


@dataclass(slots=True)
class _Meter:
    """The server's and our own processor time between two looks."""

    pid: int | None
    at: float = field(default_factory=time.monotonic)
    idle: float = field(default_factory=idle_seconds)
    ours: Usage = field(default_factory=lambda: usage(os.getpid()))
    server: Usage | None = None

    def __post_init__(self) -> None:
        self.server = _usage(self.pid)

    def cores(self) -> float | None:
        """The server's cores in use since this meter was made."""
        now = _usage(self.pid)
        if now is None or self.server is None:
            return None
        return (now.cpu - self.server.cpu) / max(1e-3, time.monotonic() - self.at)


def _usage(pid: int | None) -> Usage | None:
    if pid is None:
        return None
    try:
        return usage(pid)
    except (OSError, IndexError, ValueError):
        return None


class Run:
    """One run; `stop` may be called from a signal handler."""

    def __init__(self, plan: Plan, on_second: Callable[[Progress], None] = lambda _: None) -> None:
        self._plan = plan
        self._on_second = on_second
        self._load = _core.Load(plan.config())
        self._signalling = Signalling()
        self._stopped = threading.Event()
        self._sessions: list[tuple[Target, str]] = []
        self._failures: Counter[str] = Counter()
        self._first_failure = ""
        self._lock = threading.Lock()
        self._seconds: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._meter = _Meter(plan.pid)

    def stop(self) -> None:
        """End soon; what was measured so far is reported."""
        self._stopped.set()

    def run(self) -> dict[str, Any]:
        """Do it; the result as JSON holds it."""
        plan = self._plan
        if plan.pid is not None and _usage(plan.pid) is None:
            raise RunError(f"There is no process {plan.pid}.")
        where = machine()
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="join") as pool:
            try:
                self._publish()
                before = _usage(plan.pid)
                self._ramp(pool)
                self._pass("settle", plan.settle)
                window = self._window()
            finally:
                self._leave(pool)
        result: dict[str, Any] = {
            "tool": "stagecast bench",
            "version": __version__,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": where,
            "plan": self._described(),
            "joins_failed": dict(self._failures),
            "first_failure": self._first_failure,
            "interrupted": self._stopped.is_set(),
            **window,
            "seconds": self._seconds,
        }
        result["server"] = self._server(window, before)
        for key in ("meter", "meter_end"):
            result.pop(key)
        return result

    # --- publishing and joining ---------------------------------------------------------

    def _publish(self) -> None:
        plan = self._plan
        if not plan.publish or plan.clip is None:
            return
        for at in plan.publish:
            ident, offer = self._load.publisher(at.host, plan.clip, plan.obeys)
            try:
                self._signal(at, ident, offer)
            except JoinError as error:
                raise RunError(f"The publisher was refused: {error}.") from error
        deadline = time.monotonic() + LIVE_PATIENCE
        while True:
            publishers = self._poll()["publishers"]
            if publishers["live"] == len(plan.publish) and publishers["packets"] > 0:
                return
            if time.monotonic() > deadline or publishers["ended"]:
                raise RunError(
                    f"The publisher did not connect: {publishers['ended'] or 'no media path'}."
                )
            if self._stopped.wait(0.1):
                return

    def _ramp(self, pool: ThreadPoolExecutor) -> None:
        plan = self._plan
        if plan.watch is None:
            return
        # The first one also waits for the stream to be live; it counts like any other.
        self._join(LIVE_PATIENCE)
        if self._failures:
            raise RunError(f"No viewer was let in: {self._first_failure}.")
        start = time.monotonic()
        joins: list[Future[None]] = []
        next_second = start + 1
        for number in range(1, plan.viewers):
            due = start + number / plan.rate
            while (left := due - time.monotonic()) > 0:
                if self._stopped.wait(min(left, max(0.0, next_second - time.monotonic()), 1.0)):
                    return
                if time.monotonic() >= next_second:
                    next_second += 1
                    self._second("join")
            joins.append(pool.submit(self._join))
        while not self._stopped.is_set() and wait(joins, timeout=1).not_done:
            self._second("join")

    def _join(self, patience: float = 0.0) -> None:
        plan, watch = self._plan, self._plan.watch
        if watch is None:
            return
        deadline = time.monotonic() + patience
        while not self._stopped.is_set():
            try:
                ident, offer = self._load.viewer(watch.host, list(plan.codecs), plan.audio)
                self._signal(watch, ident, offer)
            except JoinError as error:
                # Not live yet, or not there yet.
                if (
                    error.reason in {"http 404", "http 409", "http 425"}
                    and time.monotonic() < deadline
                ):
                    self._stopped.wait(0.1)
                    continue
                self._fail(error.reason, str(error))
            except _core.CoreError as error:
                self._fail(error.code, error.detail)
            return

    def _signal(self, at: Target, ident: int, offer: str) -> None:
        try:
            answer, resource = self._signalling.post(at, offer, lambda: self._load.posted(ident))
            with self._lock:
                self._sessions.append((at, resource))
            self._load.answer(ident, answer)
        except _core.CoreError as error:
            raise JoinError(error.code, error.detail) from error
        except JoinError:
            self._load.close_peer(ident)
            raise

    def _fail(self, reason: str, message: str) -> None:
        with self._lock:
            self._failures[reason] += 1
            self._first_failure = self._first_failure or message

    def _leave(self, pool: ThreadPoolExecutor) -> None:
        """Delete all sessions, and say goodbye to those that did not hear of it."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        left = [pool.submit(self._signalling.delete, at, resource) for at, resource in sessions]
        _, late = wait(left, timeout=_LEAVE_PATIENCE)
        for one in late:
            one.cancel()
        self._load.close()
        self._signalling.close()

    # --- watching -----------------------------------------------------------------------

    def _pass(self, phase: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._stopped.wait(min(1.0, left)):
            if end - time.monotonic() > 0.2:
                self._second(phase)

    def _window(self) -> dict[str, Any]:
        """Measure; the poll at the end counts from the mark."""
        meter = _Meter(self._plan.pid)
        self._mark()
        self._meter = _Meter(self._plan.pid)
        self._pass("measure", self._plan.duration)
        end = _Meter(self._plan.pid)
        figures = self._poll()
        figures.pop("last")
        seconds = max(1e-3, end.at - meter.at)
        return {
            "result": figures,
            "generator_cores": round((end.ours.cpu - meter.ours.cpu) / seconds, 3),
            "idle_cores": round((end.idle - meter.idle) / seconds, 3),
            "meter": meter,
            "meter_end": end,
        }

    def _second(self, phase: str) -> None:
        figures, cores = self._poll(), self._meter.cores()
        self._meter = _Meter(self._plan.pid)
        server = self._meter.server
        rss = server.resident / _MIB if server else None
        at = time.monotonic() - self._began
        row = {"at": round(at, 2), "phase": phase, **self._sample(figures)}
        row["server_cores"] = None if cores is None else round(cores, 3)
        row["rss_mib"] = None if rss is None else round(rss, 1)
        self._seconds.append(row)
        self._on_second(Progress(phase, at, figures, self._failures.total(), cores, rss))

    # --- what a kind of run sees --------------------------------------------------------

    def _mark(self) -> None:
        self._load.mark()

    def _poll(self) -> dict[str, Any]:
        return json.loads(self._load.poll())

    def _sample(self, figures: dict[str, Any]) -> dict[str, Any]:
        """A second, for plots."""
        last = figures["last"]
        seconds = max(1e-3, last["seconds"])
        sent = figures["publishers"]
        return {
            "viewers": figures["playing"],
            "active": last["active"],
            "packets_per_second": round(last["packets"] / seconds),
            "mbit_per_second": round(last["bytes"] * 8e-6 / seconds, 2),
            "loss_percent": percent(last["missed"], last["expected"]),
            "lost_percent": percent(last["lost"], last["expected"]),
            "first_packet_p50_ms": last["delay_ms"]["first_packet"]["p50"],
            "last_packet_p50_ms": last["delay_ms"]["last_packet"]["p50"],
            "last_packet_p99_ms": last["delay_ms"]["last_packet"]["p99"],
            "freezes": last["freezes"],
            "published_packets": sent["packets"],
        }

    def _costs(self, cpu: float, window: dict[str, Any]) -> dict[str, Any]:
        """What so many seconds of processor time were spent for."""
        packets = window["packets"]
        return {"cpu_us_per_packet": round(cpu * 1e6 / packets, 3) if packets else None}

    def _server(self, window: dict[str, Any], before: Usage | None) -> dict[str, Any] | None:
        """What the run cost the server's process in the window."""
        start, end = window["meter"].server, window["meter_end"].server
        if start is None or end is None or before is None:
            return None
        cpu = end.cpu - start.cpu
        span = window["result"]["window"]
        active = span["active"]
        seconds = max(1e-3, window["meter_end"].at - window["meter"].at)
        with contextlib.suppress(ZeroDivisionError):
            return {
                "cores": round(cpu / seconds, 4),
                "user_percent": round(100 * (end.user - start.user) / cpu, 1) if cpu else None,
                **self._costs(cpu, span),
                "cpu_ms_per_viewer_second": round(cpu * 1e3 / seconds / active, 3)
                if active
                else None,
                "viewers_a_core": round(active / (cpu / seconds)) if cpu else None,
                "rss_before_mib": round(before.resident / _MIB, 1),
                "rss_mib": round(end.resident / _MIB, 1),
                "kib_per_viewer": round(
                    (end.resident - before.resident) / _KIB / max(1, self._plan.viewers), 1
                ),
            }
        return None

    def _described(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "watch": plan.watch.url if plan.watch else None,
            "publish": [at.url for at in plan.publish],
            "viewers": plan.viewers,
            "rate": plan.rate,
            "settle": plan.settle,
            "duration": plan.duration,
            "obeys_keyframe_requests": plan.obeys,
            "codecs": list(plan.codecs),
            "threads": plan.threads,
            "probes": plan.probes,
            "offload": plan.offload,
            "loss": plan.loss,
            "delay_ms": plan.delay_ms,
            "jitter_ms": plan.jitter_ms,
        }


def percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 4) if whole else 0.0
