"""`stagecast bench`: load a WHIP, WHEP or LL-HLS server and measure it.

Only options and printing live here; the work is in `stagecast.media.load`, imported when a command runs.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from stagecast.cli_media import Codec, Interruptible, bits, picture_size
from stagecast.cli_screen import Cells, Screen

if TYPE_CHECKING:
    from stagecast.media.load.clips import Clip
    from stagecast.media.load.players import PlayersPlan
    from stagecast.media.load.run import Plan, Progress

app = typer.Typer(
    help="Load a server with viewers and publishers, and measure it.", no_args_is_help=True
)

# The limits of `stagecast.media.load.run`, which is not imported for --help.
MAX_VIEWERS, MAX_PUBLISHERS, MAX_SECONDS = 10_000, 1_000, 3_600

Token = Annotated[
    str | None, typer.Option("--token", help="Token, sent as a bearer.", show_default=False)
]
Pid = Annotated[
    int | None,
    typer.Option(
        "--pid",
        min=1,
        help="The server's process on this machine: its processor time and memory are measured.",
        show_default=False,
    ),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="Write the result there; - prints it.", show_default=False),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write a report with plots there.", show_default=False),
]
Rate = Annotated[float, typer.Option(min=0.1, max=1000, help="Joins a second.")]
Settle = Annotated[
    float, typer.Option(min=0, max=600, help="Seconds between the last join and measuring.")
]
Duration = Annotated[
    float, typer.Option(min=0.5, max=MAX_SECONDS, help="Seconds that are measured.")
]
AllowRemote = Annotated[
    bool,
    typer.Option(
        "--allow-remote", help="Load a server that is not this machine; make sure it is yours."
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Accept any TLS certificate, such as a self-signed one.")
]
Publish = Annotated[
    str | None,
    typer.Option(
        "--publish", help="Also publish, to this WHIP address, meanwhile.", show_default=False
    ),
]
PublishToken = Annotated[
    str | None, typer.Option("--publish-token", help="Its token.", show_default=False)
]
VideoCodec = Annotated[Codec, typer.Option("--codec", help="Video codec of the generated media.")]
Bitrate = Annotated[str, typer.Option("--bitrate", help="Of generated video, in bit/s.")]
Size = Annotated[str, typer.Option("--size", help="WIDTHxHEIGHT of generated video.")]
Fps = Annotated[int, typer.Option("--fps", min=1, max=120, help="Pictures a second.")]
Gop = Annotated[
    float, typer.Option("--gop", min=0.2, max=10, help="Seconds from keyframe to keyframe.")
]
Media = Annotated[
    Path | None,
    typer.Option(
        "--media",
        help="Send this file over and over instead of generated media.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
IgnorePli = Annotated[
    bool,
    typer.Option(
        "--ignore-pli", help="Send no keyframe when asked for one, as ffmpeg, RTMP and SRT do."
    ),
]
Threads = Annotated[int, typer.Option(min=1, max=64, help="Threads that watch.")]
Nice = Annotated[
    int, typer.Option(min=0, max=19, help="How much those threads yield to the server.")
]
NoStamps = Annotated[
    bool, typer.Option("--no-stamps", help="Leave the time stamps out of H264 pictures.")
]


@app.command()
def whep(
    url: Annotated[
        str, typer.Argument(help="WHEP address, such as http://HOST:8080/api/whep/ACCOUNT/NAME.")
    ],
    viewers: Annotated[int, typer.Option(min=1, max=MAX_VIEWERS, help="How many watch.")] = 10,
    rate: Rate = 20.0,
    duration: Duration = 10.0,
    settle: Settle = 3.0,
    loss: Annotated[
        float, typer.Option(min=0, max=90, help="Percent of datagrams lost towards viewers.")
    ] = 0.0,
    delay: Annotated[
        int, typer.Option(min=0, max=10_000, help="Milliseconds that datagrams are late.")
    ] = 0,
    jitter: Annotated[
        int, typer.Option(min=0, max=10_000, help="Up to so many milliseconds more.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, max=1 << 31, help="Repeats the same losses.")] = 1,
    token: Token = None,
    pid: Pid = None,
    publish: Publish = None,
    publish_token: PublishToken = None,
    codec: VideoCodec = Codec.H264,
    bitrate: Bitrate = "2500k",
    size: Size = "1280x720",
    fps: Fps = 30,
    gop: Gop = 2.0,
    media: Media = None,
    ignore_pli: IgnorePli = False,
    no_stamps: NoStamps = False,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Offer and send no sound.")] = False,
    probes: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Viewers that check every packet and measure delay."),
    ] = 5,
    threads: Threads = 1,
    nice: Nice = 10,
    offload: Annotated[
        bool,
        typer.Option(
            "--offload",
            help="Receive runs of datagrams as one (UDP_GRO): cheaper for this tool, and on "
            "loopback for the server too, so say so with the result.",
        ),
    ] = False,
    allow_remote: AllowRemote = False,
    insecure: Insecure = False,
    json_file: Json = None,
    html: Html = None,
) -> None:
    """Watch one stream with many viewers.

    Each viewer answers as a browser does (NACK, transport-wide feedback, reports, PLI) and decodes
    nothing. Reports the time to join, loss, forwarding delay, jitter, freezes, and with --pid what a
    packet and a viewer cost the server.

    Example:
      stagecast bench whep http://127.0.0.1:8080/api/whep/ACCOUNT/demo --viewers 200 --rate 50
        --publish http://127.0.0.1:8080/api/whip/demo --publish-token TOKEN --pid 1234 --html load.html

    """
    from stagecast.media.load.run import Plan  # noqa: PLC0415  (see the module's head)
    from stagecast.media.load.signalling import target  # noqa: PLC0415

    def plan() -> "Plan":
        at = partial(target, allow_remote=allow_remote, verify=not insecure)
        make = partial(_clip, media, codec, bitrate, size, fps, gop)
        return Plan(
            watch=at(url, token),
            viewers=viewers,
            rate=rate,
            settle=settle,
            duration=duration,
            publish=[at(publish, publish_token)] if publish else [],
            clip=make(audio=not no_audio, stamped=not no_stamps) if publish else None,
            obeys=not ignore_pli,
            audio=not no_audio,
            pid=pid,
            threads=threads,
            niceness=nice,
            probes=probes,
            offload=offload,
            loss=loss / 100,
            delay_ms=delay,
            jitter_ms=jitter,
            seed=seed,
        )

    _run(plan, json_file, html)


@app.command()
def hls(
    url: Annotated[
        str,
        typer.Argument(
            help="Address of the multivariant playlist, such as "
            "http://HOST:8081/ACCOUNT/NAME/manifest/video.m3u8; a token goes into its query."
        ),
    ],
    players: Annotated[int, typer.Option(min=1, max=MAX_VIEWERS, help="How many play.")] = 10,
    rate: Rate = 20.0,
    duration: Duration = 10.0,
    settle: Settle = 3.0,
    pid: Pid = None,
    publish: Publish = None,
    publish_token: PublishToken = None,
    bitrate: Bitrate = "2500k",
    size: Size = "1280x720",
    fps: Fps = 30,
    gop: Gop = 2.0,
    media: Media = None,
    no_audio: Annotated[
        bool, typer.Option("--no-audio", help="Send and play no sound of its own.")
    ] = False,
    no_hints: Annotated[
        bool,
        typer.Option(
            "--no-hints", help="Ask for parts only when a playlist tells of them, as hls.js does."
        ),
    ] = False,
    no_deltas: Annotated[
        bool, typer.Option("--no-deltas", help="Ask for whole playlists only.")
    ] = False,
    threads: Threads = 1,
    nice: Nice = 10,
    allow_remote: AllowRemote = False,
    insecure: Insecure = False,
    json_file: Json = None,
    html: Html = None,
) -> None:
    """Play one LL-HLS stream with many players.

    Each player asks as a low-latency player does and decodes nothing: blocking reloads of the playlists of video
    and audio, and the parts they hint at, on kept connections of HTTP/1.1. Reports the time to start, missed parts,
    stalls, the age of parts (from a picture of --publish leaving to the whole part being there), and with --pid
    what a request and a player cost the server.

    Example:
      stagecast bench hls http://127.0.0.1:8081/ACCOUNT/demo/manifest/video.m3u8 --players 1000 --rate 100
        --publish http://127.0.0.1:8080/api/whip/demo --publish-token TOKEN --pid 1234 --html load.html

    """
    from stagecast.media.load.players import (  # noqa: PLC0415  (see the module's head)
        PlayersPlan,
        PlayersRun,
    )
    from stagecast.media.load.signalling import target  # noqa: PLC0415

    def plan() -> "PlayersPlan":
        at = partial(target, allow_remote=allow_remote, verify=not insecure)
        make = partial(_clip, media, Codec.H264, bitrate, size, fps, gop)
        return PlayersPlan(
            watch=at(url, None),
            viewers=players,
            rate=rate,
            settle=settle,
            duration=duration,
            publish=[at(publish, publish_token)] if publish else [],
            clip=make(audio=not no_audio, stamped=True) if publish else None,
            audio=not no_audio,
            pid=pid,
            threads=threads,
            niceness=nice,
            hints=not no_hints,
            deltas=not no_deltas,
        )

    _run(plan, json_file, html, PlayersRun)


@app.command("publish")
def publish_command(
    url: Annotated[
        str,
        typer.Argument(
            help="WHIP address. With several publishers, {n} in it is 1, 2, … for each."
        ),
    ],
    publishers: Annotated[
        int, typer.Option(min=1, max=MAX_PUBLISHERS, help="How many publish.")
    ] = 1,
    duration: Duration = 10.0,
    token: Token = None,
    pid: Pid = None,
    codec: VideoCodec = Codec.H264,
    bitrate: Bitrate = "2500k",
    size: Size = "1280x720",
    fps: Fps = 30,
    gop: Gop = 2.0,
    media: Media = None,
    ignore_pli: IgnorePli = False,
    no_stamps: NoStamps = False,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Send no sound.")] = False,
    allow_remote: AllowRemote = False,
    insecure: Insecure = False,
    json_file: Json = None,
    html: Html = None,
) -> None:
    """Publish real media over WHIP, over and over, paced as an encoder sends.

    Example:
      stagecast bench publish http://127.0.0.1:8080/api/whip/demo-{n} --publishers 20 --token TOKEN

    """
    from stagecast.media.load.run import Plan  # noqa: PLC0415  (see the module's head)
    from stagecast.media.load.signalling import target  # noqa: PLC0415

    if publishers > 1 and "{n}" not in url:
        raise typer.BadParameter(
            "Several publishers need several streams: put {n} into the address.", param_hint="URL"
        )

    def plan() -> "Plan":
        at = partial(target, allow_remote=allow_remote, verify=not insecure)
        urls = [url.replace("{n}", str(number + 1)) for number in range(publishers)]
        clip = _clip(
            media, codec, bitrate, size, fps, gop, audio=not no_audio, stamped=not no_stamps
        )
        return Plan(
            duration=duration,
            settle=0,
            publish=[at(url, token) for url in urls],
            clip=clip,
            obeys=not ignore_pli,
            pid=pid,
        )

    _run(plan, json_file, html)


def _clip(
    media: Path | None,
    codec: Codec,
    bitrate: str,
    size: str,
    fps: int,
    gop: float,
    *,
    audio: bool,
    stamped: bool,
) -> "Clip":
    from stagecast.media.load import clips  # noqa: PLC0415  (see the module's head)

    if media is not None:
        return clips.from_file(media, None, stamped=stamped)
    width, height = picture_size(size)
    recipe = clips.Recipe(
        codec=codec.value,
        width=width,
        height=height,
        fps=fps,
        bitrate=bits(bitrate),
        gop=gop,
        audio=audio,
    )
    return clips.generated(recipe, stamped=stamped, say=lambda text: print(text, file=sys.stderr))


def _run(make: Any, json_file: Path | None, html: Path | None, kind: Any = None) -> None:
    from stagecast.errors import StagecastError  # noqa: PLC0415  (see the module's head)
    from stagecast.media.load.report import to_html  # noqa: PLC0415
    from stagecast.media.load.run import Run  # noqa: PLC0415

    printed = json_file == Path("-")
    screen = Screen(quiet=printed, stays=False)

    def show(progress: "Progress") -> None:
        screen.show(_cells(progress))

    try:
        run = (kind or Run)(make(), on_second=show)
        with Interruptible(run.stop), screen:
            result = run.run()
    except StagecastError as error:
        _fail(str(error))
    text = json.dumps(result, indent=2) + "\n"
    if printed:
        sys.stdout.write(text)
    elif json_file is not None:
        json_file.write_text(text)
    if html is not None:
        html.write_text(to_html(result))
    if not printed:
        _print(result)
    plan = result["plan"]
    if (plan.get("players") or plan.get("viewers")) and not result["result"]["playing"]:
        _fail("Nobody got a picture or sound to play.")


def _fail(message: str) -> NoReturn:
    print(f"stagecast: {message}", file=sys.stderr)
    raise typer.Exit(1)


def _cells(progress: "Progress") -> Cells:
    figures, last = progress.figures, progress.figures["last"]
    seconds = max(1e-3, last["seconds"])
    cells = [("phase", progress.phase), ("time", f"{progress.seconds:.0f} s")]
    if "players" in figures:
        age = last["part_age_ms"]
        cells += [
            ("playing", f"{figures['playing']}/{figures['players']}"),
            ("Mbit/s", f"{last['bytes'] * 8e-6 / seconds:.1f}"),
            ("requests/s", f"{last['requests'] / seconds:.0f}"),
            ("missed", str(last["missed"])),
            ("stalls", str(last["stalls"])),
            ("age", f"{age['p50']:.1f}/{age['p99']:.1f} ms" if age["count"] else "-"),
        ]
    elif figures["viewers"]:
        delay = last["delay_ms"]["last_packet"]
        cells += [
            ("playing", f"{figures['playing']}/{figures['viewers']}"),
            ("Mbit/s", f"{last['bytes'] * 8e-6 / seconds:.1f}"),
            ("packets/s", f"{last['packets'] / seconds:.0f}"),
            ("loss", f"{100 * last['missed'] / max(1, last['expected']):.2f} %"),
            ("delay", f"{delay['p50']:.1f}/{delay['p99']:.1f} ms" if delay["count"] else "-"),
        ]
    elif figures["publishers"]["count"]:
        sent = figures["publishers"]
        cells += [
            ("publishing", f"{sent['live']}/{sent['count']}"),
            ("packets", str(sent["packets"])),
            ("PLI", str(sent["plis"])),
        ]
    if progress.failed:
        cells.append(("failed", str(progress.failed)))
    if progress.server_cores is not None:
        cells += [
            ("server", f"{progress.server_cores:.2f} cores"),
            ("memory", f"{progress.rss_mib or 0:.0f} MiB"),
        ]
    return cells


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415  (see the module's head)
    from rich.table import Table  # noqa: PLC0415

    from stagecast.media.load.report import rows  # noqa: PLC0415

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in rows(result):
        table.add_row(name, value)
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)
