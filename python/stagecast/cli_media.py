"""`stagecast publish` and `stagecast watch`: a test publisher and a viewer without a screen.

Only options and printing live here; the work is in `stagecast.media`, imported when a command runs, so
that other commands start quickly.
"""

import json
import re
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from stagecast.cli_screen import Cells, Screen

if TYPE_CHECKING:
    from stagecast.media.publishing import Published
    from stagecast.media.sources import Source
    from stagecast.media.watching import Watched


class Codec(StrEnum):
    """Video codecs of `publish`."""

    H264 = "h264"
    VP8 = "vp8"
    VP9 = "vp9"
    AV1 = "av1"


class TransportOption(StrEnum):
    """How media reaches the server."""

    UDP = "udp"
    TCP = "tcp"
    ANY = "any"


TokenOption = Annotated[
    str | None, typer.Option("--token", help="Token; not needed when it is in the address.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object at the end and nothing else.")
]
TransportChoice = Annotated[
    TransportOption,
    typer.Option("--transport", help="UDP, ICE-TCP (where UDP is blocked), or whichever works."),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Accept any TLS certificate, such as a self-signed one.")
]


def publish(
    to: Annotated[
        str, typer.Option("--to", help="WHIP address, such as http://HOST:8080/api/whip/NAME.")
    ],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Media file. Sent as it is where WebRTC can carry it (H264 without B-frames, "
            "VP8, VP9, AV1; Opus), else encoded again.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    test_pattern: Annotated[
        bool, typer.Option("--test-pattern", help="Send moving bars, a clock and a tone.")
    ] = False,
    token: TokenOption = None,
    video_codec: Annotated[
        Codec | None,
        typer.Option("--video-codec", help="Encode video as this. [default: h264, or the file's]"),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", help="WIDTHxHEIGHT. [default: 1280x720, or the file's]")
    ] = None,
    fps: Annotated[int, typer.Option("--fps", min=1, max=120, help="Pictures a second.")] = 30,
    bitrate: Annotated[
        str, typer.Option("--bitrate", help="Of the video, in bit/s; 2500k and 2.5M work too.")
    ] = "2500k",
    gop: Annotated[
        float,
        typer.Option("--gop", min=0.1, max=60, help="Seconds from one keyframe to the next."),
    ] = 2.0,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Send no sound.")] = False,
    duration: Annotated[
        float | None,
        typer.Option("--duration", min=0.1, help="Stop after so many seconds.", show_default=False),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin the file again at its end.")] = False,
    transport: TransportChoice = TransportOption.UDP,
    insecure: InsecureOption = False,
    as_json: JsonOption = False,
) -> None:
    """Publish a file or a test pattern over WHIP.

    Examples:
      stagecast publish --test-pattern --to http://127.0.0.1:8080/api/whip/demo --token TOKEN

      stagecast publish film.mp4 --loop --to https://live.example.org/api/whip/film --token TOKEN

    Ends at the end of the file, after --duration, or with Ctrl-C. After an interruption it connects
    again by itself.

    """
    from stagecast.media.client import ConnectError  # noqa: PLC0415  (see the module's head)
    from stagecast.media.publishing import Publisher  # noqa: PLC0415
    from stagecast.media.sources import SourceError  # noqa: PLC0415

    if (file is None) == (not test_pattern):
        raise typer.BadParameter("Give either a FILE or --test-pattern.", param_hint="FILE")
    try:
        source = _source(file, video_codec, size, fps, bits(bitrate), gop, not no_audio, loop)
        screen = Screen(quiet=as_json)
        publisher = Publisher(
            to,
            source,
            token=token,
            transport=transport.value,
            verify=not insecure,
            on_state=screen.say,
            on_second=lambda published: screen.show(_publish_cells(published)),
        )
        try:
            with Interruptible(publisher.stop), screen:
                result = publisher.run(duration)
        finally:
            source.close()
    except (ConnectError, SourceError) as error:
        _fail(str(error), as_json)
    _finish(result.report(), as_json, good=result.frames > result.frames_not_taken)


def watch(
    url: Annotated[
        str,
        typer.Argument(help="WHEP address, such as http://HOST:8080/api/whep/ACCOUNT/NAME."),
    ],
    token: TokenOption = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.1, help="Stop after so many seconds.", show_default=False),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Wait so many seconds for the stream to go live.")
    ] = 0.0,
    no_decode: Annotated[
        bool, typer.Option("--no-decode", help="Count frames, do not decode them.")
    ] = False,
    transport: TransportChoice = TransportOption.UDP,
    insecure: InsecureOption = False,
    as_json: JsonOption = False,
) -> None:
    """Watch a stream over WHEP without a screen: decode it and measure.

    Examples:
      stagecast watch http://127.0.0.1:8080/api/whep/ACCOUNT/demo

      stagecast watch http://127.0.0.1:8080/api/whep/ACCOUNT/demo --seconds 5 --json

    Latency is from the publisher's capture time, where it sends one and its clock agrees with ours. Fails
    when no frame was decoded.

    """
    from stagecast.media.client import ConnectError  # noqa: PLC0415  (see the module's head)
    from stagecast.media.watching import Watcher  # noqa: PLC0415

    screen = Screen(quiet=as_json)
    watcher = Watcher(
        url,
        token=token,
        transport=transport.value,
        verify=not insecure,
        decode=not no_decode,
        wait=wait,
        on_state=screen.say,
        on_second=lambda watched: screen.show(_watch_cells(watched)),
    )
    try:
        with Interruptible(watcher.stop), screen:
            result = watcher.run(seconds)
    except ConnectError as error:
        _fail(str(error), as_json)
    _finish(result.report(), as_json, good=result.decoded > 0)


