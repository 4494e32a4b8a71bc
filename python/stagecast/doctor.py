"""Looking a machine over before, or while, the server runs: what is wrong and what to do about it.

Every check answers with one `Finding`. Checks open what they look at read-only or briefly; none changes
the data directory.
"""

import errno
import importlib.util
import os
import resource
import shutil
import socket
import sqlite3
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from stagecast.db.migrate import head
from stagecast.db.store import VAULT_KEY
from stagecast.kit.certificate import expires_on
from stagecast.kit.clock import utc_now
from stagecast.pages import WEB_DIST
from stagecast.settings import Settings

_UDP_SEGMENT = 103  # linux/udp.h; GSO
_WANTED_BUFFER = 4 << 20
_WANTED_FILES = 16_384
_LOW_DISK = 1 << 30
_CERTIFICATE_DAYS = 14


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; ``advice`` says what to do and is empty when all is well."""

    check: str
    level: Level
    found: str
    advice: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Run all checks."""
    checks: list[Callable[[Settings], Finding]] = [
        _core,
        _web_apps,
        _http_port,
        _media_udp_port,
        _media_tcp_port,
        _advertised,
        _receive_buffer,
        _send_buffer,
        _gso,
        _open_files,
        _certificate,
        _data_directory,
        _database,
        _keys,
        _disk,
    ]
    return [check(settings) for check in checks]


def _core(_settings: Settings) -> Finding:
    if importlib.util.find_spec("stagecast._core") is None:
        return Finding(
            "media core",
            Level.PROBLEM,
            "the native module is missing",
            "In a source tree run `make setup`; otherwise install the stagecast package again.",
        )
    return Finding("media core", Level.OK, "built")


def _web_apps(_settings: Settings) -> Finding:
    if (WEB_DIST / "index.html").is_file():
        return Finding("web apps", Level.OK, "built")
    return Finding(
        "web apps",
        Level.PROBLEM,
        "not built",
        "Run `make setup`; otherwise install the package again.",
    )


def _http_port(settings: Settings) -> Finding:
    name = f"port {settings.http.port}/tcp"
    problem = _bind_problem(socket.SOCK_STREAM, settings.http.port)
    if problem is None:
        return Finding(name, Level.OK, "free, for the dashboard and signalling")
    if problem == errno.EADDRINUSE and _stagecast_answers(settings):
        return Finding(name, Level.OK, "Stagecast is running on it")
    return _port_finding(name, problem, "http.port")


def _media_udp_port(settings: Settings) -> Finding:
    name = f"port {settings.media.port}/udp"
    if not settings.media.udp:
        return Finding(name, Level.WARNING, "media.udp is off", "Turn it on: TCP alone adds delay.")
    return _media_port(settings, name, socket.SOCK_DGRAM)


def _media_tcp_port(settings: Settings) -> Finding:
    name = f"port {settings.media.port}/tcp"
    if not settings.media.tcp:
        return Finding(
            name,
            Level.WARNING,
            "media.tcp is off",
            "Turn it on for viewers behind firewalls without UDP.",
        )
    return _media_port(settings, name, socket.SOCK_STREAM)


def _media_port(settings: Settings, name: str, kind: socket.SocketKind) -> Finding:
    problem = _bind_problem(kind, settings.media.port)
    if problem is None:
        return Finding(name, Level.OK, "free, for WebRTC media; open it in the firewall")
    if problem == errno.EADDRINUSE and _stagecast_answers(settings):
        return Finding(name, Level.OK, "in use while Stagecast runs; open it in the firewall")
    return _port_finding(name, problem, "media.port")


def _port_finding(name: str, problem: int, key: str) -> Finding:
    if problem == errno.EADDRINUSE:
        return Finding(
            name, Level.PROBLEM, "in use by another program", f"Stop that program or set {key}."
        )
    return Finding(name, Level.PROBLEM, os.strerror(problem), f"Choose another port with {key}.")


def _bind_problem(kind: socket.SocketKind, port: int) -> int | None:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  (the server would bind it so)
        except OSError as error:
            return error.errno or errno.EINVAL
    return None


def _stagecast_answers(settings: Settings) -> bool:
    scheme = "http" if settings.tls.mode == "off" else "https"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is this machine, and only "is it us" is asked
    request = Request(f"{scheme}://127.0.0.1:{settings.http.port}/healthz")  # noqa: S310
    try:
        with urlopen(request, timeout=2, context=context) as response:  # noqa: S310
            return response.read(64) == b'{"status":"ok"}'
    except (URLError, OSError, ValueError):
        return False


def _advertised(settings: Settings) -> Finding:
    addresses = settings.media.advertise
    if not addresses:
        return Finding("advertised addresses", Level.OK, "all addresses of this machine")
    private = [str(address) for address in addresses if ip_address(str(address)).is_private]
    text = ", ".join(str(address) for address in addresses)
    if private and len(private) == len(addresses):
        return Finding(
            "advertised addresses",
            Level.WARNING,
            f"only private ones: {text}",
            "Viewers on the Internet need a public address in media.advertise.",
        )
    return Finding("advertised addresses", Level.OK, text)


