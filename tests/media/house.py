"""A media core on loopback, with clients that speak to it without HTTP in between."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

from stagecast import _core
from stagecast.media.decoding import Decoder

STREAM = "acme/demo"
PATIENCE = 10.0

T = TypeVar("T")


def until(what: str, ready: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Wait for a condition with a deadline; its first true value."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if value := ready():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {patience} s: {what}")


def admit(_asked: dict[str, Any]) -> dict[str, Any]:
    """Everybody may do everything, on one stream."""
    return {"verdict": "admit", "stream": STREAM}


class House:
    """One engine, its events so far, and the clients made here."""

    def __init__(self, **config: Any) -> None:
        defaults = {"port": 0, "bind": ["127.0.0.1"], "advertise": ["127.0.0.1"], "threads": 2}
        self.engine = _core.Engine(json.dumps({**defaults, **config}).encode())
        self.events: list[dict[str, Any]] = []
        self.door: Callable[[dict[str, Any]], dict[str, Any]] = admit
        self.clients: list[_core.Client] = []
        self.sessions: dict[_core.Client, str] = {}
        self.pool = _core.ClientPool()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        self.pool.close()
        self.engine.close()

    def client(self, role: str, **config: Any) -> _core.Client:
        """A client that has not been answered yet."""
        client = _core.Client(json.dumps({"role": role, **config}).encode(), self.pool)
        self.clients.append(client)
        return client

    def publisher(
        self,
        stream: str = STREAM,
        source: str | None = None,
        *,
        route: Callable[[str], str] = str,
        codec: str | None = None,
        **config: Any,
    ) -> _core.Client:
        """A connected publisher; ``route`` may rewrite the answer."""
        client = self.client("publish", **{"codecs": ["h264"], **config})
        answer = self.engine.publish(
            stream=stream, source=source, offer=client.offer, codec=codec, local=True
        )
        return self._connected(client, answer, route)

    def viewer(
        self,
        stream: str = STREAM,
        source: str | None = None,
        *,
        route: Callable[[str], str] = str,
        **config: Any,
    ) -> _core.Client:
        """A connected viewer; ``route`` may rewrite the answer."""
        client = self.client("watch", **config)
        answer = self.engine.view(stream=stream, source=source, offer=client.offer, local=True)
        return self._connected(client, answer, route)

    def _connected(
        self, client: _core.Client, answer: _core.Answer, route: Callable[[str], str]
    ) -> _core.Client:
        self.sessions[client] = answer.session
        client.accept_answer(route(answer.sdp))
        assert client.wait_connected(PATIENCE), stats(client)
        return client

    def live(self, stream: str = STREAM, source: str | None = None) -> None:
        """Wait until media of the source arrives."""
        until(f"{stream} is live", lambda: self.engine.is_live(stream, source) or None)

    def take_events(self) -> None:
        """Add what happened to `events`, and answer who wants to come in."""
        happened = json.loads(self.engine.drain_events())
        self.events += happened
        for event in happened:
            if event["type"] == "admission_asked":
                self.engine.decide(event["question"], json.dumps(self.door(event)))

    def event(self, kind: str, /, **wanted: Any) -> dict[str, Any]:
        """Wait for an event with these fields."""

        def found() -> dict[str, Any] | None:
            self.take_events()
            return next(
                (e for e in self.events if e["type"] == kind and wanted.items() <= e.items()), None
            )

        return until(f"event {kind} {wanted}", found)

    def figures(self) -> dict[str, Any]:
        return json.loads(self.engine.figures())


def stats(client: _core.Client) -> dict[str, Any]:
    return json.loads(client.stats() or b"{}")


def track(client: _core.Client, kind: str = "video") -> dict[str, Any]:
    """Figures of one track; zeros before its first packet."""
    tracks = stats(client).get("tracks", [])
    zero = {"packets": 0, "packets_lost": 0, "frames": 0, "nacks": 0, "plis": 0}
    return next((t for t in tracks if t["kind"] == kind), zero)


class Seen:
    """What a viewer received and decoded."""

    def __init__(self) -> None:
        self.video: list[_core.Frame] = []
        self.audio: list[_core.Frame] = []
        self.sizes: list[tuple[int, int]] = []
        self.decoders: dict[str, Decoder] = {}

    @property
    def decoded(self) -> int:
        return len(self.sizes)

    @property
    def errors(self) -> int:
        return sum(decoder.errors for decoder in self.decoders.values())

    def take(self, frame: _core.Frame) -> None:
        decoder = self.decoders.setdefault(frame.codec, Decoder(frame.codec))
        came = decoder.decode(frame)
        if frame.kind == "video":
            self.video.append(frame)
            self.sizes += [(decoder.width, decoder.height)] * came
        else:
            self.audio.append(frame)


def receive(
    client: _core.Client,
    enough: Callable[[Seen], bool],
    seen: Seen | None = None,
    patience: float = PATIENCE,
) -> Seen:
    """Receive and decode until ``enough``; fails when it takes too long."""
    seen = seen or Seen()
    deadline = time.monotonic() + patience
    while not enough(seen):
        left = deadline - time.monotonic()
        assert left > 0, (
            f"only {len(seen.video)} video ({seen.decoded} decoded), {len(seen.audio)} audio frames: "
            f"{stats(client)}"
        )
        frame = client.next_frame(min(left, 0.2))
        if frame is not None:
            seen.take(frame)
    return seen
