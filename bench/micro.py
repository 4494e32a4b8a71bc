"""Micro-benchmarks of the core, as ratios to the figures saved with the last commit that changed them.

    python -m bench.micro [NAME] [--save]

Runs `cargo bench -p stagecast-bench`. Absolute figures hold for one machine; `bench/micro.json` says for which, and on
another one ratios tell nothing before `--save`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.figures import machine

Figures = Mapping[str, Mapping[str, float | None]]

ROOT = Path(__file__).parent.parent
SAVED = Path(__file__).with_name("micro.json")
# More than the noise of two runs on a quiet machine.
NOTICEABLE = 1.1


def main() -> int:
    """Run, print, save where asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro")
    parser.add_argument("name", nargs="?", help="only those that contain this")
    parser.add_argument("--save", action="store_true", help="write bench/micro.json")
    options = parser.parse_args()
    measured = measure(options.name)
    where = machine()
    before = saved()
    print(report(measured, before, where))
    if options.save:
        figures = {**before.get("figures", {}), **measured}
        SAVED.write_text(json.dumps({"machine": where, "figures": figures}, indent=2) + "\n")
        print(f"written to {SAVED.relative_to(ROOT)}")
    return 0


def measure(name: str | None = None) -> Figures:
    """Build and run the benchmarks, or those whose name contains `name`."""
    command = ["cargo", "bench", "--quiet", "-p", "stagecast-bench", "--bench", "micro", "--"]
    done = subprocess.run(
        [*command, *([name] if name else [])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def saved() -> dict[str, Any]:
    """What the last commit that changed it saved."""
    return json.loads(SAVED.read_text()) if SAVED.exists() else {}


def report(measured: Figures, before: dict[str, Any], where: dict[str, object]) -> str:
    """A line each: time, instructions, and their ratios to the saved ones."""
    lines: list[str] = []
    known = before.get("machine", {})
    if before and known.get("cpu") != where["cpu"]:
        lines.append(f"The saved figures are of another machine ({known.get('cpu')}).")
    lines.append(f"{'':20} {'ns':>12} {'ratio':>7} {'instructions':>14} {'ratio':>7}")
    for name, figures in measured.items():
        last = before.get("figures", {}).get(name, {})
        cells: list[str] = []
        marks: list[str] = []
        for key, width in (("ns", 12), ("instructions", 14)):
            now, then = figures.get(key), last.get(key)
            ratio = now / then if now is not None and then else None
            cells.append(f"{'-' if now is None else f'{now:.1f}':>{width}}")
            cells.append(f"{'-' if ratio is None else f'{ratio:.2f}':>7}")
            if ratio is not None and not 1 / NOTICEABLE < ratio < NOTICEABLE:
                marks.append(f"{key} {'up' if ratio > 1 else 'down'}")
        lines.append(" ".join([f"{name:20}", *cells, ", ".join(marks)]).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
