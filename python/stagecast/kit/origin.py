"""Web origins and the patterns that allow them: ``demo.com``, ``*.demo.com``, ``https://demo.com:8443``, ``*``.

A pattern without scheme or port allows any. ``*.demo.com`` covers every depth of sub-domain and not
``demo.com`` itself.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_PATTERN = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>\d{1,5}))?",
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OriginPattern:
    scheme: str | None
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "OriginPattern":
        """Raise ValueError when ``text`` is no pattern."""
        match = _PATTERN.fullmatch(text.strip().lower())
        if match is None or (match["port"] and int(match["port"]) > 65535):
            raise ValueError(
                f"{text!r} is not an origin; write 'demo.com', '*.demo.com' or 'https://demo.com'"
            )
        return cls(
            match["scheme"],
            match["host"].strip("[]"),
            int(match["port"]) if match["port"] else None,
        )

    def allows(self, origin: str) -> bool:
        try:
            parts = urlsplit(origin.strip().lower())
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            return False
        if parts.hostname is None or (self.scheme and self.scheme != parts.scheme):
            return False
        if self.port is not None and self.port != port:
            return False
        if self.host == "*":
            return True
        if self.host.startswith("*."):
            return parts.hostname.endswith(self.host[1:])
        return parts.hostname == self.host


def origin_allowed(patterns: list[str], origin: str | None) -> bool:
    """Whether a request with this ``Origin`` header passes; an empty list allows every request."""
    if not patterns:
        return True
    return origin is not None and any(
        OriginPattern.parse(pattern).allows(origin) for pattern in patterns
    )
