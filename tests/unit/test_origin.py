import pytest

from stagecast.kit.origin import OriginPattern, origin_allowed


@pytest.mark.parametrize(
    "text", ["", "ftp://demo.com", "demo.com/path", "a b", "*.*.com", "demo.com:99999", "**"]
)
def test_text_that_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        OriginPattern.parse(text)


@pytest.mark.parametrize(
    ("pattern", "origin", "expected"),
    [
        ("demo.com", "https://demo.com", True),
        ("demo.com", "http://demo.com:8080", True),
        ("demo.com", "https://evil-demo.com", False),
        ("demo.com", "https://demo.com.evil.org", False),
        ("*.demo.com", "https://a.demo.com", True),
        ("*.demo.com", "https://a.b.demo.com", True),
        ("*.demo.com", "https://demo.com", False),
        ("*.demo.com", "https://evildemo.com", False),
        ("https://demo.com", "http://demo.com", False),
        ("https://demo.com:8443", "https://demo.com", False),
        ("https://demo.com:443", "https://demo.com", True),
        ("DEMO.com", "https://Demo.COM", True),
        ("localhost", "http://localhost:5173", True),
        ("[::1]", "http://[::1]:8080", True),
        ("*", "https://any.example", True),
        ("demo.com", "null", False),
        ("demo.com", "https://[broken", False),
    ],
)
def test_pattern_allows_its_origins_only(pattern: str, origin: str, expected: bool) -> None:
    assert origin_allowed([pattern], origin) is expected


def test_empty_list_allows_every_request() -> None:
    assert origin_allowed([], None)


def test_list_refuses_a_request_without_origin() -> None:
    assert not origin_allowed(["demo.com"], None)
