"""The load report: one page that needs nothing else, and rows that say what was measured."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from stagecast.media.load.report import rows, to_html

SPREAD = {"count": 4, "p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}
SPAN = {
    "seconds": 10.0, "active": 2, "packets": 1000, "bytes": 1_000_000, "expected": 900, "missed": 9, "filled": 8,
    "lost": 1, "stale": 0, "retransmissions": 8, "undecryptable": 0, "nacks": 3, "plis": 1, "frames": 600,
    "freezes": 1, "frozen_seconds": 0.4, "worst_loss": 0.02, "tool_late_ms": 3.0,
    "delay_ms": {"first_packet": SPREAD, "last_packet": SPREAD, "capture": SPREAD},
}  # fmt: skip


def second(at: float, phase: str) -> dict[str, Any]:
    return {
        "at": at, "phase": phase, "viewers": 2, "active": 2, "packets_per_second": 100, "mbit_per_second": 0.8 * at,
        "loss_percent": 0.0, "lost_percent": 0.0, "first_packet_p50_ms": 1.0, "last_packet_p50_ms": 1.0,
        "last_packet_p99_ms": 12.0, "freezes": 0, "published_packets": 50, "server_cores": 0.1, "rss_mib": 40.0,
    }  # fmt: skip


def result(**changes: Any) -> dict[str, Any]:
    join = {"answered": SPREAD, "connected": SPREAD, "first_packet": SPREAD, "keyframe": SPREAD}
    publishers = {
        "count": 1, "live": 1, "packets": 500, "bytes": 5, "frames": 30, "keyframes": 2, "plis": 1, "resent": 0,
        "longest_spread_ms": 12.0, "ended": {},
    }  # fmt: skip
    whole: dict[str, Any] = {
        "at": "2026-01-01T00:00:00Z",
        "version": "1",
        "machine": {"cpu": "a <fast> one", "cores": 2, "kernel": "6", "load_before": 0.1},
        "plan": {"viewers": 2, "watch": "http://127.0.0.1/whep?a=1&b=<2>", "publish": []},
        "joins_failed": {"http 503": 1},
        "first_failure": "<script>alert(1)</script>",
        "interrupted": False,
        "result": {
            "playing": 2, "ended": {"closed": 1, "dtls": 1}, "profiles": {"AEAD_AES_256_GCM": 2}, "join_ms": join,
            "jitter_video_ms": SPREAD, "jitter_audio_ms": SPREAD, "window": SPAN, "publishers": publishers,
        },
        "generator_cores": 0.2,
        "idle_cores": 1.1,
        "server": {
            "cores": 0.1, "user_percent": 50.0, "cpu_us_per_packet": 1.5, "cpu_ms_per_viewer_second": 0.6,
            "viewers_a_core": 800, "rss_before_mib": 40.0, "rss_mib": 41.0, "kib_per_viewer": 30.0,
        },
        "seconds": [second(1, "join"), second(2, "measure"), second(3, "measure")],
    }  # fmt: skip
    return whole | changes


class Page(HTMLParser):
    """Counts elements and notes every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: dict[str, int] = {}
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.fetched += [
            f"{tag} {name}={value}" for name, value in attrs if name in {"src", "href"}
        ]


def test_page_fetches_nothing_and_runs_nothing() -> None:
    text = to_html(result())
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert not {"script", "link", "img", "iframe"} & page.elements.keys()
    assert not re.search(r"url\(|@import", text)
    assert "prefers-color-scheme:dark" in text


def test_page_has_a_plot_for_what_was_measured_only() -> None:
    page = Page()
    page.feed(to_html(result()))
    assert page.elements["svg"] == 6
    unmeasured = [{**row, "server_cores": None, "rss_mib": None} for row in result()["seconds"]]
    page = Page()
    page.feed(to_html(result(seconds=unmeasured, server=None)))
    assert page.elements["svg"] == 4
    assert "svg" not in to_html(result(seconds=[])).partition("</style>")[2]


def test_what_a_server_says_is_text_not_markup() -> None:
    text = to_html(result())
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "a &lt;fast&gt; one" in text


def test_rows_name_loss_refusals_and_costs() -> None:
    found = dict(rows(result()))
    assert found["loss"].startswith("1.0000 % raw, 0.1111 % for good")
    assert "1 not let in" in found["viewers"]
    assert "dtls 1" in found["viewers"]
    assert "closed" not in found["viewers"]
    assert found["server, a packet"].startswith("1.5 µs")
    assert "careful" not in found
    assert found["freezes"] == "1, 2.000 % of the time"


@pytest.mark.parametrize("value", [0.0, 0.004, 0.3, 1, 7, 99, 100, 123_456])
def test_axis_ends_at_a_round_number_above(value: float) -> None:
    points = [{**second(n, "measure"), "last_packet_p99_ms": value} for n in range(3)]
    text = to_html(result(seconds=points))
    plot = text.partition("last packet, ms</h2>")[2].partition("</figure>")[0]
    heights = [float(y) for y in re.findall(r"\d,([\d.]+)", plot)]
    # Nothing is drawn above the plot.
    assert all(10 <= y <= 156.1 for y in heights)


def test_run_on_a_machine_that_was_too_busy_says_so() -> None:
    busy = result()
    busy["result"]["window"] = {**SPAN, "tool_late_ms": 900.0}
    assert "900 ms" in dict(rows(busy))["careful"]


def test_players_of_hls_have_rows_and_plots_of_their_own() -> None:
    window = {
        "seconds": 10.0, "active": 2, "requests": 400, "playlists": 200, "parts": 200, "hinted": 190,
        "bytes": 6_000_000, "missed": 1, "wrong_hints": 2, "errors": 3, "stalls": 1, "stalled_seconds": 0.2,
        "part_age_ms": SPREAD, "tool_late_ms": 3.0,
    }  # fmt: skip
    told = result(
        plan={"players": 3, "watch": "http://127.0.0.1/video.m3u8", "publish": []},
        result={
            "players": 3, "playing": 2, "failures": {"http 404 <no>": 1}, "window": window,
            "start_ms": {"listed": SPREAD, "started": SPREAD}, "publishers": result()["result"]["publishers"],
        },
    )  # fmt: skip
    del told["server"]["cpu_us_per_packet"]
    told["server"]["cpu_us_per_request"] = 17.5
    for at, row in enumerate(told["seconds"]):
        row["requests_per_second"] = 40 + at
    found = dict(rows(told))
    assert found["players"] == "2 of 3 play, failed: http 404 <no> 1"
    assert found["missed"] == "1 of 201 parts, 3 requests failed, 2 hints were wrong"
    assert found["stalls"] == "1, 1.000 % of the time"
    assert found["server, a request"].startswith("17.5 µs")
    text = to_html(told)
    assert "3 players of http://127.0.0.1/video.m3u8" in text
    assert "Requests, a second" in text
    assert "<no>" not in text
