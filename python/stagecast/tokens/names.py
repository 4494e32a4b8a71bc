"""Stream names, how a token is written in an address, and the lists of names and patterns a token is good for.

A name is 1 to 128 characters, case-sensitive, and one path segment of a URL. A pattern is an RE2 regular
expression that must match the whole name; ``.*`` allows every name.
"""

import base64
import binascii
import re
from collections.abc import Iterable

from stagecast.db.tables import StreamColumns
from stagecast.kit.pattern import matches

MAX_NAME = 128
_HEX_SECRET = re.compile(r"[0-9a-fA-F]{64}")


def name_problem(name: str) -> str | None:
    """What is wrong with a stream name, or None."""
    if not 1 <= len(name) <= MAX_NAME:
        return f"A stream name has 1 to {MAX_NAME} characters."
    if any(character in "/?#\\" or not character.isprintable() for character in name):
        return "A stream name cannot contain '/', '?', '#', '\\' or control characters."
    if name in {".", ".."}:
        return "'.' and '..' cannot be stream names: they mean something else in a URL."
    return None


def name_allowed(rules: Iterable[StreamColumns], name: str) -> bool:
    """Whether any row of a token's stream list covers the name."""
    return any(
        matches(rule.stream_name, name) if rule.is_regex else rule.stream_name == name
        for rule in rules
    )


def token_of_base64(text: str) -> str:
    """The token of a parameter ``t``: base64url of its bytes or of its hexadecimal digits, or the digits."""
    if _HEX_SECRET.fullmatch(text):
        return text
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return text
    digits = plain.decode("latin-1")
    return digits if _HEX_SECRET.fullmatch(digits) else plain.hex()
