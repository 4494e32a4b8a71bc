"""tools/suites.py counts what the closing lines of the test runners say."""

from __future__ import annotations

import pytest

from tools.suites import Outcome


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("12 passed in 3.20s", (12, 0, 0)),
        ("1 failed, 12 passed, 2 skipped, 1 error in 3.20s", (12, 2, 2)),
        ("===== 3 passed, 1 skipped in 0.10s =====", (3, 0, 1)),
        ("test result: ok. 41 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out", (41, 0, 2)),
        ("test result: FAILED. 40 passed; 1 failed; 0 ignored; 0 measured", (40, 1, 0)),
        (
            "\x1b[2m      Tests \x1b[22m \x1b[1m\x1b[32m84 passed\x1b[39m\x1b[22m\x1b[90m (84)\x1b[39m",
            (84, 0, 0),
        ),
        ("      Tests  1 failed | 12 passed (13)", (12, 1, 0)),
        (" Test Files  9 passed (9)", (0, 0, 0)),
        ("the gate let 5 passed packets by", (0, 0, 0)),
    ],
)
def test_closing_lines_are_counted(line: str, counts: tuple[int, int, int]) -> None:
    outcome = Outcome("x", ok=True, seconds=0)
    outcome.count(line)
    assert (outcome.passed, outcome.failed, outcome.skipped) == counts


def test_a_suite_that_fails_without_counting_is_one_failure() -> None:
    outcome = Outcome("x", ok=False, seconds=0, passed=3)
    outcome.settle()
    assert outcome.failed == 1


def test_a_suite_without_counts_is_one_test() -> None:
    outcome = Outcome("x", ok=True, seconds=0)
    outcome.settle()
    assert outcome.passed == 1
