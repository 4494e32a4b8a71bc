from datetime import timedelta

import pytest

from stagecast.kit.units import format_duration, format_size, parse_duration


@pytest.mark.parametrize("text", ["30", "", "s", "1 year", "-1s", "1s2"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("1.5s", 1.5), ("15m", 900), ("1h", 3600), ("14d", 1209600)],
)
def test_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["500ms", "20s", "15m", "1h", "14d", "90s"])
def test_duration_is_written_as_it_was_read(text: str) -> None:
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    ("size", "text"), [(1 << 20, "1MiB"), (65536, "64KiB"), (3 << 30, "3GiB"), (10, "10B")]
)
def test_size_is_written_with_the_largest_whole_unit(size: int, text: str) -> None:
    assert format_size(size) == text
