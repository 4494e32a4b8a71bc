"""The control plane over the real media core: what goes down and comes up through the door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from stagecast.errors import Conflict, Invalid, NotFound, StartError, Unavailable
from stagecast.media.engine import Engine, core_config, open_core
from stagecast.media.events import MediaEvent, SessionEnded, SourceLive
from stagecast.media.figures import Figures
from stagecast.settings import Settings

LOOPBACK: dict[str, Any] = {"port": 0, "bind": ["127.0.0.1"], "threads": 1}


def settings(**media: Any) -> Settings:
    """One media thread on loopback, and no protocol beside WebRTC."""
    off = {"enabled": False}
    protocols = {"rtmp": off, "srt": off, "hls": off}
    return Settings.model_validate({"media": {**LOOPBACK, **media}, **protocols})


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    running = Engine(open_core(settings()))
    running.start()
    yield running
    await running.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.01)


def publish(engine: Engine, offer: str, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "stream": "acme/demo", "source": None, "offer": offer, "codec": None, "audio": True,
        "video": True, "local": True, **changes,
    }  # fmt: skip
    return engine.publish(**arguments)


def test_settings_reach_the_core() -> None:
    config = json.loads(core_config(settings(advertise=["192.0.2.1"])))
    assert config["advertise"] == ["192.0.2.1"]
    assert config["ring_max_bytes"] == 8 << 20
    assert config["consent_timeout_ms"] == 30_000


async def test_port_in_use_is_told(engine: Engine) -> None:
    with pytest.raises(StartError, match="cannot start"):
        open_core(settings(port=engine.port))


async def test_refusals_become_request_errors(engine: Engine) -> None:
    with pytest.raises(Invalid):
        await publish(engine, "nonsense")
    with pytest.raises(Conflict, match="Stream not found"):
        await engine.view(stream="acme/none", source=None, offer="v=0\r\n", local=True)
    with pytest.raises(NotFound):
        await engine.patch("0" * 32, "a=ice-ufrag:x\r\n", '"1"')
    assert engine.end_session("0" * 32, "deleted") is False


async def test_publisher_is_seen_by_events_and_figures(engine: Engine) -> None:
    from stagecast import _core

    events: list[MediaEvent] = []
    figures: list[Figures] = []
    engine.on_event(events.append)
    engine.on_figures(figures.append)
    client = _core.Client(json.dumps({"role": "publish", "codecs": ["vp8"]}).encode())
    answer = await publish(engine, client.offer)
    client.accept_answer(answer.sdp)
    await until(lambda: any(event.type == "session_connected" for event in events))
    await until(lambda: any(s.session == answer.session for f in figures for s in f.sessions))
    assert engine.end_session(answer.session, "stopped")
    await until(lambda: any(isinstance(event, SessionEnded) for event in events))
    ended = next(event for event in events if isinstance(event, SessionEnded))
    assert (ended.session, ended.reason, ended.stream) == (answer.session, "stopped", "acme/demo")
    assert not any(isinstance(event, SourceLive) for event in events)
    await asyncio.to_thread(client.close)


async def test_closed_engine_hands_out_the_last_events_and_refuses() -> None:
    from stagecast import _core

    engine = Engine(open_core(settings()))
    engine.start()
    events: list[MediaEvent] = []
    engine.on_event(events.append)
    client = _core.Client(json.dumps({"role": "publish", "codecs": ["vp8"]}).encode())
    answer = await publish(engine, client.offer)
    client.accept_answer(answer.sdp)
    await until(lambda: any(event.type == "session_connected" for event in events))
    await engine.close()
    await engine.close()
    assert [event.type for event in events][-1] == "session_ended"
    with pytest.raises(Unavailable):
        await publish(engine, client.offer)
    await asyncio.to_thread(client.close)
