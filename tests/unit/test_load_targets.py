"""Which servers a load test may be pointed at."""

from __future__ import annotations

import pytest

from stagecast.media.load.signalling import TargetError, target


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/api/whep/a/b", "http://[::1]/x", "https://127.9.9.9/x"]
)
def test_this_machine_may_be_loaded(url: str) -> None:
    assert target(url, None, allow_remote=False).url == url


@pytest.mark.parametrize("url", ["http://10.0.0.1/whep", "https://192.0.2.7:8443/whep"])
def test_another_machine_needs_a_word(url: str) -> None:
    with pytest.raises(TargetError, match="--allow-remote"):
        target(url, None, allow_remote=False)
    assert target(url, "t", allow_remote=True).token == "t"


@pytest.mark.parametrize("url", ["", "127.0.0.1/whep", "ftp://127.0.0.1/x", "http:///x"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(TargetError, match="web address"):
        target(url, None, allow_remote=True)
