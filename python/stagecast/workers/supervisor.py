"""Starts transcode workers when the media core asks for them, and starts them again when they end."""

import asyncio
import os
import sys
import time

import structlog

from stagecast.media.events import MediaEvent, TranscodeUnwanted, TranscodeWanted
from stagecast.workers.ladders import Ladders

_log = structlog.stdlib.get_logger(__name__)
# A crash costs less than a second of sound; one that repeats at once must not cost a core.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_SOUND_SECONDS = 5.0
_GRACE_SECONDS = 2.0

# Pictures take all they get; what carries them on goes first.
_LADDER_NICENESS = 5

_SOUND = {"aac", "opus"}
_Key = tuple[str, str | None, str, str]


class Transcoders:
    """One process for each source that needs one, and one for its ladder where it is to have one."""

    def __init__(
        self, socket: str | None, ladders: Ladders | None = None, *, sound: bool = True
    ) -> None:
        """``sound``: whether audio is transcoded; ladders are if there are any."""
        self._socket = socket
        self._sound = sound
        self._ladders = ladders
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self.pids: dict[_Key, int] = {}

    def on_event(self, event: MediaEvent) -> None:
        """Follow what the core says; called in the event loop."""
        if self._socket is None:
            return
        match event:
            case TranscodeWanted(stream=stream, source=source, from_=decoded, to=encoded):
                key = (stream, source, decoded, encoded)
                if key not in self._tasks and self._may_run(key):
                    name = f"transcode {stream}"
                    self._tasks[key] = asyncio.create_task(self._keep(self._socket, key), name=name)
            case TranscodeUnwanted(stream=stream, source=source, from_=decoded, to=encoded):
                task = self._tasks.pop((stream, source, decoded, encoded), None)
                if task is not None:
                    task.cancel()
                if task is not None and self._ladders is not None and decoded not in _SOUND:
                    self._ladders.end(stream, source)
            case _:
                pass

    async def close(self) -> None:
        """End all workers."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _may_run(self, key: _Key) -> bool:
        if not _is_ladder(key):
            return self._sound
        return self._ladders is not None and self._ladders.begin(key[0], key[1])

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
        command = [sys.executable, "-m", "stagecast.workers"]
        command += [socket, stream, source or "", decoded, encoded]
        if _is_ladder(key) and self._ladders is not None:
            command.append(self._ladders.wish)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL
            )
            if _is_ladder(key):
                os.setpriority(os.PRIO_PROCESS, process.pid, _LADDER_NICENESS)
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


def _is_ladder(key: _Key) -> bool:
    return key[2] not in _SOUND
