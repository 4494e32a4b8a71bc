"""The ``stagecast`` command.

Commands on users and tokens work on the data directory itself, through the same services as the server, and
may run while it does: a running server notices within a second. With ``--json`` a command prints one JSON
value and nothing else.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from stagecast import __version__, cli_media
from stagecast.accounts.passwords import PasswordChecker, new_one_time_password
from stagecast.accounts.service import AccountService
from stagecast.app import create_app, drain
from stagecast.db.store import open_store
from stagecast.doctor import Level, examine
from stagecast.errors import RequestError, StagecastError
from stagecast.kit.clock import iso
from stagecast.kit.logs import configure_logs
from stagecast.kit.secret import Vault
from stagecast.server import Ready
from stagecast.server import serve as run_server
from stagecast.settings import Settings, load
from stagecast.tokens.schemas import (
    FilterBy,
    Page,
    PublishToken,
    PublishTokenCreate,
    SortBy,
    TokenStream,
)
from stagecast.tokens.service import PublishTokenService

T = TypeVar("T")

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
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.command()(cli_media.publish)
app.command()(cli_media.watch)

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

    The first start makes the administrator and prints a one-time password. Every setting can be given in
    stagecast.toml or as STAGECAST_SECTION__KEY; deploy/stagecast.sample.toml lists them.
    """
    flags = {
        "http.port": port,
        "media.port": media_port,
        "tls.mode": tls,
        "public_url": public_url,
        "media.advertise": advertise or None,
        "log.level": log_level,
    }
    settings = _settings(data, config, flags)
    configure_logs(settings.log.level, settings.log.format)
    _raise_file_limit()
    try:
        control_plane = create_app(settings)
        run_server(
            settings,
            control_plane,
            drain=lambda: drain(control_plane),
            on_ready=lambda ready: _print_ready(ready, settings),
        )
    except StagecastError as error:
        _fail(str(error))


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
    findings = examine(_settings(data, config))
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        marks = {Level.OK: "[green]✓[/]", Level.WARNING: "[yellow]![/]", Level.PROBLEM: "[red]✗[/]"}
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in findings:
            found = escape(finding.found)
            if finding.advice:
                found += f"\n[bold]→ {escape(finding.advice)}[/]"
            table.add_row(marks[finding.level], escape(finding.check), found)
        Console().print(table)
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(1)


