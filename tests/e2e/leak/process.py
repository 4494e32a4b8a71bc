"""What a process holds, as the kernel counts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Held:
    """Resources of a process at one moment."""

    resident_kib: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Held:
        process = Path("/proc") / str(pid)
        status = dict(
            line.split(":", 1)
            for line in (process / "status").read_text().splitlines()
            if ":" in line
        )
        return cls(
            resident_kib=int(status["VmRSS"].split()[0]),
            descriptors=sum(1 for _ in (process / "fd").iterdir()),
            threads=int(status["Threads"]),
        )
