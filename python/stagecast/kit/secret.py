"""Random secrets, their look-up hashes, and the vault for those that must be readable again.

Passwords never come here (see `accounts.passwords`). A look-up hash is plain SHA-256: its inputs are
random and long, so there is nothing to guess.
"""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stagecast.errors import StartError

_NONCE = 12
_ALPHABET = "23456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"


def new_hex_secret() -> str:
    """64 hexadecimal digits, 256 bits: the shape of publish and subscribe tokens."""
    return secrets.token_hex(32)


def new_url_secret() -> str:
    """43 URL-safe characters, 256 bits."""
    return secrets.token_urlsafe(32)


def new_short_id(length: int = 6) -> str:
    """An identifier people can read aloud: no 0/O, no 1/l/I. Not a secret."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def lookup_hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def derived(secret: str, purpose: str) -> str:
    """A value bound to ``secret`` that does not reveal it; 43 URL-safe characters."""
    digest = hmac.digest(secret.encode(), purpose.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def same(a: str, b: str) -> bool:
    """Compare without telling by time where the difference is."""
    return hmac.compare_digest(a.encode(), b.encode())


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read; the directory becomes 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


class Vault:
    """Seals secrets with AES-256-GCM under one key file.

    ``context`` names what the secret is and is authenticated with it, so that a sealed value copied
    into another column does not open there.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    @classmethod
    def open_or_create(cls, path: Path) -> "Vault":
        """Load the key, making it first when there is none; callers hold the start lock."""
        if not path.exists():
            write_private(path, AESGCM.generate_key(256))
        key = path.read_bytes()
        if len(key) != 32:
            raise StartError(
                f"{path} holds {len(key)} bytes where a key has 32; restore it from a backup. "
                "Without it the tokens in the database cannot be read."
            )
        return cls(key)

    def seal(self, secret: str, context: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, secret.encode(), context.encode())

    def unseal(self, sealed: bytes, context: str) -> str:
        try:
            plain = self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], context.encode())
        except InvalidTag:
            raise StartError(
                "A stored token cannot be decrypted: keys/vault.key does not belong to this database."
            ) from None
        return plain.decode()
