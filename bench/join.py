"""Join time: the WHEP POST is sent → the first picture is decoded."""

from __future__ import annotations

import random
import time
from typing import Any

from bench.figures import spread
from bench.publishers import GOP_SECONDS, ffmpeg, ours
from bench.server import Server
from stagecast.media.client import Session, Wanted, connect
from stagecast.media.decoding import Decoder

PUBLISHERS = {
    "obeys keyframe requests (stagecast publish)": ours,
    "ignores them (ffmpeg -f whip)": ffmpeg,
}


def measure(joins: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name, publisher in PUBLISHERS.items():
        with Server() as server, publisher(server):
            time.sleep(GOP_SECONDS)
            chance = random.Random(1)
            samples = [_join(server, chance) for _ in range(joins)]
        results[name] = {
            "joined_ms": spread([s["joined"] for s in samples]),
            "answered_ms": spread([s["answered"] for s in samples]),
            "connected_ms": spread([s["connected"] for s in samples]),
        }
    return results


def _join(server: Server, chance: random.Random) -> dict[str, float]:
    # At any moment of the group of pictures, not always the same one.
    time.sleep(chance.uniform(0, 0.3))
    with connect(server.whep, Wanted(role="watch")) as session:
        connected = (session.connected - session.posted) * 1000
        _decode_one(session)
        joined = (time.monotonic() - session.posted) * 1000
        answered = connected - (session.stats().get("connect_ms") or 0.0)
    return {"joined": joined, "connected": connected, "answered": answered}


def _decode_one(session: Session) -> None:
    decoders: dict[str, Decoder] = {}
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        frame = session.next_frame(1.0)
        if frame is None or frame.kind != "video":
            continue
        decoder = decoders.setdefault(frame.codec, Decoder(frame.codec))
        if decoder.decode(frame):
            return
    raise RuntimeError(f"no picture in 15 s: {session.stats()}")
