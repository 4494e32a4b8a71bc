"""How sessions end, and what is told about it."""

from __future__ import annotations

import pytest

from stagecast import _core
from tests.media.clips import Sender, clip
from tests.media.house import STREAM, House, receive, until


def test_goodbye_ends_the_session_at_once(house: House) -> None:
    publisher = house.publisher()
    with Sender(publisher, clip()):
        house.live()
        viewer = house.viewer()
        receive(viewer, lambda s: s.decoded >= 1)
        viewer.close()
        ended = house.event("session_ended", session=house.sessions[viewer])
        assert (ended["kind"], ended["reason"]) == ("viewer", "peer_closed")
    publisher.close()
    house.event("session_ended", session=house.sessions[publisher], reason="peer_closed")
    house.event("source_ended", session=house.sessions[publisher])
    assert not house.engine.is_live(STREAM, None)


def test_silent_peer_is_ended_for_lost_consent() -> None:
    with House(consent_timeout_ms=3000) as house:
        publisher = house.publisher()
        with Sender(publisher, clip()):
            house.live()
            viewer = house.viewer()
            receive(viewer, lambda s: s.decoded >= 1)
            viewer.close(goodbye=False)
            ended = house.event("session_ended", session=house.sessions[viewer])
            assert ended["reason"] == "consent_lost"
            assert house.engine.is_live(STREAM, None)
        publisher.close(goodbye=False)
        ended = house.event("session_ended", session=house.sessions[publisher])
        assert ended["reason"] == "consent_lost"
        assert not house.engine.is_live(STREAM, None)


def test_peer_that_never_connects_is_forgotten() -> None:
    with House(connect_timeout_ms=1000) as house:
        client = house.client("publish")
        answer = house.engine.publish(stream=STREAM, source=None, offer=client.offer)
        ended = house.event("session_ended", session=answer.session)
        assert ended["reason"] == "connect_timeout"
        assert not house.engine.end_session(answer.session, "deleted")


def test_ended_session_is_told_to_its_peer(house: House) -> None:
    with Sender(house.publisher(), clip()):
        house.live()
        viewer = house.viewer()
        receive(viewer, lambda s: s.decoded >= 1)
        assert house.engine.end_session(house.sessions[viewer], "stopped")
        until("the viewer knows", lambda: viewer.state == "closed")
        ended = house.event("session_ended", session=house.sessions[viewer])
        assert ended["reason"] == "stopped"
        assert not house.engine.end_session(house.sessions[viewer], "stopped")


def test_engine_says_goodbye_to_all_when_it_closes(house: House) -> None:
    publisher = house.publisher()
    with Sender(publisher, clip()):
        house.live()
        viewer = house.viewer()
        receive(viewer, lambda s: s.decoded >= 1)
        house.engine.close()
        until("both know", lambda: {publisher.state, viewer.state} == {"closed"})
    with pytest.raises(_core.CoreError) as refused:
        house.engine.view(stream=STREAM, source=None, offer=viewer.offer)
    assert refused.value.code == "engine.closed"


def test_viewers_stay_while_the_publisher_is_away(house: House) -> None:
    publisher = house.publisher()
    with Sender(publisher, clip()):
        house.live()
        viewer = house.viewer()
        seen = receive(viewer, lambda s: s.decoded >= 10)
    publisher.close()
    house.event("source_ended")
    assert viewer.state == "connected"
    with Sender(house.publisher(), clip()):
        before = seen.decoded
        receive(viewer, lambda s: s.decoded >= before + 30, seen)
    assert seen.errors == 0


def test_session_limit_is_said() -> None:
    with House(max_sessions=1) as house:
        house.publisher()
        second = house.client("publish")
        with pytest.raises(_core.CoreError) as refused:
            house.engine.publish(stream="acme/other", source=None, offer=second.offer)
        assert refused.value.code == "limit.sessions"
