"""Values with units, as people write them in a settings file: ``"30s"``, ``"8MiB"``, ``"14d"``."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, PlainSerializer

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def parse_duration(value: Any) -> Any:
    """Turn ``"15s"``, ``"500ms"`` or ``"14d"`` into a timedelta; a bare number has no unit and is refused."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and ms, s, m, h or d: '30s'")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2].lower()])


def format_duration(value: timedelta) -> str:
    """Write a duration with the largest unit that keeps it whole."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit in ("d", "h", "m", "s"):
        size = round(_SECONDS[unit] * 1000)
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def format_size(value: int) -> str:
    """Write a byte count with the largest binary unit that keeps it whole."""
    for size, unit in _SIZES:
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}B"


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)
]
Size = Annotated[ByteSize, PlainSerializer(format_size, return_type=str)]
