"""The ``stagecast`` command: options and printing; the work is imported when a command runs.

With ``--json`` a command prints one JSON value and nothing else. A refusal is one clear message on standard
error and status 1.
"""

import json
import resource
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from stagecast import __version__, cli_bench, cli_media
from stagecast.errors import RequestError, StagecastError
from stagecast.settings import Settings, load

if TYPE_CHECKING:
    from stagecast.server import Ready

app = typer.Typer(
    name="stagecast",
    help="Self-hosted live video: go live from a browser, OBS or ffmpeg, watch with sub-second latency.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
user_app = typer.Typer(help="People who log in to the dashboard.", no_args_is_help=True)
token_app = typer.Typer(help="Publish tokens.", no_args_is_help=True)
api_token_app = typer.Typer(
    help="API tokens: what programs make and read livestreams with.", no_args_is_help=True
)

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Data directory. [default: ./data, or STAGECAST_DATA]", show_default=False
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Settings file. [default: ./stagecast.toml, or STAGECAST_CONFIG]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Email = Annotated[str, typer.Argument(help="E-mail address to log in with.")]
Password = Annotated[
    str | None,
    typer.Option(
        help="Password. Left out: a one-time password is made and printed.", show_default=False
    ),
]
TokenId = Annotated[int, typer.Argument(min=1, help="Id of the token (stagecast token list).")]


@app.command()
def serve(
    data: Data = None,
    config: Config = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the dashboard and signalling.", show_default=False)
    ] = None,
    media_port: Annotated[
        int | None, typer.Option(help="UDP and TCP port of WebRTC media.", show_default=False)
    ] = None,
    tls: Annotated[
        str | None,
        typer.Option(
            help="off, files (tls.certificate and tls.key) or self-signed.", show_default=False
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            help="How others reach this server: https://live.example.org.", show_default=False
        ),
    ] = None,
    advertise: Annotated[
        list[str] | None,
        typer.Option(
            help="Address for media behind NAT; may be given more than once.", show_default=False
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error.", show_default=False)
    ] = None,
) -> None:
    """Run the server.

    The first start makes the administrator and prints a one-time password. Every setting can be given
    in stagecast.toml or as STAGECAST_SECTION__KEY; deploy/stagecast.sample.toml lists them.
    """
    from stagecast.app import create_app, drain  # noqa: PLC0415  (see the module's head)
    from stagecast.kit.logs import configure_logs  # noqa: PLC0415
    from stagecast.server import serve as run_server  # noqa: PLC0415

    flags = {
        "http.port": port,
        "media.port": media_port,
        "tls.mode": tls,
        "public_url": public_url,
        "media.advertise": advertise or None,
        "log.level": log_level,
    }
    with _refusals():
        settings = _settings(data, config, flags)
        configure_logs(settings.log.level, settings.log.format)
        _raise_file_limit()
        control_plane = create_app(settings)
        run_server(
            settings,
            control_plane,
            drain=lambda: drain(control_plane),
            on_ready=lambda ready: _print_ready(ready, settings),
        )


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    sys.stdout.write(
        json.dumps({"version": __version__}) + "\n" if as_json else f"stagecast {__version__}\n"
    )


@app.command()
def doctor(data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Check ports, buffers, certificates, database and disk, and say what to do.

    The exit status is 1 when something keeps the server from working.
    """
    from stagecast.doctor import Level, examine  # noqa: PLC0415  (see the module's head)

    with _refusals():
        findings = examine(_settings(data, config))
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        marks = {
            Level.OK: "[green]✓[/]",
            Level.WARNING: "[yellow]![/]",
            Level.PROBLEM: "[red]✗[/]",
        }
        rows = [
            (
                marks[finding.level],
                _plain(finding.check),
                _plain(finding.found)
                + (f"\n[bold]→ {_plain(finding.advice)}[/]" if finding.advice else ""),
            )
            for finding in findings
        ]
        _print_table(None, rows)
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(1)


@user_app.command("add")
def user_add(
    email: Email,
    password: Password = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Add a user who administers this server."""
    from stagecast import administration  # noqa: PLC0415  (see the module's head)

    with _refusals():
        added = administration.add_user(_settings(data, config), email, password)
    _print_user(added, f"User {added['email']} is added.", as_json=as_json)


@user_app.command("passwd")
def user_passwd(
    email: Email,
    password: Password = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set a user's password and end their sessions."""
    from stagecast import administration  # noqa: PLC0415  (see the module's head)

    with _refusals():
        changed = administration.reset_password(_settings(data, config), email, password)
    _print_user(changed, f"The password of {changed['email']} is changed.", as_json=as_json)


@token_app.command("create")
def token_create(
    label: Annotated[str, typer.Option(help="Display name.")],
    stream: Annotated[
        list[str] | None,
        typer.Option(
            help="Stream name it may publish; may be given more than once.", show_default=False
        ),
    ] = None,
    any_stream: Annotated[bool, typer.Option("--any", help="Allow any stream name.")] = False,
    expires: Annotated[
        int | None,
        typer.Option(help="Seconds until no new broadcast starts.", show_default=False),
    ] = None,
    secure: Annotated[
        bool, typer.Option("--secure", help="Viewers need a subscribe token.")
    ] = False,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a publish token."""
    from stagecast import administration  # noqa: PLC0415  (see the module's head)

    if bool(stream) == any_stream:
        _fail("Say which streams the token may publish: --stream NAME, or --any.")
    with _refusals():
        made = administration.create_token(
            _settings(data, config), label, stream or [], expires, secure=secure
        )
    if as_json:
        _print_json(made)
        return
    for name, key in (
        ("Token", "token"),
        ("Id", "id"),
        ("Account", "accountId"),
        ("Label", "label"),
    ):
        sys.stdout.write(f"{name.ljust(8)} {made[key]}\n")


@token_app.command("list")
def token_list(
    name: Annotated[
        str, typer.Option(help="Only labels or stream names that contain this text.")
    ] = "",
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List publish tokens."""
    from stagecast import administration  # noqa: PLC0415  (see the module's head)

    with _refusals():
        found = administration.list_tokens(_settings(data, config), name)
    if as_json:
        _print_json(found)
        return
    rows = [
        (
            str(token["id"]),
            _plain(token["label"]),
            _plain(", ".join(stream["streamName"] for stream in token["streams"])),
            "yes" if token["isActive"] else "no",
            token["expiresOn"] or "never",
            token["token"],
        )
        for token in found
    ]
    _print_table(("Id", "Label", "Streams", "Active", "Expires", "Token"), rows)


@token_app.command("disable")
def token_disable(
    token_id: TokenId, data: Data = None, config: Config = None, as_json: Json = False
) -> None:
    """Refuse new broadcasts with a token; a running one goes on."""
    _set_active(token_id, data, config, active=False, as_json=as_json)


@token_app.command("enable")
def token_enable(
    token_id: TokenId, data: Data = None, config: Config = None, as_json: Json = False
) -> None:
    """Allow broadcasts with a disabled token again."""
    _set_active(token_id, data, config, active=True, as_json=as_json)


@token_app.command("delete")
def token_delete(
    token_id: TokenId, data: Data = None, config: Config = None, as_json: Json = False
) -> None:
    """Delete a token and end its broadcasts. It cannot be restored."""
    from stagecast import administration  # noqa: PLC0415  (see the module's head)

    with _refusals():
        administration.delete_token(_settings(data, config), token_id)
    if as_json:
        _print_json({"id": token_id, "deleted": True})
    else:
        sys.stdout.write(f"Token {token_id} is deleted.\n")


@api_token_app.command("create")
def api_token_create(
    label: Annotated[str, typer.Option(help="What the token is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it may do: apps:read, apps:write, livestreams:read, livestreams:write; may be given "
            "more than once. [default: all]",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make an API token for the livestream API. It is printed this once."""
    from stagecast import administration  # noqa: PLC0415  (see the module's head)

    with _refusals():
        made = administration.create_api_token(_settings(data, config), label, scope or [])
    if as_json:
        _print_json(made)
        return
    for name, key in (("Token", "token"), ("Account", "accountId"), ("App", "appId")):
        sys.stdout.write(f"{name.ljust(8)} {made[key]}\n")
    sys.stdout.write(f"Scopes   {', '.join(made['scopes'])}\n")


app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.add_typer(api_token_app, name="apitoken")
app.add_typer(cli_bench.app, name="bench")
app.command()(cli_media.publish)
app.command()(cli_media.watch)


def _set_active(
    token_id: int, data: Path | None, config: Path | None, *, active: bool, as_json: bool
) -> None:
    from stagecast import administration  # noqa: PLC0415  (see the module's head)

    with _refusals():
        changed = administration.set_token_active(_settings(data, config), token_id, active=active)
    if as_json:
        _print_json(changed)
    else:
        sys.stdout.write(f"Token {token_id} is {'enabled' if active else 'disabled'}.\n")


def _settings(
    data: Path | None, config: Path | None, flags: dict[str, Any] | None = None
) -> Settings:
    return load(config=config, flags={"data": data, **(flags or {})})


@contextmanager
def _refusals() -> Generator[None]:
    """Turn errors raised on purpose into one message and status 1."""
    try:
        yield
    except RequestError as error:
        texts = [text for texts in (error.errors or {}).values() for text in texts]
        _fail("\n".join(texts) or error.message)
    except StagecastError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"stagecast: {message}\n")
    raise typer.Exit(1)


def _print_ready(ready: "Ready", settings: Settings) -> None:
    lines = ["", f"  Stagecast {__version__} is ready.", "", f"  Dashboard   {ready.url}/"]
    if ready.local_url != ready.url:
        lines.append(f"              {ready.local_url}/  on this machine")
    lines += [
        f"  Publish     {ready.url}/api/whip/STREAM",
        f"  Watch       {ready.url}/viewer?streamId={ready.account_id}/STREAM",
        f"  Media       port {ready.media_port}, UDP and TCP",
        f"  Data        {settings.data.resolve()}",
    ]
    if ready.url.startswith("http:"):
        lines += [
            "",
            "  Browsers give cameras to https pages and localhost only. To broadcast from another",
            "  device, start with --tls self-signed or set tls.certificate and tls.key.",
        ]
    if ready.first_admin is not None:
        lines += [
            "",
            "  First start. Log in with these and choose a password of your own:",
            f"    E-mail:            {ready.first_admin.email}",
            f"    One-time password: {ready.first_admin.password}",
        ]
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()


def _print_user(user: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(user)
        return
    sys.stdout.write(f"{text}\n")
    if user["oneTimePassword"] is not None:
        sys.stdout.write(f"One-time password: {user['oneTimePassword']}\n")


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _print_table(headings: tuple[str, ...] | None, rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console  # noqa: PLC0415  (see the module's head)
    from rich.table import Table  # noqa: PLC0415

    table = Table(*(headings or ()), box=None, pad_edge=False, show_header=headings is not None)
    for row in rows:
        table.add_row(*row)
    # Piped into another program, rows must not be cut to the width of a terminal that is not there.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


def _plain(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415  (see the module's head)

    return escape(text)


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: every viewer over TCP takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
