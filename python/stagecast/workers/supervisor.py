"""Starts transcode workers when the media core asks for them, and starts them again when they end."""

import asyncio
import sys
import time

import structlog

from stagecast.media.events import MediaEvent, TranscodeUnwanted, TranscodeWanted

_log = structlog.stdlib.get_logger(__name__)
# A crash costs less than a second of sound; one that repeats at once must not cost a core.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_SOUND_SECONDS = 5.0
_GRACE_SECONDS = 2.0

_Key = tuple[str, str | None, str, str]


class Transcoders:
    """One process for each source that needs one."""

    def __init__(self, socket: str | None) -> None:
        self._socket = socket
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self.pids: dict[_Key, int] = {}

    def on_event(self, event: MediaEvent) -> None:
        """Follow what the core says; called in the event loop."""
        if self._socket is None:
            return
        match event:
            case TranscodeWanted(stream=stream, source=source, from_=decoded, to=encoded):
                key = (stream, source, decoded, encoded)
                if key not in self._tasks:
                    name = f"transcode {stream}"
                    self._tasks[key] = asyncio.create_task(self._keep(self._socket, key), name=name)
            case TranscodeUnwanted(stream=stream, source=source, from_=decoded, to=encoded):
                task = self._tasks.pop((stream, source, decoded, encoded), None)
                if task is not None:
                    task.cancel()
            case _:
                pass

    async def close(self) -> None:
        """End all workers."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, socket: str, key: _Key) -> None:
        pause = _FIRST_PAUSE
        while True:
            begun = time.monotonic()
            status = await self._run(socket, key)
            lasted = time.monotonic() - begun
            _log.warning("worker.ended", stream=key[0], status=status, seconds=round(lasted, 1))
            pause = _FIRST_PAUSE if lasted > _SOUND_SECONDS else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _run(self, socket: str, key: _Key) -> int | None:
        stream, source, decoded, encoded = key
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "stagecast.workers",
                socket,
                stream,
                source or "",
                decoded,
                encoded,
                stdin=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            _log.warning("worker.not_started", stream=stream, error=str(error))
            return None
        self.pids[key] = process.pid
        try:
            return await process.wait()
        finally:
            self.pids.pop(key, None)
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
                except (TimeoutError, asyncio.CancelledError):
                    process.kill()
