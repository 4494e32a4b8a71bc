"""The same load on us and on the peers that are installed, in turn, on one machine.

    python -m bench.compare --viewers 100 200 --rounds 2 --mediamtx PATH --srs PATH --before TREE [--write]

Each round runs every server once (A B C, A B C), so that a busy minute of the machine hits all of them. A run is
`stagecast bench whep` with its own publisher: 720p30 H264 at 2.5 Mbit/s with a keyframe each second, and Opus. The
table has the median of the rounds, and how many times as much as ours a packet costs. `--write` puts it into
`bench/README.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import peers
from bench.figures import machine

README = Path(__file__).with_name("README.md")
ARTIFACTS = Path(__file__).parent / ".artifacts"
BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
NAMES = ("mediamtx", "srs", "janus", "livekit")


def main() -> int:
    """Measure, print, and write where asked; 1 when nothing could be measured."""
    options = _options()
    entries = [peers.ours()]
    skipped: list[str] = []
    for number, tree in enumerate(options.before):
        name = "stagecast before" + (f" ({number + 1})" if len(options.before) > 1 else "")
        try:
            entries.append(peers.ours(Path(tree).resolve(), name))
        except peers.Missing as reason:
            skipped.append(f"{name}: {reason}")
    for name in NAMES:
        try:
            entries.append(peers.find(name, getattr(options, name)))
        except peers.Missing as reason:
            skipped.append(f"{name}: {reason}")
    for line in skipped:
        print(f"skipped {line}")
    where = machine()
    results = _measure(entries, options, skipped)
    text = table(results, entries)
    print(f"\n{text}")
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / "compare.json").write_text(json.dumps(results, indent=1) + "\n")
    if options.write and results:
        write(README, section(text, where, options, skipped))
        print(f"written to {README}")
    return 0 if results else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare")
    parser.add_argument("--viewers", type=int, nargs="+", default=[100])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=25)
    parser.add_argument("--before", nargs="*", default=[], metavar="TREE", help="checkouts, built")
    parser.add_argument("--write", action="store_true", help="update bench/README.md")
    parser.add_argument("--note", default="", help="a sentence for the README, such as the build")
    for name in NAMES:
        parser.add_argument(f"--{name}", metavar="PATH")
    return parser.parse_args()


def _measure(
    entries: list[peers.Entry], options: argparse.Namespace, skipped: list[str]
) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for viewers in options.viewers:
        for turn in range(options.rounds):
            for entry in entries:
                print(f"{entry.name}, {viewers} viewers, round {turn + 1} …", flush=True)
                try:
                    found = _run(entry, viewers, options)
                except (peers.Missing, RuntimeError) as error:
                    skipped.append(f"{entry.name} with {viewers} viewers: {error}")
                    print(f"  {error}")
                    continue
                results.append({"name": entry.name, "version": entry.version, **found})
                time.sleep(1)
    return results


def _run(entry: peers.Entry, viewers: int, options: argparse.Namespace) -> dict[str, Any]:
    with entry.start() as server:
        command = [
            *(sys.executable, "-m", "stagecast", "bench", "whep", server.whep),
            *("--publish", server.whip, "--pid", str(server.pid), "--viewers", str(viewers)),
            *("--rate", str(options.rate), "--duration", str(options.seconds), "--gop", "1"),
            *("--settle", "4", "--json", "-"),
        ]
        if server.token:
            command += ["--publish-token", server.token]
        limit = 60 + viewers / options.rate * 3 + options.seconds
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr.strip()[-300:] or "no result")
    result = json.loads(done.stdout)
    result.pop("seconds")
    return {"viewers": viewers, "result": result}


# --- the table -----------------------------------------------------------------------------

COLUMNS = (
    "server",
    "viewers",
    "µs a packet",
    "times ours",
    "KiB a viewer",
    "play",
    "raw loss %",
    "delay of first packet p50/p99 ms",
    "delay of last packet p50/p99 ms",
    "join: first packet p50/p95 ms",
    "join: keyframe p50/p95 ms",
    "idle cores",
)


def table(results: list[dict[str, Any]], entries: list[peers.Entry]) -> str:
    """Markdown, a row for each server and number of viewers."""
    counts = sorted({result["viewers"] for result in results})
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for viewers in counts:
        base = _median(_of(results, entries[0].name, viewers), "server", "cpu_us_per_packet")
        for entry in entries:
            runs = _of(results, entry.name, viewers)
            if runs:
                lines.append("| " + " | ".join(_row(entry, viewers, runs, base)) + " |")
    return "\n".join(lines)


def _of(results: list[dict[str, Any]], name: str, viewers: int) -> list[dict[str, Any]]:
    return [r["result"] for r in results if r["name"] == name and r["viewers"] == viewers]


def _median(runs: list[dict[str, Any]], *keys: str) -> float | None:
    values: list[float] = []
    for run in runs:
        value: Any = run
        for key in keys:
            value = value[key] if value is not None else None
        if value is not None:
            values.append(float(value))
    return statistics.median(values) if values else None


def _row(
    entry: peers.Entry, viewers: int, runs: list[dict[str, Any]], base: float | None
) -> list[str]:
    window = ("result", "window")
    cost = _median(runs, "server", "cpu_us_per_packet")
    missed, expected = _median(runs, *window, "missed"), _median(runs, *window, "expected")

    def pair(*keys: str, high: str = "p99") -> str:
        return f"{_number(_median(runs, *keys, 'p50'))}/{_number(_median(runs, *keys, high))}"

    return [
        f"{entry.name} {entry.version}",
        str(viewers),
        _number(cost),
        f"{cost / base:.2f}" if cost and base else "-",
        _number(_median(runs, "server", "kib_per_viewer")),
        f"{_median(runs, *window, 'active') or 0:.0f}",
        f"{100 * (missed or 0) / max(1.0, expected or 1):.3f}",
        pair(*window, "delay_ms", "first_packet"),
        pair(*window, "delay_ms", "last_packet"),
        pair("result", "join_ms", "first_packet", high="p95"),
        pair("result", "join_ms", "keyframe", high="p95"),
        _number(_median(runs, "idle_cores")),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def section(
    text: str, where: dict[str, object], options: argparse.Namespace, skipped: list[str]
) -> str:
    """What stands between the markers."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    lines = [
        f"Measured {day} on {where['cores']} cores of {where['cpu']}, kernel {where['kernel']}, "
        f"load {where['load_before']} before; median of {options.rounds} rounds of {options.seconds:.0f} s, "
        f"{options.rate:.0f} joins a second. {options.note}".rstrip(),
        "",
        text,
    ]
    if skipped:
        lines += ["", "Not measured:", "", *(f"- {line}" for line in skipped)]
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Replace what stands between the markers."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise SystemExit(f"{path} has no markers {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
