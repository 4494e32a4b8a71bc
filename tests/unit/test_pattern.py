import time

import pytest

from stagecast.kit.pattern import PatternError, compile_pattern, matches


@pytest.mark.parametrize("pattern", ["(", "a**", "(?=x)", r"(a)\1", "[z-a]", "a{1001}"])
def test_pattern_that_re2_cannot_run_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


def test_bad_pattern_matches_nothing() -> None:
    assert not matches("(", "(")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        (".*", "anything at all", True),
        ("demo", "demo", True),
        ("demo", "demo2", False),
        ("demo", "my demo", False),
        ("cam-[0-9]+", "cam-12", True),
        ("cam-[0-9]+", "cam-x", False),
        ("Demo", "demo", False),
        ("ü+", "üü", True),
    ],
)
def test_pattern_must_match_the_whole_name(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


def test_pattern_made_for_backtracking_takes_no_time() -> None:
    began = time.process_time()
    assert not matches("(a|aa|a?)+$b", "a" * 128)
    assert not matches("(a*)*(a*)*(a*)*b", "a" * 128)
    assert time.process_time() - began < 1
