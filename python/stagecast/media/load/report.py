"""The result of a run for people: rows of text, and one HTML file with plots.

The page needs nothing else: styles and plots (SVG) are inside, it is light or dark as the reader's
system is, and every plot's figures are in the JSON below it.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# More is not the server's doing.
_LATE_MS = 50
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 180, 52, 24, 10


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values, in the order they are read."""
    figures, plan = result["result"], result["plan"]
    window = figures["window"]
    found: list[tuple[str, str]] = []
    if plan.get("players"):
        found += _player_rows(result, figures, window)
    elif plan["viewers"]:
        found += _viewer_rows(result, figures, window)
    sent = figures["publishers"]
    if sent["count"]:
        found.append(
            (
                "publishers",
                (
                    f"{sent['live']} of {sent['count']} live, {sent['packets']} packets, {sent['keyframes']} "
                    f"keyframes, {sent['plis']} PLI, {sent['resent']} sent again, a frame took up to "
                    f"{sent['longest_spread_ms']:.0f} ms"
                ),
            )
        )
    found += _server_rows(result)
    found.append(
        (
            "this tool",
            f"{result['generator_cores']} cores; {result['idle_cores']} cores of the machine idle",
        )
    )
    late = window["tool_late_ms"]
    if late > _LATE_MS:
        found.append(
            (
                "careful",
                (
                    f"the machine kept this tool waiting for up to {late:.0f} ms: delays, joins and freezes "
                    "are its own as well as the server's"
                ),
            )
        )
    if result["interrupted"]:
        found.append(("interrupted", "the run was stopped before its end"))
    return found


def _viewer_rows(
    result: dict[str, Any], figures: dict[str, Any], window: dict[str, Any]
) -> list[tuple[str, str]]:
    seconds = max(1e-3, window["seconds"])
    expected = max(1, window["expected"])
    failed = sum(result["joins_failed"].values())
    frozen = window["frozen_seconds"] / seconds / max(1, window["active"])
    viewers = f"{figures['playing']} of {result['plan']['viewers']} play"
    if failed:
        viewers += f", {failed} not let in ({result['first_failure']})"
    ended = {name: count for name, count in figures["ended"].items() if name != "closed"}
    if ended:
        viewers += f", ended: {_counts(ended)}"
    delay = window["delay_ms"]
    return [
        ("viewers", viewers),
        ("SRTP", _counts(figures["profiles"]) or "-"),
        ("join: answer", _spread(figures["join_ms"]["answered"])),
        ("join: connected", _spread(figures["join_ms"]["connected"])),
        ("join: first packet", _spread(figures["join_ms"]["first_packet"])),
        ("join: whole keyframe", _spread(figures["join_ms"]["keyframe"])),
        (
            "received",
            (
                f"{window['packets'] / seconds:.0f} packets/s, {window['bytes'] * 8e-6 / seconds:.1f} Mbit/s, "
                f"{window['active']} viewers active"
            ),
        ),
        (
            "loss",
            (
                f"{100 * window['missed'] / expected:.4f} % raw, {100 * window['lost'] / expected:.4f} % for good, "
                f"worst viewer {100 * window['worst_loss']:.3f} %"
            ),
        ),
        (
            "repair",
            f"{window['nacks']} NACK, {window['retransmissions']} retransmissions, {window['plis']} PLI",
        ),
        ("delay: first packet", _spread(delay["first_packet"])),
        ("delay: last packet", _spread(delay["last_packet"])),
        ("delay: from capture", _spread(delay["capture"])),
        ("jitter, video", _spread(figures["jitter_video_ms"])),
        ("freezes", f"{window['freezes']}, {100 * frozen:.3f} % of the time"),
    ]


def _player_rows(
    result: dict[str, Any], figures: dict[str, Any], window: dict[str, Any]
) -> list[tuple[str, str]]:
    seconds = max(1e-3, window["seconds"])
    players = f"{figures['playing']} of {result['plan']['players']} play"
    if figures["failures"] and figures["playing"] < result["plan"]["players"]:
        players += f", failed: {_counts(figures['failures'])}"
    stalled = window["stalled_seconds"] / seconds / max(1, window["active"])
    return [
        ("players", players),
        ("start: playlists", _spread(figures["start_ms"]["listed"])),
        ("start: enough to play", _spread(figures["start_ms"]["started"])),
        (
            "received",
            (
                f"{window['requests'] / seconds:.0f} requests/s, {window['parts'] / seconds:.0f} parts/s, "
                f"{window['bytes'] * 8e-6 / seconds:.1f} Mbit/s, {window['active']} players active"
            ),
        ),
        (
            "missed",
            (
                f"{window['missed']} of {window['parts'] + window['missed']} parts, "
                f"{window['errors']} requests failed, {window['wrong_hints']} hints were wrong"
            ),
        ),
        ("age of a part", _spread(window["part_age_ms"])),
        ("stalls", f"{window['stalls']}, {100 * stalled:.3f} % of the time"),
    ]


def _server_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    server = result["server"]
    if server is None:
        return []
    found = [("server", f"{server['cores']} cores, {server['user_percent']} % of it user time")]
    for unit in ("packet", "request"):
        if server.get(f"cpu_us_per_{unit}") is None:
            continue
        found.append(
            (
                f"server, a {unit}",
                (
                    f"{server[f'cpu_us_per_{unit}']} µs; a viewer {server['cpu_ms_per_viewer_second']} ms a second, "
                    f"{server['viewers_a_core']} viewers a core"
                ),
            )
        )
    found.append(
        (
            "server, memory",
            f"{server['rss_mib']} MiB ({server['rss_before_mib']} before), {server['kib_per_viewer']} KiB a viewer",
        )
    )
    return found