@user_app.command("add")
def user_add(
    email: Annotated[str, typer.Argument(help="E-mail address to log in with.")],
    password: Annotated[
        str | None,
        typer.Option(
            help="Password. Left out: a one-time password is made and printed.", show_default=False
        ),
    ] = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Add a user who administers this server."""
    settings = _settings(data, config)
    chosen = password or new_one_time_password()

    async def work(session: AsyncSession, _vault: Vault, account_id: str) -> int:
        accounts = AccountService(session, settings.accounts, PasswordChecker())
        return (await accounts.add_user(account_id, email, chosen, must_change=password is None)).id

    user_id = _run(settings, work)
    _print_credentials(email, None if password else chosen, user_id, "added", as_json=as_json)


@user_app.command("passwd")
def user_passwd(
    email: Annotated[str, typer.Argument(help="E-mail address of the user.")],
    password: Annotated[
        str | None,
        typer.Option(
            help="Password. Left out: a one-time password is made and printed.", show_default=False
        ),
    ] = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set a user's password and end their sessions."""
    settings = _settings(data, config)
    chosen = password or new_one_time_password()

    async def work(session: AsyncSession, _vault: Vault, _account_id: str) -> int:
        accounts = AccountService(session, settings.accounts, PasswordChecker())
        return (await accounts.reset_password(email, chosen, must_change=password is None)).id

    user_id = _run(settings, work)
    _print_credentials(email, None if password else chosen, user_id, "changed", as_json=as_json)


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
        int | None, typer.Option(help="Seconds until no new broadcast starts.", show_default=False)
    ] = None,
    secure: Annotated[
        bool, typer.Option("--secure", help="Viewers need a subscribe token.")
    ] = False,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a publish token."""
    if bool(stream) == any_stream:
        _fail("Say which streams the token may publish: --stream NAME, or --any.")
    try:
        names = [TokenStream(stream_name=name, is_regex=False) for name in stream or []]
        new = PublishTokenCreate(
            label=label,
            streams=names or [TokenStream(stream_name=".*", is_regex=True)],
            expires=expires,
            subscribe_requires_auth=secure,
        )
    except ValidationError as error:
        _fail("\n".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors()))

    async def work(session: AsyncSession, vault: Vault, account_id: str) -> dict[str, Any]:
        tokens = PublishTokenService(session, vault)
        return _token_json(tokens.shown(await tokens.create(account_id, new)), account_id)

    made = _run(_settings(data, config), work)
    if as_json:
        _print_json(made)
    else:
        _print_pairs(
            {
                "Token": made["token"],
                "Id": made["id"],
                "Account": made["accountId"],
                "Label": made["label"],
            }
        )


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

    async def work(session: AsyncSession, vault: Vault, account_id: str) -> list[dict[str, Any]]:
        tokens = PublishTokenService(session, vault)
        found: list[dict[str, Any]] = []
        for number in range(1, 1_000_000):
            page = Page(number, 100, SortBy.ADDED_ON, descending=False)
            rows, total = await tokens.page(account_id, page, FilterBy.TOKEN_OR_STREAM_NAME, name)
            found += [_token_json(tokens.shown(row), account_id) for row in rows]
            if len(found) >= total or not rows:
                break
        return found

    found = _run(_settings(data, config), work)
    if as_json:
        _print_json(found)
        return
    table = Table("Id", "Label", "Streams", "Active", "Expires", "Token", box=None, pad_edge=False)
    for token in found:
        streams = ", ".join(stream["streamName"] for stream in token["streams"])
        cells = [
            str(token["id"]),
            token["label"],
            streams,
            "yes" if token["isActive"] else "no",
            token["expiresOn"] or "never",
            token["token"],
        ]
        table.add_row(*(escape(cell) for cell in cells))
    Console(soft_wrap=True).print(table)


TokenId = Annotated[int, typer.Argument(min=1, help="Id of the token (stagecast token list).")]


@token_app.command("disable")
def token_disable(
    token_id: TokenId, data: Data = None, config: Config = None, as_json: Json = False
) -> None:
    """Refuse new broadcasts with a token; a running one goes on."""
    _set_active(token_id, _settings(data, config), active=False, as_json=as_json)


@token_app.command("enable")
def token_enable(
    token_id: TokenId, data: Data = None, config: Config = None, as_json: Json = False
) -> None:
    """Allow broadcasts with a disabled token again."""
    _set_active(token_id, _settings(data, config), active=True, as_json=as_json)


@token_app.command("delete")
def token_delete(
    token_id: TokenId, data: Data = None, config: Config = None, as_json: Json = False
) -> None:
    """Delete a token and end its broadcasts. It cannot be restored."""

    async def work(session: AsyncSession, vault: Vault, account_id: str) -> None:
        await PublishTokenService(session, vault).delete(account_id, token_id)

    _run(_settings(data, config), work)
    if as_json:
        _print_json({"id": token_id, "deleted": True})
    else:
        sys.stdout.write(f"Token {token_id} is deleted.\n")


def _set_active(token_id: int, settings: Settings, *, active: bool, as_json: bool) -> None:
    async def work(session: AsyncSession, vault: Vault, account_id: str) -> dict[str, Any]:
        tokens = PublishTokenService(session, vault)
        row = await tokens.set_active(account_id, token_id, active=active)
        return _token_json(tokens.shown(row), account_id)

    changed = _run(settings, work)
    if as_json:
        _print_json(changed)
    else:
        sys.stdout.write(f"Token {token_id} is {'enabled' if active else 'disabled'}.\n")


def _settings(
    data: Path | None, config: Path | None, flags: dict[str, Any] | None = None
) -> Settings:
    try:
        return load(config=config, flags={"data": data, **(flags or {})})
    except StagecastError as error:
        _fail(str(error))


def _run(settings: Settings, work: Callable[[AsyncSession, Vault, str], Awaitable[T]]) -> T:
    """Do one unit of work on the data directory."""

    async def run() -> T:
        database, vault = open_store(settings)
        try:
            async with database.work() as session:
                accounts = AccountService(session, settings.accounts, PasswordChecker())
                return await work(session, vault, await accounts.ensure_account())
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except RequestError as error:
        texts = [text for texts in (error.errors or {}).values() for text in texts]
        _fail("\n".join(texts) or error.message)
    except StagecastError as error:
        _fail(str(error))


def _token_json(token: PublishToken, account_id: str) -> dict[str, Any]:
    return {
        "id": token.id,
        "accountId": account_id,
        "label": token.label,
        "token": token.token,
        "streams": [stream.model_dump(by_alias=True) for stream in token.streams],
        "isActive": token.is_active,
        "addedOn": iso(token.added_on),
        "expiresOn": iso(token.expires_on) if token.expires_on else None,
        "subscribeRequiresAuth": token.subscribe_requires_auth,
    }


def _print_ready(ready: Ready, settings: Settings) -> None:
    lines = [
        "",
        f"  Stagecast {__version__} is ready.",
        "",
        f"  Dashboard   {ready.url}/",
    ]
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


def _print_credentials(
    email: str, one_time: str | None, user_id: int, done: str, *, as_json: bool
) -> None:
    if as_json:
        _print_json({"id": user_id, "email": email, "oneTimePassword": one_time})
        return
    sys.stdout.write(
        f"User {email} is {done}.\n" if done == "added" else f"The password of {email} is {done}.\n"
    )
    if one_time is not None:
        sys.stdout.write(f"One-time password: {one_time}\n")


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _print_pairs(pairs: dict[str, Any]) -> None:
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        sys.stdout.write(f"{name.ljust(width)}  {value}\n")


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: every viewer over TCP takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _fail(message: str) -> NoReturn:
    """One clear message on standard error, and status 1."""
    sys.stderr.write(f"stagecast: {message}\n")
    raise typer.Exit(1)
