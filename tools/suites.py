"""Run every suite of the project, one after another, and say at the end how many tests passed and failed.

A suite that fails does not stop the others. What each prints is shown as it comes; counts are read from the closing
lines of pytest, cargo and vitest, and a suite without such a line counts as one test.

Usage: python tools/suites.py [SUITE ...]      SUITE is a name of the table below; all when none is given
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [sys.executable, "-m", "pytest", "-q", "--no-header"]

SUITES: dict[str, list[str]] = {
    "check": ["make", "--no-print-directory", "--keep-going", "check"],
    "rust": ["cargo", "test", "--workspace", "--locked", "--quiet"],
    "web": ["npm", "--prefix", "web", "run", "--silent", "test"],
    "unit": [*PYTEST, "-n", "2", "tests/tools", "tests/unit", "tests/contract", "tests/api"],
    "media": [*PYTEST, "tests/media"],
    "e2e": [*PYTEST, "--durations=10", "tests/e2e"],
}

# "12 passed, 1 skipped in 3.2s" · "test result: ok. 12 passed; 0 failed" · "Tests  1 failed | 12 passed (13)"
CLOSING = re.compile(
    r"^(?:=* *)?(?:test result: \w+\. |\s*Tests\s+)?(?=\d+ (?:passed|failed|skipped|error))"
)
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|ignored)\b")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Outcome:
    """What one suite came to."""

    name: str
    ok: bool
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def count(self, line: str) -> None:
        """Add the figures of a closing line; any other line adds nothing."""
        plain = ANSI.sub("", line)
        if not CLOSING.match(plain):
            return
        for number, what in COUNT.findall(plain):
            if what == "passed":
                self.passed += int(number)
            elif what in {"skipped", "ignored"}:
                self.skipped += int(number)
            else:
                self.failed += int(number)

    def settle(self) -> None:
        """Let the exit status have the last word where the counts say otherwise."""
        if self.ok and not self.passed + self.failed + self.skipped:
            self.passed = 1
        if not self.ok and not self.failed:
            self.failed = 1


def run(name: str, command: list[str]) -> Outcome:
    print(f"\n=== {name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    outcome = Outcome(name, ok=False, seconds=0.0)
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        for line in process.stdout:
            print(line, end="", flush=True)
            outcome.count(line)
    outcome.ok = process.returncode == 0
    outcome.seconds = time.monotonic() - started
    outcome.settle()
    return outcome


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"no suite {', '.join(unknown)}; there are: {', '.join(SUITES)}", file=sys.stderr)
        return 2
    outcomes = [run(name, SUITES[name]) for name in names or SUITES]
    print()
    for outcome in outcomes:
        mark = "ok" if outcome.ok else "FAILED"
        print(
            f"{outcome.name:6} {mark:6} {outcome.seconds:6.0f} s  {outcome.passed} passed, "
            f"{outcome.failed} failed, {outcome.skipped} skipped"
        )
    passed, failed, skipped = (
        sum(getattr(outcome, what) for outcome in outcomes)
        for what in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
