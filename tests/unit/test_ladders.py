"""Which sources have a ladder."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stagecast.kit.clock import utc_now
from stagecast.media.events import SourceLive
from stagecast.settings import LadderSettings
from stagecast.streams.live import Feed, LiveStreams
from stagecast.workers.ladders import Ladders


def ladders(*chosen: bool | None, cores: int = 2, **settings: Any) -> Ladders:
    """Live streams `a/0`, `a/1`, …, whose tokens chose so."""
    live = LiveStreams(timedelta(hours=1), 10)
    for number, choice in enumerate(chosen):
        live.add_feed(
            Feed(
                session=str(number),
                stream=f"a/{number}",
                source=None,
                token=None,
                token_hash=None,
                requires_auth=False,
                client_ip=None,
                accepted_on=utc_now(),
                ladder=choice,
            )
        )
        live.on_event(SourceLive("source_live", f"a/{number}", None, str(number), []))
    return Ladders(LadderSettings(**settings), live, cores)


@pytest.mark.parametrize(
    ("chosen", "cores", "default", "has"),
    [
        (None, 2, "auto", False),
        (None, 8, "auto", True),
        (None, 2, "on", True),
        (None, 64, "off", False),
        (True, 1, "off", True),
        (False, 64, "on", False),
    ],
)
def test_ladder_is_as_the_token_says_or_else_the_server(
    chosen: bool | None, cores: int, default: str, has: bool
) -> None:
    made = ladders(chosen, cores=cores, default=default)
    assert made.wanted("a/0", None) is has
    assert made.begin("a/0", None) is has


def test_source_that_is_not_live_has_none() -> None:
    made = ladders(True)
    assert not made.wanted("a/1", None)
    assert not made.begin("a/0", "other")


def test_no_more_run_than_the_machine_can_make() -> None:
    made = ladders(True, True, True, cores=8)
    assert made.begin("a/0", None)
    assert made.begin("a/1", None)
    assert not made.wanted("a/2", None)
    assert not made.begin("a/2", None)
    assert made.wanted("a/1", None), "players of one that runs wait for it"
    made.end("a/0", None)
    assert made.begin("a/2", None)
