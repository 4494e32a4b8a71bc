"""Percentiles, and what Linux says about a process."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0


def spread(samples: Sequence[float]) -> dict[str, float]:
    return {
        "count": len(samples),
        "p50": round(percentile(samples, 0.50), 3),
        "p95": round(percentile(samples, 0.95), 3),
        "p99": round(percentile(samples, 0.99), 3),
        "max": round(max(samples, default=0.0), 3),
    }


@dataclass(frozen=True)
class Usage:
    """A process at one moment."""

    cpu_seconds: float
    rss_bytes: int
    descriptors: int
    threads: int


def usage(pid: int) -> Usage:
    process = Path("/proc") / str(pid)
    # Fields after the command, which may hold spaces: state is the third of all.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    user, system, threads = int(fields[11]), int(fields[12]), int(fields[17])
    resident = next(
        int(line.split()[1]) * 1024
        for line in (process / "status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    descriptors = len(list((process / "fd").iterdir()))
    return Usage((user + system) / _TICKS, resident, descriptors, threads)


def machine() -> dict[str, object]:
    """Where the figures come from: they compare on one machine only."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "load_before": round(os.getloadavg()[0], 2),
    }
