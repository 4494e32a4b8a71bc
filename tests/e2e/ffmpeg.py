"""ffmpeg as a WHIP publisher: the static build of the `imageio-ffmpeg` wheel."""

from __future__ import annotations

import asyncio
from typing import Self

from imageio_ffmpeg import get_ffmpeg_exe

from tests.e2e.server import Token


class Publisher:
    """A running `ffmpeg -f whip` with a test picture and a tone."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls,
        token: Token,
        *,
        size: str = "1280x720",
        gop: int = 30,
        picture: str = "testsrc2=size={size}:rate=30",
        sound: str = "sine=frequency=440:sample_rate=48000",
    ) -> Self:
        arguments = [
            *("-hide_banner", "-loglevel", "warning", "-re"),
            *("-f", "lavfi", "-i", picture.format(size=size)),
            *("-f", "lavfi", "-i", sound),
            *("-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast"),
            *("-tune", "zerolatency", "-pix_fmt", "yuv420p", "-bf", "0", "-g", str(gop)),
            *("-b:v", "1500k", "-c:a", "libopus", "-ac", "2", "-ar", "48000", "-b:a", "64k"),
            *("-f", "whip", "-authorization", token.secret, token.whip),
        ]
        process = await asyncio.create_subprocess_exec(
            get_ffmpeg_exe(),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def stop(self) -> str:
        """Press q, as a person would: ffmpeg deletes its session and ends. What it said is returned."""
        _, errors = await asyncio.wait_for(self._process.communicate(b"q"), 15)
        return errors.decode()

    async def kill(self) -> None:
        """Take the process away without a word to the server."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()
