"""tools/preflight names what is missing or too old, one line each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PREFLIGHT = Path(__file__).resolve().parents[2] / "tools" / "preflight"

GOOD = {
    "python3": 'case "$2" in *platform*) echo 3.12.1 ;; esac',
    "rustc": "echo 'rustc 1.95.0 (f2d3ce0bd 2026-03-21)'",
    "cargo": "true",
    "cc": "true",
    "node": "echo v22.4.0",
    "npm": "true",
}
SYSTEM = ("sh", "dirname", "sed", "cut", "sort", "head")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH on which every tool is there and new enough."""
    for name in SYSTEM:
        found = next(p for p in (Path("/bin") / name, Path("/usr/bin") / name) if p.exists())
        (tmp_path / name).symlink_to(found)
    for name, script in GOOD.items():
        install(tmp_path, name, script)
    return tmp_path


def install(machine: Path, name: str, script: str) -> None:
    tool = machine / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def preflight(machine: Path) -> tuple[int, list[str]]:
    environment = {"PATH": str(machine), "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        ["/bin/sh", str(PREFLIGHT)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_a_good_machine_passes_in_silence(machine: Path) -> None:
    assert preflight(machine) == (0, [])


@pytest.mark.parametrize(
    ("name", "script", "line"),
    [
        (
            "python3",
            'case "$2" in *platform*) echo 3.10.12 ;; esac',
            "Python 3.11 or newer is needed, found 3.10.12.",
        ),
        (
            "rustc",
            "echo 'rustc 1.88.0 (x 2025-06-23)'",
            "Rust 1.89 or newer is needed, found 1.88.0.",
        ),
        ("node", "echo v18.20.1", "Node.js 20.19 or newer is needed, found 18.20.1."),
        ("node", "echo v20.9.0", "Node.js 20.19 or newer is needed, found 20.9.0."),
    ],
)
def test_a_tool_that_is_too_old_is_named(machine: Path, name: str, script: str, line: str) -> None:
    install(machine, name, script)
    status, lines = preflight(machine)
    assert status == 1
    assert len(lines) == 1
    assert line in lines[0]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("python3", "Python"),
        ("cargo", "cargo"),
        ("cc", "C compiler"),
        ("node", "Node.js"),
        ("npm", "npm"),
    ],
)
def test_a_tool_that_is_missing_is_named(machine: Path, name: str, word: str) -> None:
    (machine / name).unlink()
    status, lines = preflight(machine)
    assert status == 1
    assert len(lines) == 1
    assert word in lines[0]


def test_everything_missing_is_named_at_once(machine: Path) -> None:
    for name in GOOD:
        (machine / name).unlink()
    status, lines = preflight(machine)
    assert status == 1
    assert len(lines) == len(GOOD)