def _receive_buffer(_settings: Settings) -> Finding:
    return _buffer("UDP receive buffer", "rmem_max", "Bursts of packets will be dropped.")


def _send_buffer(_settings: Settings) -> Finding:
    return _buffer("UDP send buffer", "wmem_max", "Many viewers at once will lose packets.")


def _buffer(name: str, key: str, effect: str) -> Finding:
    try:
        size = int(Path(f"/proc/sys/net/core/{key}").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Finding(name, Level.WARNING, "the limit cannot be read", "")
    text = f"at most {size // 1024} KiB"
    if size >= _WANTED_BUFFER:
        return Finding(name, Level.OK, text)
    return Finding(
        name, Level.WARNING, text, f"{effect} As root: sysctl -w net.core.{key}={_WANTED_BUFFER}"
    )


def _gso(_settings: Settings) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, 1200)
        except OSError:
            return Finding(
                "UDP segmentation offload",
                Level.WARNING,
                "not available",
                "Linux 4.18 or newer sends to many viewers with much less CPU.",
            )
    return Finding("UDP segmentation offload", Level.OK, "available")


def _open_files(_settings: Settings) -> Finding:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _WANTED_FILES:
        return Finding("open files", Level.OK, f"at most {hard}")
    return Finding(
        "open files",
        Level.WARNING,
        f"at most {hard}",
        f"Raise the limit: ulimit -Hn {_WANTED_FILES}",
    )


def _certificate(settings: Settings) -> Finding:
    name = "TLS"
    match settings.tls.mode:
        case "off":
            if settings.public_url.startswith("https:"):
                return Finding(name, Level.OK, "done by a proxy in front of this server")
            return Finding(
                name,
                Level.WARNING,
                "off",
                "Browsers give cameras to https pages and localhost only. Set tls.mode, or --tls self-signed.",
            )
        case "self-signed":
            return Finding(name, Level.OK, "self-signed, for trying; browsers warn once")
        case "files":
            return _certificate_file(name, settings)


def _certificate_file(name: str, settings: Settings) -> Finding:
    certificate, key = settings.tls.certificate, settings.tls.key
    if certificate is None or key is None:
        return Finding(name, Level.PROBLEM, "no files named", "Set tls.certificate and tls.key.")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        days = (expires_on(certificate) - utc_now()).days
    except (OSError, ValueError) as error:
        return Finding(
            name, Level.PROBLEM, f"cannot be used: {error}", "Check tls.certificate and tls.key."
        )
    if days < 0:
        return Finding(name, Level.PROBLEM, "the certificate has expired", "Renew it.")
    level = Level.OK if days >= _CERTIFICATE_DAYS else Level.WARNING
    return Finding(
        name, level, f"valid for {days} days", "" if level is Level.OK else "Renew it soon."
    )


def _data_directory(settings: Settings) -> Finding:
    path = settings.data
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(
            "data directory",
            Level.PROBLEM,
            f"{path} cannot be written",
            "Change its owner, or use --data.",
        )
    found = str(path.resolve()) if path.exists() else f"{path.resolve()} will be made"
    return Finding("data directory", Level.OK, found)


def _database(settings: Settings) -> Finding:
    path = settings.database_path
    if not path.exists():
        return Finding("database", Level.OK, "will be made by the first start")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2)
        try:
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Finding("database", Level.PROBLEM, str(error), f"Restore {path} from a backup.")
    if damage != "ok":
        return Finding(
            "database", Level.PROBLEM, f"damaged: {damage}", f"Restore {path} from a backup."
        )
    if revision != head():
        return Finding(
            "database", Level.OK, f"schema {revision}; the next start brings it to {head()}"
        )
    return Finding("database", Level.OK, f"sound, schema {revision}")


def _keys(settings: Settings) -> Finding:
    key = settings.keys_dir / VAULT_KEY
    if not key.exists():
        if settings.database_path.exists():
            return Finding(
                "token key",
                Level.PROBLEM,
                f"{key} is missing",
                "Restore it from a backup: without it the tokens in the database cannot be read.",
            )
        return Finding("token key", Level.OK, "will be made by the first start")
    if key.stat().st_mode & 0o077:
        return Finding(
            "token key", Level.PROBLEM, f"{key} can be read by others", f"chmod 600 {key}"
        )
    return Finding("token key", Level.OK, "readable by its owner only")


def _disk(settings: Settings) -> Finding:
    nearest = settings.data
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free
    text = f"{free / (1 << 30):.1f} GiB free"
    if free >= _LOW_DISK:
        return Finding("disk", Level.OK, text)
    return Finding("disk", Level.WARNING, text, "Make room: logs and the database need some.")
