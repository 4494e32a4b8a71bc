"""A WHIP publisher or WHEP viewer: HTTP signalling (RFC 9725) around the core's WebRTC client.

`connect` posts the offer, takes the answer and waits until media can flow; leaving the session deletes
it on the server. What can go wrong is one of three exceptions, by what the caller does next.

    ConnectError
    ├── Refused       the server said no for good (token, name, codec): tell the person
    ├── NotLive       nobody publishes: wait, or tell the person
    └── Unreachable   no server, no media path, or it is busy: try again
"""

import contextlib
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urljoin, urlsplit

import httpx2

from stagecast import _core
from stagecast.errors import StagecastError

Role = Literal["publish", "watch"]
Transport = Literal["udp", "tcp", "any"]

_SDP = "application/sdp"
_ANSWER_LIMIT = 256 << 10


class ConnectError(StagecastError):
    """No session came to be; the message says why and what to do."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Refused(ConnectError):
    """Asking again will not help."""


class NotLive(ConnectError):
    """The stream has no publisher now."""


class Unreachable(ConnectError):
    """It may work later."""


@dataclass(frozen=True)
class Wanted:
    """What a session shall carry; see `_core.Client` for the meaning of each."""

    role: Role
    audio: bool = True
    video: bool = True
    codecs: Sequence[str] = ()
    depth: Literal["frames", "packets"] = "frames"
    transport: Transport = "udp"
    queue: int = 600

    def config(self, toward: Sequence[str]) -> bytes:
        return json.dumps(
            {
                "role": self.role,
                "audio": self.audio,
                "video": self.video,
                "codecs": list(self.codecs),
                "depth": self.depth,
                "transport": self.transport,
                "toward": list(toward),
                "queue": self.queue,
            }
        ).encode()


@dataclass
class Session:
    """A running session; `posted` and `connected` are `time.monotonic()` readings."""

    core: _core.Client
    http: httpx2.Client
    resource: str
    headers: dict[str, str]
    posted: float
    connected: float = 0.0
    _deleted: bool = field(default=False, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        return self.core.state != "closed"

    def stats(self) -> dict[str, Any]:
        """The present figures; empty before there are any."""
        return json.loads(self.core.stats() or b"{}")

    def next_frame(self, timeout: float) -> _core.Frame | None:
        """The next frame; `None` when none came in time or the session has ended (see `alive`)."""
        try:
            return self.core.next_frame(timeout)
        except _core.CoreError:
            return None

    def send(self, kind: str, data: bytes, pts: int) -> bool:
        """Send one encoded frame; false when it was not taken or the session has ended."""
        try:
            return self.core.send_frame(kind, data, pts)
        except _core.CoreError:
            return False

    def close(self) -> None:
        """Delete the session on the server and say goodbye to it; idempotent."""
        if not self._deleted:
            self._deleted = True
            # When this fails, the goodbye over DTLS ends it as well.
            with contextlib.suppress(httpx2.HTTPError):
                self.http.delete(self.resource, headers=self.headers)
        self.core.close()
        self.http.close()


def connect(
    url: str,
    wanted: Wanted,
    *,
    token: str | None = None,
    timeout: float = 15.0,
    verify: bool = True,
    pool: _core.ClientPool | None = None,
    probe: _core.DelayProbe | None = None,
) -> Session:
    """Open a WHIP (publish) or WHEP (watch) session and wait until it is connected."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refused(f"{url!r} is not a web address; it begins with http:// or https://.")
    try:
        core = _core.Client(wanted.config(_addresses(parts.hostname)), pool, probe)
    except _core.CoreError as error:
        raise Refused(error.detail) from error
    http = httpx2.Client(timeout=timeout, verify=verify, follow_redirects=True, trust_env=False)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        posted = time.monotonic()
        resource, answer = _post(http, url, core.offer, headers, wanted.role)
        session = Session(core, http, resource, headers, posted)
        _open_media(session, answer, timeout)
    except BaseException:
        core.close()
        http.close()
        raise
    return session


def _post(
    http: httpx2.Client, url: str, offer: str, headers: dict[str, str], role: Role
) -> tuple[str, str]:
    """Post the offer; the session's address and the answer."""
    try:
        response = http.post(url, content=offer, headers={**headers, "Content-Type": _SDP})
    except httpx2.HTTPError as error:
        raise Unreachable(f"{url} does not answer ({error}). Is the server running?") from error
    if response.status_code != 201:
        raise _refusal(response, role)
    location = response.headers.get("location")
    if not location or len(response.content) > _ANSWER_LIMIT:
        raise Refused(f"{url} answers, but not as WHIP and WHEP do; is this the right address?")
    return urljoin(str(response.url), location), response.text


def _open_media(session: Session, answer: str, timeout: float) -> None:
    """Take the answer and wait for ICE and DTLS; the session is closed when they fail."""
    try:
        session.core.accept_answer(answer)
        connected = session.core.wait_connected(timeout)
    except _core.CoreError as error:
        session.close()
        raise Unreachable(f"No media connection: {error.detail}.") from error
    if not connected:
        session.close()
        raise Unreachable(_no_path(answer, timeout))
    session.connected = time.monotonic()


def _addresses(host: str) -> list[str]:
    """The server's addresses, best first; the session finds others by ICE."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    plain = {str(entry[4][0]).partition("%")[0] for entry in found}
    return sorted(plain, key=lambda address: ip_address(address).version)[:4]


def _refusal(response: httpx2.Response, role: Role) -> ConnectError:
    status = response.status_code
    said = " ".join(response.text.split())[:300] or response.reason_phrase
    kind = "publish" if role == "publish" else "subscribe"
    match status:
        case 401 | 403:
            advice = (
                f"Give a valid {kind} token with --token"
                if status == 401
                else f"The {kind} token does not allow this stream, address or origin"
            )
            return Refused(f"The server refused: {said} ({status}). {advice}.", status)
        case 409:
            advice = "Start a publisher first, or wait for one with --wait SECONDS"
            return NotLive(f"The stream is not live: {said} (409). {advice}.", status)
        case 404 | 405:
            way = "/api/whip/NAME" if role == "publish" else "/api/whep/ACCOUNT/NAME"
            return Refused(f"Nothing there: {said} ({status}). Addresses end in {way}.", status)
        case 406:
            return Refused(f"No codec in common: {said} (406).", status)
        case 429 | 502 | 503 | 504:
            return Unreachable(f"The server is busy: {said} ({status}).", status)
        case _:
            return Refused(f"The server refused: {said} ({status}).", status)


def _no_path(answer: str, timeout: float) -> str:
    ways = [
        " ".join(line.split()[i] for i in (2, 4, 5))
        for line in answer.splitlines()
        if line.startswith("a=candidate:") and len(line.split()) > 5
    ]
    return (
        f"The server answered, but no media path opened in {timeout:.0f} s. It offered "
        f"{', '.join(dict.fromkeys(ways)) or 'no address'}; is that port open in the firewall? "
        "Where UDP is blocked try --transport tcp."
    )
