"""ffmpeg as an encoder and as a player: Debian's, and the newer one of the `imageio-ffmpeg` wheel."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import Self

from imageio_ffmpeg import get_ffmpeg_exe

from tests.media.house import House, until

DEBIAN = "/usr/bin/ffmpeg"
NEWEST = get_ffmpeg_exe()
RATE = 25

VIDEO = {
    "h264": ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
    "h264-bframes": ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"),
    "h265": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=0"),
    "av1": ("-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "pred-struct=1:lookahead=0"),
    "vp9": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0"),
}
AUDIO = {
    "aac": ("-c:a", "aac", "-b:a", "96k"),
    "opus": ("-c:a", "libopus", "-b:a", "64k"),
    "flac": ("-c:a", "flac"),
}


class Encoder:
    """A running `ffmpeg` that pushes a test picture and a tone to an address."""

    def __init__(
        self,
        url: str,
        *,
        program: str = DEBIAN,
        video: str = "h264",
        audio: str = "aac",
        seconds: float = 60,
        form: tuple[str, ...] = ("-f", "flv"),
    ) -> None:
        self.arguments = [
            *(program, "-hide_banner", "-loglevel", "error", "-re"),
            *("-f", "lavfi", "-i", f"testsrc2=size=320x180:rate={RATE}"),
            *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"),
            *("-t", str(seconds), "-pix_fmt", "yuv420p", "-g", str(RATE), "-ac", "2"),
            *(*VIDEO[video], *AUDIO[audio], *form, url),
        ]
        self.process = subprocess.Popen(
            self.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def freeze(self) -> None:
        """Keep the connection and send nothing more."""
        self.process.send_signal(signal.SIGSTOP)

    def ended(self, house: House, patience: float = 20) -> str:
        """Wait for its end while the house goes on; what it complained about."""
        watched(house, self.process, patience)
        assert self.process.stderr is not None
        return self.process.stderr.read()


def watched(house: House, process: subprocess.Popen[str], patience: float) -> None:
    def over() -> bool | None:
        house.take_events()
        return True if process.poll() is not None else None

    until(f"{process.args} ends", over, patience)


def play(
    house: House, url: str, *options: str, seconds: float = 2, program: str = DEBIAN
) -> dict[str, int]:
    """Pull and decode for some seconds of media: how many packets of each kind were decoded."""
    process = subprocess.Popen(
        [
            *(program, "-hide_banner", "-loglevel", "verbose", "-xerror", *options, "-i", url),
            *("-t", str(seconds), "-f", "null", "-"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            watched(house, process, 30)
        finally:
            process.kill()
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, said
    decoded: dict[str, int] = {}
    for kind, frames in re.findall(r"Input stream #0:\d+ \((\w+)\):.*?(\d+) frames decoded", said):
        decoded[kind] = int(frames)
    return decoded
