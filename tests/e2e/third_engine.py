"""aiortc, a WebRTC engine that shares no code with the browsers or the server."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any, Self

import httpx2
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from av import VideoFrame
from imageio_ffmpeg import get_ffmpeg_exe

__all__ = ["DecodeErrors", "Peer", "clip", "detour"]


async def clip(path: str) -> str:
    """Make a short clip with picture and sound to publish."""
    process = await asyncio.create_subprocess_exec(
        get_ffmpeg_exe(),
        *("-hide_banner", "-loglevel", "error", "-y"),
        *("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15:duration=30"),
        *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=30"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", path),
    )
    assert await process.wait() == 0
    return path


class Peer:
    """One aiortc peer connection to the server."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection()
        self.frames: list[VideoFrame] = []
        self.decoded: list[tuple[float, float]] = []
        """For each picture when it was decoded, and its time in the stream, in seconds."""
        self._resource: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._player: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._resource:
            async with httpx2.AsyncClient() as client:
                await client.delete(self._resource)
        await self.connection.close()

    async def publish(self, url: str, token: str, path: str) -> None:
        self._player = MediaPlayer(path)
        self.connection.addTrack(self._player.video)
        self.connection.addTrack(self._player.audio)
        await self._signal(url, token)

    async def watch(self, url: str, *, through: int | None = None) -> None:
        """Watch; `through` is the port of a relay on this machine."""
        self.connection.addTransceiver("video", direction="recvonly")
        self.connection.addTransceiver("audio", direction="recvonly")

        @self.connection.on("track")
        def on_track(track: Any) -> None:
            task = asyncio.create_task(self._receive(track))
            self._tasks.add(task)

        await self._signal(url, None, through)

    async def _receive(self, track: Any) -> None:
        while True:
            frame = await track.recv()
            if track.kind == "video":
                self.frames = [*self.frames[-99:], frame]
                self.decoded.append((time.monotonic(), frame.time))

    async def _signal(self, url: str, token: str | None, through: int | None = None) -> None:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        headers = {"Content-Type": "application/sdp"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with httpx2.AsyncClient() as client:
            answer = await client.post(
                url, content=self.connection.localDescription.sdp, headers=headers
            )
        assert answer.status_code == 201, answer.text
        self._resource = str(httpx2.URL(url).join(answer.headers["location"]))
        sdp = detour(answer.text, through) if through else answer.text
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))


def detour(sdp: str, port: int) -> str:
    """Put the port of a relay on the same machine into an answer's candidates; relays know UDP and IPv4 only."""
    lines: list[str] = []
    for line in sdp.split("\r\n"):
        direct = re.match(r"(a=candidate:\S+ \d+ udp \d+ [\d.]+) \d+ (.*)", line)
        if direct:
            lines.append(f"{direct[1]} {port} {direct[2]}")
        elif not line.startswith(("a=candidate:", "a=end-of-candidates")):
            lines.append(line)
    return "\r\n".join(lines)


class DecodeErrors(logging.Handler):
    """Counts the pictures that aiortc could not decode; it tells nobody but its log."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __enter__(self) -> Self:
        logging.getLogger("aiortc.rtcrtpreceiver").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("aiortc.rtcrtpreceiver").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "failed to decode" in record.getMessage()
