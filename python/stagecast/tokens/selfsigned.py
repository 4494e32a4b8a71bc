"""Subscribe tokens that customers sign themselves: JWTs (RFC 7519) under the parent token's secret.

The payload's ``streaming`` object names the parent and one stream. The parent's limits hold as well; origins
and addresses named here are added to the parent's; unknown fields are ignored. Such a token cannot be
revoked on its own: it dies with its parent or at ``exp``.
"""

import base64
import binascii
import json
import time
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from stagecast.errors import Forbidden, Unauthorized
from stagecast.kit.origin import OriginPattern
from stagecast.tokens.names import name_problem

ALGORITHMS = ["HS256", "HS384", "HS512"]
MAX_LENGTH = 8192
_LEEWAY_SECONDS = 5


class _Tracking(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    tracking_id: Annotated[str, Field(max_length=128)]


class _Streaming(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", strict=True)

    token_id: int
    stream_name: str
    token_type: Literal["Subscribe"]
    allowed_origins: Annotated[list[str] | None, Field(max_length=100)] = None
    allowed_ip_addresses: Annotated[list[str] | None, Field(max_length=100)] = None
    origin_cluster: Literal["auto"] | None = None
    tracking: _Tracking | None = None


class _Claims(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    streaming: _Streaming
    exp: int | float
    iat: int | float | None = None
    nbf: int | float | None = None


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """A verified self-signed token."""

    stream_name: str
    allowed_origins: list[str]
    allowed_ip_addresses: list[str]
    tracking_id: str | None

    def check(self, stream_name: str, parent_tracking_id: str | None) -> None:
        """Raise `Forbidden` unless it is for this stream and tracked as its parent demands."""
        if self.stream_name != stream_name:
            raise Forbidden("Unauthorized: StreamName is not valid for token")
        if parent_tracking_id and self.tracking_id not in {None, parent_tracking_id}:
            raise Forbidden("Unauthorized: trackingId differs from the parent token's")


def looks_self_signed(secret: str) -> bool:
    """Whether a credential is a JWT rather than a token's 64 digits."""
    return secret.count(".") == 2


def parent_id(secret: str) -> int:
    """The parent's token id, read before anything is verified: it says which key to verify with."""
    if len(secret) > MAX_LENGTH:
        raise _invalid()
    payload = secret.split(".")[1]
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        token_id = claims["streaming"]["tokenId"]
    except (ValueError, binascii.Error, KeyError, TypeError, RecursionError):
        raise _invalid() from None
    if not isinstance(token_id, int) or isinstance(token_id, bool) or not 0 < token_id < 1 << 63:
        raise _invalid()
    return token_id


def verify(secret: str, parent_secret: str) -> SelfSigned:
    """Check signature, times and shape; raise `Unauthorized` with the reason."""
    try:
        decoded = jwt.decode(secret, OctKey.import_key(parent_secret), algorithms=ALGORITHMS)
        claims = _Claims.model_validate(decoded.claims)
        _check_values(claims.streaming)
    except (JoseError, ValidationError, ValueError):
        raise _invalid() from None
    now = time.time()
    if claims.exp <= now:
        raise Unauthorized("Unauthorized: Token expired")
    if max(claims.iat or 0, claims.nbf or 0) > now + _LEEWAY_SECONDS:
        raise Unauthorized("Unauthorized: Token is not valid yet")
    streaming = claims.streaming
    return SelfSigned(
        stream_name=streaming.stream_name,
        allowed_origins=streaming.allowed_origins or [],
        allowed_ip_addresses=streaming.allowed_ip_addresses or [],
        tracking_id=streaming.tracking.tracking_id if streaming.tracking else None,
    )


def _check_values(streaming: _Streaming) -> None:
    if (problem := name_problem(streaming.stream_name)) is not None:
        raise ValueError(problem)
    for origin in streaming.allowed_origins or []:
        OriginPattern.parse(origin)
    for address in streaming.allowed_ip_addresses or []:
        ip_network(address, strict=False)


def _invalid() -> Unauthorized:
    return Unauthorized("Unauthorized: Invalid token")