def _source(
    file: Path | None,
    codec: Codec | None,
    size: str | None,
    fps: int,
    bitrate: int,
    gop: float,
    audio: bool,
    loop: bool,
) -> "Source":
    from stagecast.media.encoding import Picture  # noqa: PLC0415  (see the module's head)
    from stagecast.media.sources import File, TestPattern  # noqa: PLC0415

    width, height = picture_size(size or "1280x720")
    name = codec.value if codec else None
    picture = Picture(name or "h264", width, height, fps, bitrate, gop)
    if file is None:
        return TestPattern(picture, audio=audio)
    return File(file, picture, codec=name, audio=audio, loop=loop, resize=size is not None)


def picture_size(text: str) -> tuple[int, int]:
    """`1280x720` as two numbers."""
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not found or int(found[1]) % 2 or int(found[2]) % 2:
        raise typer.BadParameter(
            f"{text!r} is not a size; write even numbers as 1280x720.", param_hint="--size"
        )
    return int(found[1]), int(found[2])


def bits(text: str) -> int:
    """`2500k` or `2.5M` as bit/s."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text)
    bits = float(found[1]) * {"": 1, "k": 1e3, "m": 1e6}[found[2].lower()] if found else 0
    if not 10_000 <= bits <= 200_000_000:
        raise typer.BadParameter(
            f"{text!r} is not a bitrate between 10k and 200M.", param_hint="--bitrate"
        )
    return int(bits)


class Interruptible:
    """Ctrl-C and SIGTERM end the work instead of the program, so that its results are printed."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stopped)

    def _stopped(self, *_: object) -> None:
        self._stop()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _watch_cells(watched: "Watched") -> Cells:
    seen = watched.report()
    video = watched.video
    return (
        ("time", f"{seen['seconds']:.0f} s"),
        ("Mbit/s", f"{seen['bitrate_bps'] / 1e6:.2f}"),
        ("fps", f"{video.fps_now():.0f}" if video else "-"),
        ("picture", f"{seen['width']}x{seen['height']} {seen['codec']}" if seen["width"] else "-"),
        ("loss", f"{seen['loss'] * 100:.2f} %"),
        ("jitter", _milliseconds(seen["jitter_ms"])),
        ("RTT", _milliseconds(seen["rtt_ms"])),
        ("latency", _milliseconds(seen["latency_ms"])),
        ("NACK", str(seen["nacks"])),
        ("PLI", str(seen["plis"])),
    )


def _publish_cells(published: "Published") -> Cells:
    seen = published.report()
    return (
        ("time", f"{seen['seconds']:.0f} s"),
        ("Mbit/s", f"{seen['bitrate_bps'] / 1e6:.2f}"),
        ("fps", f"{seen['fps']:.0f}" if seen["fps"] else "-"),
        ("packets", str(seen["packets"])),
        ("lost", str(seen["packets_lost"])),
        ("RTT", _milliseconds(seen["rtt_ms"])),
        ("NACK", str(seen["nacks"] or 0)),
        ("PLI", str(seen["keyframe_requests"])),
        ("by", seen["protocol"] or "-"),
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _finish(report: dict[str, Any], as_json: bool, *, good: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report))
    elif not good:
        typer.echo("No frame came through.", err=True)
    if not good:
        raise typer.Exit(1)


def _fail(message: str, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": message}))
    print(message, file=sys.stderr)
    raise typer.Exit(1)
