"""What Linux says about a process, the machine, and how idle it is."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """A process at one moment: seconds of processor time, bytes of resident memory."""

    user: float
    system: float
    resident: int

    @property
    def cpu(self) -> float:
        return self.user + self.system


def usage(pid: int) -> Usage:
    """Raises `OSError` when there is no such process (any more)."""
    process = Path("/proc") / str(pid)
    # Fields after the command, which may hold spaces: state is the third of all.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    pages = int((process / "statm").read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    return Usage(int(fields[11]) / _TICKS, int(fields[12]) / _TICKS, resident)


def idle_seconds() -> float:
    """Seconds of idling, summed over cores, since the machine started."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[4]) / _TICKS


def machine() -> dict[str, object]:
    """Where the figures come from: they compare on one machine only."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else "unknown",
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB,
        "load_before": round(os.getloadavg()[0], 2),
    }
