"""The live state as events build it."""

import asyncio
from datetime import timedelta

import pytest

from stagecast.kit.clock import utc_now
from stagecast.media.events import (
    SessionConnected,
    SessionEnded,
    SourceEnded,
    SourceLive,
    TrackInfo,
)
from stagecast.media.figures import Figures
from stagecast.streams.live import Feed, LiveStreams, Stream, TokenRef, View

KEY = "acme/demo"
TRACKS = [TrackInfo("0", "audio", "opus"), TrackInfo("1", "video", "vp8")]


@pytest.fixture
def live() -> LiveStreams:
    return LiveStreams(timedelta(hours=1), 100)


def feed(session: str, source: str | None = None, token: int = 1) -> Feed:
    return Feed(
        session, KEY, source, TokenRef("Publish", token), b"", False, "192.0.2.1", utc_now()
    )


def view(session: str) -> View:
    return View(session, KEY, None, None, None, "192.0.2.2", None, utc_now())


def went_live(session: str, source: str | None = None) -> SourceLive:
    return SourceLive("source_live", KEY, source, session, TRACKS)


def source_ended(session: str, source: str | None = None) -> SourceEnded:
    return SourceEnded("source_ended", KEY, source, session)


def ended(session: str, kind: str = "publisher", reason: str = "deleted") -> SessionEnded:
    return SessionEnded("session_ended", session, kind, KEY, None, reason, 1.0)  # pyright: ignore[reportArgumentType]


def connected(session: str) -> SessionConnected:
    return SessionConnected("session_connected", session, "viewer", KEY, None, "192.0.2.2:1", "udp")


def state(live: LiveStreams) -> Stream:
    stream = live.get(KEY)
    assert stream is not None
    return stream


def test_stream_is_live_from_first_media_to_the_last_source(live: LiveStreams) -> None:
    live.add_feed(feed("one"))
    live.add_feed(feed("two", "cam"))
    assert not state(live).live
    live.on_event(went_live("one"))
    live.on_event(went_live("two", "cam"))
    live.on_event(source_ended("one"))
    assert state(live).live
    live.on_event(source_ended("two", "cam"))
    assert not state(live).live
    assert state(live).ended_on is not None


def test_replaced_publisher_leaves_the_stream_live(live: LiveStreams) -> None:
    for name in ("old", "new"):
        live.add_feed(feed(name))
        live.on_event(went_live(name))
    started = state(live).started_on
    live.on_event(ended("old", reason="replaced"))
    live.on_event(source_ended("old"))  # must not end what the new session feeds
    assert state(live).live
    assert state(live).started_on == started
    assert [feed.session for feed in state(live).live_feeds] == ["new"]


def test_stream_is_ended_whichever_event_comes_first(live: LiveStreams) -> None:
    live.add_feed(feed("one"))
    live.on_event(went_live("one"))
    live.on_event(ended("one"))
    live.on_event(source_ended("one"))
    assert not state(live).live
    assert [feed.session for feed in state(live).past_feeds] == ["one"]


def test_only_connected_viewers_count(live: LiveStreams) -> None:
    live.add_view(view("a"))
    live.add_view(view("b"))
    live.on_event(connected("a"))
    assert state(live).viewer_count == 1
    live.on_event(ended("a", "viewer"))
    assert state(live).viewer_count == 0


def test_session_that_ends_before_it_is_registered_leaves_nothing(live: LiveStreams) -> None:
    live.on_event(ended("early"))
    live.add_feed(feed("early"))
    assert live.get(KEY) is None
    assert live.find_feed("early") is None


def test_stream_that_never_was_live_leaves_nothing(live: LiveStreams) -> None:
    live.add_feed(feed("one"))
    live.on_event(ended("one"))
    assert live.get(KEY) is None


def test_ended_streams_are_kept_for_their_time_and_number() -> None:
    live = LiveStreams(timedelta(hours=1), 2)
    for number in range(4):
        key = f"acme/{number}"
        live.add_feed(Feed(key, key, None, TokenRef("Publish", 1), b"", False, None, utc_now()))
        live.on_event(SourceLive("source_live", key, None, key, TRACKS))
        live.on_event(SourceEnded("source_ended", key, None, key))
        live.on_event(SessionEnded("session_ended", key, "publisher", key, None, "deleted", 1.0))
    assert [stream.name for stream in live.of_account("acme")] == ["2", "3"]
    for stream in live.of_account("acme"):
        stream.ended_on = utc_now() - timedelta(hours=2)
    assert live.of_account("acme") == []
    assert live.get("acme/3") is None


def test_sessions_and_tokens_of_live_feeds_are_found(live: LiveStreams) -> None:
    live.add_feed(feed("one", token=5))
    assert live.publishing_tokens("acme") == []
    live.on_event(went_live("one"))
    assert live.publishing_tokens("acme") == [5]
    assert live.publishing_tokens("acme", "acme/other") == []
    assert live.publishing_tokens("other") == []
    assert live.sessions_of(TokenRef("Publish", 5)) == ["one"]
    assert live.sessions_of(TokenRef("Subscribe", 5)) == []


def test_shown_ids_do_not_reveal_the_session(live: LiveStreams) -> None:
    one = feed("0123456789abcdef0123456789abcdef")
    assert one.session not in one.feed_id.replace("-", "")
    assert feed(one.session).feed_id == one.feed_id


def test_viewer_count_is_announced_once_a_second_and_only_when_it_changed(
    live: LiveStreams,
) -> None:
    changes: list[str] = []
    live.on_change(lambda _account, key: changes.append(key))
    for name in "abc":
        live.add_view(view(name))
        live.on_event(connected(name))
    assert changes == []
    live.on_figures(Figures())
    live.on_figures(Figures())
    assert changes == [KEY]


async def test_waiting_ends_when_the_source_goes_live(live: LiveStreams) -> None:
    waiting = asyncio.create_task(live.wait_live(KEY, None, 10))
    await asyncio.sleep(0)
    live.add_feed(feed("one", "cam"))
    live.on_event(went_live("one", "cam"))
    await asyncio.sleep(0)
    assert not waiting.done()
    live.add_feed(feed("two"))
    live.on_event(went_live("two"))
    assert await waiting


async def test_waiting_ends_in_time_and_on_draining(live: LiveStreams) -> None:
    assert not await live.wait_live(KEY, None, 0)
    waiting = asyncio.create_task(live.wait_live(KEY, None, 10))
    await asyncio.sleep(0)
    live.close()
    assert not await waiting


def test_stream_needs_a_token_as_soon_as_one_feed_says_so(live: LiveStreams) -> None:
    live.add_feed(feed("open"))
    live.on_event(went_live("open"))
    assert not state(live).requires_auth
    secure = feed("secure", "cam")
    secure.requires_auth = True
    live.add_feed(secure)
    assert state(live).requires_auth
    live.on_event(ended("secure"))
    assert not state(live).requires_auth
