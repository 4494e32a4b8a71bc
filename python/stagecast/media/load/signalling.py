"""WHIP and WHEP signalling for many peers: plain requests on kept-alive connections.

The standard library's client is used because it costs the machine a fraction of a full one, and fifty joins
a second share the machine with the server that is measured.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from stagecast.errors import StagecastError

_ANSWER_LIMIT = 256 << 10
_REDIRECTS = {307, 308}
_MAX_REDIRECTS = 3


class TargetError(StagecastError):
    """The address cannot be used; the message says why."""


class JoinError(StagecastError):
    """One peer was not let in; `reason` is short and countable."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """A WHIP or WHEP address."""

    url: str
    host: str
    token: str | None = None
    verify: bool = True
    timeout: float = 20.0


def target(
    url: str, token: str | None, *, allow_remote: bool, verify: bool = True, timeout: float = 20.0
) -> Target:
    """Check an address: only this machine, unless told that another may be loaded."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise TargetError(f"{url!r} is not a web address; it begins with http:// or https://.")
    try:
        entries = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)
        found = {str(entry[4][0]).partition("%")[0] for entry in entries}
    except OSError as error:
        raise TargetError(f"{parts.hostname} is not known: {error}.") from error
    if not allow_remote and not all(ipaddress.ip_address(ip).is_loopback for ip in found):
        raise TargetError(
            f"{parts.hostname} is not this machine. A load test takes a server's capacity away from its "
            "users: give --allow-remote if it is yours to load."
        )
    return Target(
        url, min(found, key=lambda ip: ipaddress.ip_address(ip).version), token, verify, timeout
    )


class Signalling:
    """Connections that are kept alive and shared by threads, each used by one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            kept, self._idle = self._idle, {}
        for connection in (one for connections in kept.values() for one in connections):
            connection.close()

    def post(self, at: Target, offer: str, posted: Callable[[], None]) -> tuple[str, str]:
        """Post an offer: the answer and the session's address. `posted` is called as it leaves."""
        headers = {"Content-Type": "application/sdp"}
        url, redirects = at.url, 0
        while True:
            posted()
            status, fields, body = self._request("POST", url, at, offer.encode(), headers)
            if status not in _REDIRECTS or redirects == _MAX_REDIRECTS:
                break
            redirects += 1
            url = urljoin(url, fields.get("location", ""))
        if status not in {200, 201}:
            said = " ".join(body.decode(errors="replace").split())[:200]
            raise JoinError(f"http {status}", f"{at.url} answers {status}: {said}")
        return body.decode(errors="replace"), urljoin(url, fields.get("location", ""))

    def delete(self, at: Target, resource: str) -> None:
        """End a session; that it is gone already is fine."""
        with contextlib.suppress(JoinError):
            self._request("DELETE", resource, at, None, {})

    def _request(
        self, method: str, url: str, at: Target, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if at.token:
            headers = {**headers, "Authorization": f"Bearer {at.token}"}
        key = (parts.scheme, parts.netloc)
        for fresh in (False, True):
            connection = None if fresh else self._take(key)
            reused = connection is not None
            connection = connection or _open(parts.scheme, parts.netloc, at)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                content = response.read(_ANSWER_LIMIT + 1)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # The server may have closed a connection that was kept.
                if reused and isinstance(error, (ConnectionError, http.client.BadStatusLine)):
                    continue
                reason = "timeout" if isinstance(error, TimeoutError) else "no connection"
                raise JoinError(reason, f"{url} does not answer: {error}") from error
            if len(content) > _ANSWER_LIMIT:
                connection.close()
                raise JoinError("answer too long", f"{url} answers more than {_ANSWER_LIMIT} bytes")
            if response.will_close:
                connection.close()
            else:
                self._keep(key, connection)
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, content
        raise JoinError("no connection", f"{url} closes connections")

    def _take(self, key: tuple[str, str]) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def _keep(self, key: tuple[str, str], connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.setdefault(key, []).append(connection)


def _open(scheme: str, netloc: str, at: Target) -> http.client.HTTPConnection:
    netloc = netloc.rpartition("@")[2]
    if scheme == "http":
        return http.client.HTTPConnection(netloc, timeout=at.timeout)
    context = ssl.create_default_context()
    if not at.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(netloc, timeout=at.timeout, context=context)
