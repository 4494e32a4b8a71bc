"""Regular expressions from users, matched in time linear in the input (RE2: no backtracking).

A pattern must match the whole text. Size is bounded twice: by the caller's length limit and by the memory
RE2 may use for the compiled program.
"""

from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol, cast

_MAX_MEMORY = 1 << 20


class _Compiled(Protocol):
    def fullmatch(self, text: str) -> object | None: ...


_re2: Any = import_module("re2")  # ships no type information


class PatternError(ValueError):
    """The pattern cannot be compiled; the message says where."""


@lru_cache(maxsize=2048)
def compile_pattern(pattern: str) -> _Compiled:
    options = _re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    try:
        return cast("_Compiled", _re2.compile(pattern, options))
    except _re2.error as error:
        reason = error.args[0] if error.args else b""
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(f"{pattern!r} is not a regular expression RE2 accepts: {text}") from None


def matches(pattern: str, text: str) -> bool:
    """Whether the whole of ``text`` matches; a pattern that does not compile matches nothing."""
    try:
        return compile_pattern(pattern).fullmatch(text) is not None
    except PatternError:
        return False
