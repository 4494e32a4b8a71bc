import re
from pathlib import Path

import pytest

from stagecast.errors import StartError
from stagecast.kit.secret import Vault, derived, new_hex_secret, new_short_id, write_private


def test_sealed_secret_opens_in_its_context_only(tmp_path: Path) -> None:
    vault = Vault.open_or_create(tmp_path / "keys" / "vault.key")
    sealed = vault.seal("token", "Publish token")
    assert b"token" not in sealed
    assert vault.unseal(sealed, "Publish token") == "token"
    with pytest.raises(StartError, match="cannot be decrypted"):
        vault.unseal(sealed, "Subscribe token")


def test_changed_secret_does_not_open(tmp_path: Path) -> None:
    vault = Vault.open_or_create(tmp_path / "vault.key")
    sealed = bytearray(vault.seal("token", "x"))
    sealed[-1] ^= 1
    with pytest.raises(StartError):
        vault.unseal(bytes(sealed), "x")


def test_key_file_is_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "vault.key"
    sealed = Vault.open_or_create(path).seal("token", "x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert Vault.open_or_create(path).unseal(sealed, "x") == "token"


def test_key_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    path.write_bytes(b"short")
    with pytest.raises(StartError, match="5 bytes where a key has 32"):
        Vault.open_or_create(path)


def test_private_file_replaces_one_that_was_readable(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_new_secrets_have_the_shape_of_tokens_and_differ() -> None:
    secrets = {new_hex_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in secrets)
    assert not set("0O1lI") & set("".join(new_short_id() for _ in range(200)))


def test_derived_value_depends_on_secret_and_purpose() -> None:
    assert len({derived("a", "csrf"), derived("b", "csrf"), derived("a", "other")}) == 3
