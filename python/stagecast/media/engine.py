"""The engine: calls down to the media core, events and figures up from it.

The core's threads write to an eventfd when lifecycle events wait; the event loop reads them and hands each,
typed and in order, to the listeners. Figures are fetched once a second. Calls into the core take a few
milliseconds at most and release the GIL; those on a request's path run in a thread so that a burst of joins
does not hold up the loop.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import structlog

from stagecast.errors import RequestError, StartError
from stagecast.media.errors import request_error
from stagecast.media.events import EVENTS, MediaEvent
from stagecast.media.figures import FIGURES, Figures
from stagecast.settings import Settings
from stagecast.tls import self_signed_files, tls_files

_log = structlog.stdlib.get_logger(__name__)
_FIGURES_SECONDS = 1.0
_THREADS = 2
_WHOLE_EVENT = 2**64 - 1  # seconds of DVR that no stream reaches
_R = TypeVar("_R")


class Answer(Protocol):
    """What `Core.publish` and `Core.view` return."""

    @property
    def session(self) -> str: ...
    @property
    def sdp(self) -> str: ...
    @property
    def etag(self) -> str: ...


class Patched(Protocol):
    """What `Core.patch` returns."""

    @property
    def fragment(self) -> str | None: ...
    @property
    def etag(self) -> str: ...


Verdict = dict[str, str | bool | None]
"""``{"verdict": "admit", "stream", "source"}``, for HLS players with ``"ladder"``, or
``{"verdict": "refuse", "code", "message"}``."""


class Core(Protocol):
    """The part of `stagecast._core.Engine` that is used here; its stub has the contract."""

    @property
    def port(self) -> int: ...
    @property
    def hls_port(self) -> int | None: ...
    @property
    def rtmp_port(self) -> int | None: ...
    @property
    def rtmps_port(self) -> int | None: ...
    @property
    def worker_socket(self) -> str | None: ...
    @property
    def srt_port(self) -> int | None: ...
    def event_fd(self) -> int: ...
    def drain_events(self) -> bytes: ...
    def figures(self) -> bytes: ...
    def publish(
        self,
        *,
        stream: str,
        source: str | None,
        offer: str,
        codec: str | None = None,
        audio: bool = True,
        video: bool = True,
        local: bool = False,
    ) -> Answer: ...
    def view(
        self, *, stream: str, source: str | None, offer: str, local: bool = False
    ) -> Answer: ...
    def patch(self, session: str, fragment: str, if_match: str | None) -> Patched: ...
    def select_layer(self, session: str, layer: str) -> None: ...
    def end_session(self, session: str, reason: str) -> bool: ...
    def decide(self, question: int, verdict_json: str) -> None: ...
    def is_live(self, stream: str, source: str | None) -> bool: ...
    def close(self) -> None: ...


def open_core(settings: Settings) -> Core:
    """Load the native module and bind the ports of media."""
    try:
        from stagecast import _core  # noqa: PLC0415  (the one door; commands that need no media skip it)
    except ImportError as error:
        raise StartError(
            f"The media core is not built ({error}). In a source tree run `make setup`; "
            "an installed package has it, so install stagecast again."
        ) from error
    try:
        return _core.Engine(core_config(settings))
    except _core.CoreError as error:
        raise StartError(f"The media core cannot start: {error.detail}") from error


def core_config(settings: Settings) -> bytes:
    media = settings.media
    return json.dumps(
        {
            "port": media.port,
            "udp": media.udp,
            "tcp": media.tcp,
            "bind": [str(address) for address in media.bind],
            "advertise": [str(address) for address in media.advertise],
            "threads": media.threads,
            "connect_timeout_ms": _milliseconds(media.connect_timeout.total_seconds()),
            "consent_timeout_ms": _milliseconds(media.consent_timeout.total_seconds()),
            "max_sessions": media.max_sessions,
            "ring_max_bytes": int(media.ring_size),
            "ring_max_ms": _milliseconds(media.ring_duration.total_seconds()),
            "burst_wait_us": round(media.burst_wait.total_seconds() * 1_000_000),
            "pause_unread_layers": media.pause_unread_layers,
            "workers": True,
            "rtmp": _rtmp_config(settings) if settings.rtmp.enabled else None,
            "hls": _hls_config(settings) if settings.hls.enabled else None,
            "srt": _srt_config(settings) if settings.srt.enabled else None,
        }
    ).encode()


def _srt_config(settings: Settings) -> dict[str, Any]:
    srt = settings.srt
    return {
        "bind": [str(address) for address in srt.bind],
        "port": srt.port,
        "latency_ms": _milliseconds(srt.latency.total_seconds()),
        "passphrase": srt.passphrase.get_secret_value() or None,
        "max_connections": srt.max_connections,
        "stall_timeout_ms": _milliseconds(srt.stall_timeout.total_seconds()),
    }


def _rtmp_config(settings: Settings) -> dict[str, Any]:
    rtmp = settings.rtmp
    tls: dict[str, Any] | None = None
    if rtmp.tls:
        certificate, key = tls_files(settings) or self_signed_files(settings)
        tls = {"port": rtmp.tls_port, "certificate": str(certificate), "key": str(key)}
    return {
        "bind": [str(address) for address in rtmp.bind],
        "port": rtmp.port,
        "tls": tls,
        "max_connections": rtmp.max_connections,
        "connect_timeout_ms": _milliseconds(rtmp.connect_timeout.total_seconds()),
        "stall_timeout_ms": _milliseconds(rtmp.stall_timeout.total_seconds()),
    }


def _hls_config(settings: Settings) -> dict[str, Any]:
    hls = settings.hls
    tls = tls_files(settings)
    certificate, key = (str(path) for path in tls) if tls else (None, None)
    if isinstance(hls.dvr, timedelta):
        dvr_seconds = round(hls.dvr.total_seconds())
    else:
        dvr_seconds = _WHOLE_EVENT if hls.dvr == "event" else 0
    return {
        "bind": [str(address) for address in hls.bind],
        "port": hls.port,
        "part_ms": _milliseconds(hls.part_duration.total_seconds()),
        "segment_ms": _milliseconds(hls.segment_duration.total_seconds()),
        "window": hls.window,
        "dvr_seconds": dvr_seconds,
        "dvr_dir": str(settings.data / "hls"),
        "always": hls.always,
        "aac_follows": settings.media.transcode_audio,
        "idle_ms": _milliseconds(hls.idle_timeout.total_seconds()),
        "max_connections": hls.max_connections,
        "certificate": certificate,
        "key": key,
    }


def _from_core(error: Exception) -> RequestError | None:
    """Translate a `CoreError`, told by its two attributes: the class itself lives behind the door."""
    code, detail = getattr(error, "code", None), getattr(error, "detail", None)
    if isinstance(code, str) and isinstance(detail, str):
        return request_error(code, detail)
    return None


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


class Engine:
    """Owns the core from `start` to `close`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._listeners: list[Callable[[MediaEvent], None]] = []
        self._figures_listeners: list[Callable[[Figures], None]] = []
        self._figures_task: asyncio.Task[None] | None = None
        # Of their own, and few: the core keeps memory for each thread that calls it. They end with the engine.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="core")
        self._closed = False
        self.figures = Figures()

    @property
    def port(self) -> int:
        """The bound media port, UDP and TCP."""
        return self._core.port

    @property
    def hls_port(self) -> int | None:
        """The bound port of HLS; None where it is off."""
        return self._core.hls_port

    @property
    def rtmp_port(self) -> int | None:
        """The bound port of RTMP; None where it is off."""
        return self._core.rtmp_port

    @property
    def rtmps_port(self) -> int | None:
        """The bound port of RTMP over TLS; None where it is off."""
        return self._core.rtmps_port

    @property
    def worker_socket(self) -> str | None:
        """Where transcode workers connect; `None` when they are turned off."""
        return self._core.worker_socket

    @property
    def srt_port(self) -> int | None:
        """The bound port of SRT; None where it is off."""
        return self._core.srt_port

    def on_event(self, listener: Callable[[MediaEvent], None]) -> None:
        self._listeners.append(listener)

    def on_figures(self, listener: Callable[[Figures], None]) -> None:
        self._figures_listeners.append(listener)

    def start(self) -> None:
        """Begin to hand out events and figures, in the running event loop."""
        asyncio.get_running_loop().add_reader(self._core.event_fd(), self._pump)
        self._figures_task = asyncio.create_task(self._fetch_figures(), name="media-figures")

    async def close(self) -> None:
        """End every session, hand out their last events and free the sockets; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._figures_task is not None:
            self._figures_task.cancel()
            await asyncio.gather(self._figures_task, return_exceptions=True)
            asyncio.get_running_loop().remove_reader(self._core.event_fd())
        await asyncio.to_thread(self._core.close)
        self._pump()

    async def publish(
        self,
        *,
        stream: str,
        source: str | None,
        offer: str,
        codec: str | None,
        audio: bool,
        video: bool,
        local: bool,
    ) -> Answer:
        return await self._call(
            lambda: self._core.publish(
                stream=stream,
                source=source,
                offer=offer,
                codec=codec,
                audio=audio,
                video=video,
                local=local,
            )
        )

    async def view(self, *, stream: str, source: str | None, offer: str, local: bool) -> Answer:
        return await self._call(
            lambda: self._core.view(stream=stream, source=source, offer=offer, local=local)
        )

    async def patch(self, session: str, fragment: str, if_match: str | None) -> Patched:
        return await self._call(lambda: self._core.patch(session, fragment, if_match))

    async def select_layer(self, session: str, layer: str) -> None:
        """Give a viewer a layer of the video, as JSON; ``{}`` is automatic."""
        await self._call(lambda: self._core.select_layer(session, layer))

    def end_session(self, session: str, reason: str) -> bool:
        """End a session; its `SessionEnded` event follows."""
        return self._core.end_session(session, reason)

    def decide(self, question: int, verdict: Verdict) -> None:
        """Answer an `AdmissionAsked`; without effect when its peer has given up."""
        self._core.decide(question, json.dumps(verdict))

    def is_live(self, stream: str, source: str | None) -> bool:
        return self._core.is_live(stream, source)

    def refresh(self) -> None:
        """Fetch the latest figures and hand them out; done once a second."""
        self.figures = FIGURES.validate_json(self._core.figures())
        for listener in self._figures_listeners:
            listener(self.figures)

    async def _call(self, call: Callable[[], _R]) -> _R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except Exception as error:
            refusal = _from_core(error)
            if refusal is None:
                raise
            raise refusal from error

    def _pump(self) -> None:
        for event in EVENTS.validate_json(self._core.drain_events()):
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:  # noqa: BLE001  (one listener's fault must not cost another its event)
                    _log.exception("media.event_listener_failed", event_type=event.type)

    async def _fetch_figures(self) -> None:
        while True:
            await asyncio.sleep(_FIGURES_SECONDS)
            try:
                self.refresh()
            except Exception:  # noqa: BLE001  (the next second brings new figures)
                _log.exception("media.figures_failed")
