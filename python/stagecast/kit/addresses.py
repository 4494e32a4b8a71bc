"""The machine's own addresses, to print in links and put into certificates."""

import socket


def primary_address() -> str | None:
    """The address this machine would use to reach others; nothing is sent to find out."""
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
            except OSError:
                continue
            address: str = probe.getsockname()[0]
            if address not in {"0.0.0.0", "::"}:  # noqa: S104  (compared, not bound)
                return address
    return None


def host_names() -> list[str]:
    """Names that mean this machine, here and on the local network."""
    name = socket.gethostname()
    return ["localhost", name] if name and name != "localhost" else ["localhost"]
