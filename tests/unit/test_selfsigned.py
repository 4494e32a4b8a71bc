"""Tokens that customers sign: shape, signature, times."""

import base64
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from stagecast.errors import Forbidden, Unauthorized
from stagecast.tokens.selfsigned import looks_self_signed, parent_id, verify

PARENT = "ab" * 32


def sign(
    streaming: dict[str, Any] | None = None,
    *,
    key: str = PARENT,
    algorithm: str = "HS256",
    **claims: Any,
) -> str:
    payload = {
        "streaming": {
            "tokenId": 7,
            "streamName": "demo",
            "tokenType": "Subscribe",
            **(streaming or {}),
        },
        "exp": int(time.time()) + 60,
        **claims,
    }
    return jwt.encode({"alg": algorithm}, payload, OctKey.import_key(key), algorithms=[algorithm])


def unsigned(payload: Any, algorithm: str = "none") -> str:
    parts = [json.dumps({"alg": algorithm}), json.dumps(payload)]
    return ".".join(base64.urlsafe_b64encode(p.encode()).rstrip(b"=").decode() for p in parts) + "."


def refused(token: str) -> str:
    with pytest.raises(Unauthorized) as error:
        verify(token, PARENT)
    return error.value.message


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_signed_token_is_read(algorithm: str) -> None:
    token = sign(
        {"tracking": {"trackingId": "t"}, "allowedOrigins": ["demo.com"]}, algorithm=algorithm
    )
    assert looks_self_signed(token)
    assert parent_id(token) == 7
    signed = verify(token, PARENT)
    assert (signed.stream_name, signed.tracking_id, signed.allowed_origins) == (
        "demo",
        "t",
        ["demo.com"],
    )


def test_token_signed_with_another_key_is_refused() -> None:
    assert refused(sign(key="cd" * 32)) == "Unauthorized: Invalid token"


def test_token_without_signature_is_refused() -> None:
    payload = {
        "streaming": {"tokenId": 7, "streamName": "demo", "tokenType": "Subscribe"},
        "exp": time.time() + 60,
    }
    assert refused(unsigned(payload)) == "Unauthorized: Invalid token"
    assert refused(unsigned(payload, "HS256")) == "Unauthorized: Invalid token"


def test_expired_token_is_refused() -> None:
    assert refused(sign(exp=int(time.time()) - 1)) == "Unauthorized: Token expired"


def test_token_of_the_future_is_refused() -> None:
    assert refused(sign(iat=int(time.time()) + 600)) == "Unauthorized: Token is not valid yet"


@pytest.mark.parametrize(
    "streaming",
    [
        {"tokenType": "Publish"},
        {"streamName": "a/b"},
        {"streamName": 5},
        {"tokenId": "7"},
        {"allowedOrigins": ["not an origin"]},
        {"allowedIpAddresses": ["300.1.1.1"]},
        {"originCluster": "fra-1"},
        {"tracking": {"trackingId": "x" * 129}},
    ],
)
def test_token_with_a_wrong_field_is_refused(streaming: dict[str, Any]) -> None:
    assert refused(sign(streaming)) == "Unauthorized: Invalid token"


def test_token_without_expiry_is_refused() -> None:
    assert refused(sign(exp=None)) == "Unauthorized: Invalid token"


def test_unknown_fields_are_ignored() -> None:
    assert (
        verify(sign({"customViewerData": "x", "more": [1]}, jti="y"), PARENT).stream_name == "demo"
    )


@pytest.mark.parametrize(
    "token",
    ["a.b.c", "..", f"x.{'A' * 9000}.y", unsigned([]), unsigned({"streaming": {"tokenId": True}}),
     unsigned({"streaming": {"tokenId": -1}}), unsigned({"streaming": {"tokenId": 1 << 70}})],
)  # fmt: skip
def test_garbage_names_no_parent(token: str) -> None:
    with pytest.raises(Unauthorized):
        parent_id(token)


def test_other_stream_and_other_tracking_are_refused() -> None:
    signed = verify(sign({"tracking": {"trackingId": "mine"}}), PARENT)
    signed.check("demo", None)
    signed.check("demo", "mine")
    with pytest.raises(Forbidden, match="StreamName"):
        signed.check("Demo", None)
    with pytest.raises(Forbidden, match="trackingId"):
        signed.check("demo", "parent's")
