import pytest

from stagecast.db.tables import PublishTokenStream
from stagecast.tokens.names import name_allowed, name_problem


@pytest.mark.parametrize(
    "name", ["", "a/b", "a?b", "a#b", "a\\b", "a\nb", "\x00", ".", "..", "x" * 129]
)
def test_name_that_cannot_stand_in_a_url_is_refused(name: str) -> None:
    assert name_problem(name) is not None


@pytest.mark.parametrize("name", ["demo", "Demo 1", "кино", "a.b-c_d~e", "x" * 128])
def test_usual_name_is_fine(name: str) -> None:
    assert name_problem(name) is None


def test_names_are_compared_with_case_and_patterns_as_a_whole() -> None:
    rules = [
        PublishTokenStream(stream_name="demo", is_regex=False),
        PublishTokenStream(stream_name="cam-.", is_regex=True),
    ]
    assert name_allowed(rules, "demo")
    assert name_allowed(rules, "cam-1")
    assert not name_allowed(rules, "Demo")
    assert not name_allowed(rules, "cam-12")


def test_a_name_with_pattern_characters_is_still_a_name() -> None:
    rules = [PublishTokenStream(stream_name=".*", is_regex=False)]
    assert not name_allowed(rules, "demo")
