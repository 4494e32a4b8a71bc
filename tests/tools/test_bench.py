"""The comparison's table, the micro-benchmarks' ratios, and what counts as a freeze."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import compare, loss, micro, peers


def run(cost: float, missed: int = 0) -> dict[str, Any]:
    spread = {"p50": 1.0, "p95": 2.0, "p99": 3.0}
    window = {
        "active": 9,
        "missed": missed,
        "expected": 1000,
        "delay_ms": {"first_packet": spread, "last_packet": spread},
    }
    return {
        "server": {"cpu_us_per_packet": cost, "kib_per_viewer": 30.0},
        "idle_cores": 0.5,
        "result": {"window": window, "join_ms": {"first_packet": spread, "keyframe": spread}},
    }


def test_table_has_the_median_and_how_many_times_ours() -> None:
    entries = [peers.Entry("stagecast", "v1"), peers.Entry("other", "v2")]
    results = [
        {"name": name, "viewers": 10, "result": run(cost, missed=missed)}
        for name, cost, missed in [
            ("stagecast", 1.0, 0), ("stagecast", 2.0, 0), ("stagecast", 90.0, 0), ("other", 10.0, 5),
        ]
    ]  # fmt: skip
    lines = compare.table(results, entries).splitlines()
    ours, other = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:])
    assert ours[:4] == ["stagecast v1", "10", "2.00", "1.00"]
    assert other[:4] == ["other v2", "10", "10.0", "5.00"]
    assert other[6] == "0.500"
    assert len(ours) == len(other) == len(compare.COLUMNS)


def test_section_between_the_markers_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{compare.BEGIN}\nold\n{compare.END}\nafter\n")
    compare.write(page, "new")
    assert page.read_text() == f"before\n{compare.BEGIN}\nnew\n{compare.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(SystemExit):
        compare.write(page, "new")


def test_readme_has_the_markers() -> None:
    text = compare.README.read_text()
    assert text.index(compare.BEGIN) < text.index(compare.END)


def test_peer_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in compare.NAMES:
        monkeypatch.delenv(f"STAGECAST_BENCH_{name.upper()}", raising=False)
        with pytest.raises(peers.Missing):
            peers.find(name, None)


def test_every_peer_that_can_be_started_has_its_settings() -> None:
    for kind in (peers.MediaMtx, peers.Srs):
        text = (peers.HERE / kind.template).read_text()
        assert "@HTTP@" in text
        assert "@MEDIA@" in text


def test_ratios_are_to_the_saved_figures() -> None:
    measured = {
        "seal": {"ns": 220.0, "instructions": None},
        "join": {"ns": 100.0, "instructions": 50.0},
    }
    saved = {"machine": {"cpu": "x"}, "figures": {"seal": {"ns": 200.0, "instructions": 9.0}}}
    text = micro.report(measured, saved, {"cpu": "x"})
    seal, join = text.splitlines()[1:]
    assert "1.10" in seal
    assert "ns up" in seal
    assert join.split() == ["join", "100.0", "-", "50.0", "-"]
    assert "another machine" in micro.report(measured, saved, {"cpu": "y"})


def test_freeze_is_a_gap_that_the_players_buffer_does_not_bridge() -> None:
    times = [n / 30 for n in range(300)]
    steady = [(10.0 + at, at) for at in times]
    assert loss.freezes(loss.play(steady, 0.15)) == []
    # Up to 100 ms late, as repairs are: the buffer has it.
    late = [(10.0 + at + (0.1 if number % 10 == 5 else 0.0), at) for number, at in enumerate(times)]
    assert loss.freezes(loss.play(late, 0.15)) == []
    stuck = [(max(10.0 + at, 15.5) if 4.9 < at < 5.5 else 10.0 + at, at) for at in times]
    (gap,) = loss.freezes(loss.play(stuck, 0.15))
    assert 0.35 < gap < 0.5
    assert loss.freezes([]) == []


def test_a_player_goes_with_a_sender_that_slips() -> None:
    slipped = [(n / 30 + (0.2 if n > 300 else 0), n / 30) for n in range(1800)]
    late = [(at + (0.2 if n == 1500 else 0), media) for n, (at, media) in enumerate(slipped)]
    assert loss.freezes(loss.play(late, 0.15)) == []