def _spread(spread: dict[str, Any]) -> str:
    if not spread["count"]:
        return "-"
    return (
        f"p50 {spread['p50']:.1f}   p95 {spread['p95']:.1f}   p99 {spread['p99']:.1f}   "
        f"max {spread['max']:.1f} ms   ({spread['count']})"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


# --- HTML ----------------------------------------------------------------------------------

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--line:#d8dee4;--page:#fff;--card:#f6f8fa;
--a:#0b66d6;--b:#c2410c;--c:#15803d}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--line:#30363d;--page:#0d1117;--card:#161b22;
--a:#58a6ff;--b:#f0883e;--c:#3fb950}}
body{margin:0 auto;padding:2rem 1rem;max-width:46rem;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:1.6rem 0 .4rem}
p,dt,summary,figcaption{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;background:var(--card);
padding:1rem;border-radius:8px}
dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
figure{margin:0}svg{width:100%;height:auto;background:var(--card);border-radius:8px}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}.grid{stroke:var(--line)}
.a{--k:var(--a)}.b{--k:var(--b)}.c{--k:var(--c)}
polyline{fill:none;stroke:var(--k);stroke-width:1.8}.key{fill:var(--k)!important;font-weight:600}
.band{fill:var(--line);opacity:.45}
pre{overflow:auto;background:var(--card);padding:1rem;border-radius:8px;font-size:12px}
@media (max-width:34rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}
"""


@dataclass(frozen=True, slots=True)
class _Plot:
    title: str
    unit: str
    series: tuple[tuple[str, str], ...]

    @property
    def heading(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title


_PLOTS = (
    _Plot("Viewers that play", "", (("viewers", "playing"),)),
    _Plot("Received", "Mbit/s", (("mbit_per_second", "all viewers"),)),
    _Plot(
        "Delay of a frame's last packet",
        "ms",
        (("last_packet_p50_ms", "p50"), ("last_packet_p99_ms", "p99")),
    ),
    _Plot("Requests", "a second", (("requests_per_second", "all players"),)),
    _Plot("Age of a part", "ms", (("part_age_p50_ms", "p50"), ("part_age_p99_ms", "p99"))),
    _Plot("Parts missed", "%", (("missed_percent", "of all"),)),
    _Plot("Loss", "%", (("loss_percent", "raw"), ("lost_percent", "for good"))),
    _Plot("Server, processor", "cores", (("server_cores", "server"),)),
    _Plot("Server, memory", "MiB", (("rss_mib", "resident"),)),
)


def to_html(result: dict[str, Any]) -> str:
    """One page."""
    plan, machine = result["plan"], result["machine"]
    watching = next((kind for kind in ("players", "viewers") if plan.get(kind)), None)
    what = (
        f"{plan[watching]} {watching} of {plan['watch']}"
        if watching
        else f"{len(plan['publish'])} publishers"
    )
    facts = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows(result)
    )
    plots = "".join(
        f"<h2>{html.escape(plot.heading)}</h2><figure>{drawn}</figure>"
        for plot in _PLOTS
        if (drawn := _draw(plot, result["seconds"]))
    )
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, kernel {machine['kernel']}, "
        f"load before {machine['load_before']}"
    )
    text = html.escape(json.dumps(result, indent=1))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Load: {html.escape(what)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(what)}</h1><p>{html.escape(result['at'])} · {html.escape(where)} · "
        f"stagecast {html.escape(result['version'])}</p><dl>{facts}</dl>{plots}"
        f"<h2>Figures</h2><details><summary>Everything as JSON</summary><pre>{text}</pre></details></html>\n"
    )


def _draw(plot: _Plot, seconds: Sequence[dict[str, Any]]) -> str:
    """A line plot over time; nothing without at least two points. The measured window is shaded."""
    lines = [
        (label, [(row["at"], float(row[key])) for row in seconds if row.get(key) is not None])
        for key, label in plot.series
    ]
    lines = [(label, points) for label, points in lines if len(points) > 1]
    if not lines or (plot.unit != "%" and not any(y for _, points in lines for _, y in points)):
        return ""
    first = min(points[0][0] for _, points in lines)
    last = max(points[-1][0] for _, points in lines)
    top = _ceiling(max(y for _, points in lines for _, y in points))
    across = (_WIDTH - _LEFT - 12) / max(1e-6, last - first)
    down = (_HEIGHT - _TOP - _BOTTOM) / top

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - first) * across, _HEIGHT - _BOTTOM - y * down

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(plot.title)}">'
    ]
    measured = [row["at"] for row in seconds if row["phase"] == "measure"]
    if len(measured) > 1:
        x, _ = place(measured[0], 0)
        width = (measured[-1] - measured[0]) * across
        parts.append(
            f'<rect class="band" x="{x:.1f}" y="{_TOP}" width="{width:.1f}" '
            f'height="{_HEIGHT - _TOP - _BOTTOM}"/>'
        )
    for share in (0, 0.5, 1):
        _, y = place(first, top * share)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share:g}</text>'
        )
    for x in (first, last):
        at, _ = place(x, 0)
        parts.append(
            f'<text x="{at:.1f}" y="{_HEIGHT - 7}" text-anchor="middle">{x - first:.0f} s</text>'
        )
    for number, (label, points) in enumerate(lines):
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        color = "abc"[number % 3]
        parts.append(
            f'<g class="{color}"><polyline points="{line}"/>'
            f'<text class="key" x="{_WIDTH - 16 - 70 * number}" y="{_TOP + 12}" text-anchor="end">'
            f"{html.escape(label)}</text></g>"
        )
    return "".join([*parts, "</svg>"])


def _ceiling(value: float) -> float:
    """A round number at or above, for the axis."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    while scale > value:
        scale /= 10
    return next(step * scale for step in (1, 2, 2.5, 5, 10) if step * scale >= value)
