"""aiortc, a WebRTC engine that shares no code with the browsers or the server."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import httpx2
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from av import VideoFrame
from imageio_ffmpeg import get_ffmpeg_exe

__all__ = ["Peer", "clip"]


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

    async def watch(self, url: str) -> None:
        self.connection.addTransceiver("video", direction="recvonly")
        self.connection.addTransceiver("audio", direction="recvonly")

        @self.connection.on("track")
        def on_track(track: Any) -> None:
            task = asyncio.create_task(self._receive(track))
            self._tasks.add(task)

        await self._signal(url, None)

    async def _receive(self, track: Any) -> None:
        while True:
            frame = await track.recv()
            if track.kind == "video":
                self.frames = [*self.frames[-99:], frame]

    async def _signal(self, url: str, token: str | None) -> None:
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
        await self.connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
