"""ffmpeg into the core by RTMP, with the control plane's part played here: admission and workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe

from stagecast.media.events import EVENTS
from stagecast.workers.supervisor import Transcoders
from tests.media.house import STREAM, House

# A second begins with a tenth of white picture and of tone.
FLASH = "color=c=black:s=320x180:r=25,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.1)'"
BEEP = "aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p")
NO_B = ("-tune", "zerolatency", "-bf", "0")
QUIET = ("-x265-params", "log-level=error", "-pix_fmt", "yuv420p")
LIVE = ("-svtav1-params", "pred-struct=1:rc=2:lookahead=0:scd=0", "-b:v", "500k")
AAC = ("-c:a", "aac", "-ac", "2", "-b:a", "96k")


class Control:
    """Admits every publisher into `STREAM` and keeps the workers."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.transcoders = Transcoders(house.engine.worker_socket)

    async def run(self) -> None:
        while True:
            raw = self.house.engine.drain_events()
            self.house.events += json.loads(raw)
            for event in EVENTS.validate_json(raw):
                if event.type == "admission_asked":
                    verdict = {"verdict": "admit", "stream": STREAM, "source": None}
                    self.house.engine.decide(event.question, json.dumps(verdict))
                self.transcoders.on_event(event)
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def controlled(house: House) -> AsyncGenerator[Control]:
    """Play the control plane for as long as this lasts."""
    control = Control(house)
    task = asyncio.create_task(control.run())
    try:
        yield control
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await control.transcoders.close()


@contextlib.asynccontextmanager
async def rtmp(house: House, *encoding: str, audio: bool = True) -> AsyncGenerator[None]:
    """Publish flashes and beeps by RTMP."""
    sound = ("-f", "lavfi", "-i", BEEP) if audio else ()
    process = await asyncio.create_subprocess_exec(
        get_ffmpeg_exe(),
        *("-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", FLASH),
        *sound,
        *encoding,
        *("-f", "flv", f"rtmp://127.0.0.1:{house.engine.rtmp_port}/live/key"),
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def until(what: str, ready: Any, patience: float = 20.0) -> Any:
    """Wait for a condition with a deadline, letting the control plane run; its first true value."""
    async with asyncio.timeout(patience):
        while not (value := ready()):  # noqa: ASYNC110  (there is nothing to be told by)
            await asyncio.sleep(0.02)
    assert value, what
    return value
