"""Running the application: sockets, TLS, signals, and an end that loses nothing.

On SIGTERM or SIGINT the listening sockets close, long responses and waiting viewers are ended, requests under
way finish within `http.drain_timeout`, then the media core says goodbye to every peer and the database is
closed. A second signal stops waiting for requests.
"""

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from stagecast.accounts.service import FirstAdmin
from stagecast.errors import StartError
from stagecast.kit.addresses import primary_address
from stagecast.kit.guarded_http import guarded
from stagecast.settings import HttpSettings, Settings
from stagecast.tls import tls_files

_log = structlog.stdlib.get_logger(__name__)
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Ready:
    """What to tell people when the server runs."""

    url: str
    local_url: str
    account_id: str
    media_port: int
    first_admin: FirstAdmin | None


def serve(
    settings: Settings,
    app: FastAPI,
    *,
    drain: Callable[[], None],
    on_ready: Callable[[Ready], None],
) -> None:
    """Run the application until a signal; raise `StartError` when it cannot start.

    ``drain`` is called on the first signal and must end every long response.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, app, drain, on_ready))


async def _serve(
    settings: Settings, app: FastAPI, drain: Callable[[], None], on_ready: Callable[[Ready], None]
) -> None:
    tls = tls_files(settings)
    sockets = bind(settings.http)
    config = uvicorn.Config(
        app,
        http=guarded(settings.http.max_header, settings.http.receive_timeout.total_seconds()),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=settings.http.max_connections,
        timeout_keep_alive=int(settings.http.keep_alive.total_seconds()),
        timeout_graceful_shutdown=int(settings.http.drain_timeout.total_seconds()),
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    try:
        config.load()
    except OSError as error:
        raise StartError(f"The TLS certificate or key cannot be used: {error}") from error
    try:
        async with app.router.lifespan_context(app):
            port: int = sockets[0].getsockname()[1]
            scheme = "https" if tls else "http"
            ready = _ready(app, settings, scheme, port)
            await Server(config, drain, lambda: on_ready(ready)).serve(sockets=sockets)
    finally:
        for listening in sockets:
            listening.close()


class Server(uvicorn.Server):
    """uvicorn with our signals: drain first, and an exit status of 0."""

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], None], on_started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._on_started = on_started
        self._stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self.should_exit:
            self.force_exit = True
            return
        _log.info("server.stopping", signal=number.name)
        self._drain()
        self.stop()

    def stop(self) -> None:
        """Take no more requests, and end when those that run are answered."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Wake once a second for the `Date` header, not ten times: an idle server sleeps."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._stopping.wait()


def bind(http: HttpSettings) -> list[socket.socket]:
    """Listen on every configured address; a machine without IPv6 skips ``::``."""
    sockets: list[socket.socket] = []
    port = http.port
    for address in http.bind:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        try:
            listening = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listening.bind((str(address), port))
        except OSError as error:
            listening.close()
            if (
                error.errno == errno.EADDRNOTAVAIL
                and address.version == 6
                and address.is_unspecified
            ):
                continue
            for earlier in sockets:
                earlier.close()
            raise StartError(_bind_problem(str(address), port, error)) from error
        listening.setblocking(False)
        sockets.append(listening)
        port = listening.getsockname()[1]
    if not sockets:
        raise StartError("None of the addresses in http.bind exists on this machine.")
    return sockets


def _ready(app: FastAPI, settings: Settings, scheme: str, port: int) -> Ready:
    local = f"{scheme}://localhost:{port}"
    bound = {str(address) for address in settings.http.bind}
    everywhere = bound & {"0.0.0.0", "::"}  # noqa: S104  (compared, not bound)
    address = primary_address() if everywhere else next(iter(bound))
    network = f"{scheme}://{_in_url(address)}:{port}" if address else local
    return Ready(
        url=settings.public_url or network,
        local_url=local,
        account_id=app.state.account_id,
        media_port=app.state.engine.port,
        first_admin=app.state.first_admin,
    )


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _bind_problem(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is in use on {address}. Stop the other program, or choose another port with "
            "--port or STAGECAST_HTTP__PORT."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} needs privileges; choose one above 1023 with --port."
    return f"Cannot listen on {address} port {port}: {error.strerror or error}"
