"""JSON of publish and subscribe tokens, as the Millicast REST API shapes it.

Fields of features that this server does not have are part of the shape, so that existing clients can send
and read them, but only the value that means "off" is accepted; anything else is a validation error that
names the field. Nothing is silently ignored.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from stagecast.accounts.schemas import Label
from stagecast.kit.clock import Timestamp
from stagecast.kit.origin import OriginPattern
from stagecast.kit.pattern import compile_pattern
from stagecast.kit.schema import Schema
from stagecast.tokens.names import MAX_NAME, name_problem

MAX_LIST = 100
MAX_EXPIRES = 2_147_483_647


def _origin(value: str) -> str:
    OriginPattern.parse(value)
    return value.strip()


def _address(value: str) -> str:
    try:
        ip_network(value.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{value!r} is not an address or network; write '203.0.113.7' or '203.0.113.0/24'"
        ) from None
    return value.strip()


def _off(feature: str, *allowed: Any) -> BeforeValidator:
    """Accept only the values that leave a feature off."""

    def check(value: Any) -> Any:
        if not any(value == candidate and type(value) is type(candidate) for candidate in allowed):
            wanted = " or ".join(_json(candidate) for candidate in allowed)
            raise ValueError(
                f"{feature} is not available on this server; leave it out or send {wanted}."
            )
        return value

    return BeforeValidator(check)


def _json(value: Any) -> str:
    return "an empty list" if value == [] else json.dumps(value)


Origins = Annotated[
    list[Annotated[str, StringConstraints(max_length=255), AfterValidator(_origin)]],
    Field(max_length=MAX_LIST),
]
Addresses = Annotated[
    list[Annotated[str, StringConstraints(max_length=64), AfterValidator(_address)]],
    Field(max_length=MAX_LIST),
]
BindIps = Annotated[int, Field(ge=0, le=1000)]
Expires = Annotated[int, Field(ge=1, le=MAX_EXPIRES)]
TokenId = Annotated[int, Field(ge=1, le=(1 << 63) - 1)]


class TokenStream(Schema):
    """A stream name, or a pattern of names, the token is good for."""

    stream_name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)] = Field(
        description="The name, or an RE2 expression that must match the whole name; `.*` means any."
    )
    is_regex: bool = Field(
        default=False, description="Whether `streamName` is a regular expression."
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.is_regex:
            compile_pattern(self.stream_name)
        elif (problem := name_problem(self.stream_name)) is not None:
            raise ValueError(problem)
        return self


TokenStreams = Annotated[list[TokenStream], Field(min_length=1, max_length=MAX_LIST)]
NewStreams = Annotated[list[TokenStream], Field(max_length=MAX_LIST)]
OldStreams = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]],
    Field(max_length=MAX_LIST),
]


class GeoCascade(Schema):
    """Edge distribution between clusters."""

    is_enabled: Annotated[bool, _off("Edge distribution", False)] = False
    clusters: list[str] = Field(default=[], max_length=MAX_LIST)


class Restream(Schema):
    """A push target for the stream."""

    url: Annotated[str, StringConstraints(max_length=2048)]
    key: Annotated[str, StringConstraints(min_length=5, max_length=512)]
    label: Annotated[str, StringConstraints(max_length=2048)] | None = None
    enabled: bool = True


Countries = Annotated[list[str], _off("Geo-blocking", [])]
OriginCluster = Annotated[str | None, _off("Choosing a region", None, "auto")]


class Access(Schema):
    """The limits on where a token may be used from."""

    allowed_origins: Origins = Field(
        default=[], description="Web origins: `demo.com`, `*.demo.com`. Empty: any."
    )
    allowed_ip_addresses: Addresses = Field(
        default=[], description="Addresses or CIDR networks. Empty: any."
    )
    bind_ips_on_usage: BindIps = Field(
        default=0,
        description="The first N client addresses that use the token become the only ones. 0: no limit. "
        "Not together with `allowedIpAddresses`.",
    )

    @model_validator(mode="after")
    def _one_kind_of_ip_limit(self) -> Self:
        if self.bind_ips_on_usage and self.allowed_ip_addresses:
            raise ValueError("Use either allowedIpAddresses or bindIpsOnUsage, not both.")
        return self


class RegionDefaults(Schema):
    """Region settings, which a server with one region has no choice in."""

    origin_cluster: OriginCluster = Field(default=None, description="Ingest region: `auto`.")
    allowed_countries: Countries = Field(
        default=[], description="Geo-blocking: not available, always empty."
    )
    denied_countries: Countries = Field(
        default=[], description="Geo-blocking: not available, always empty."
    )


class PublishFeatures(Schema):
    """The features of a publish token."""

    subscribe_requires_auth: bool = Field(
        default=False, description="Viewers need a subscribe token."
    )
    multisource: bool = Field(
        default=True, description="Several `sourceId` feeds per stream may be sent."
    )
    record: Annotated[bool, _off("Recording", False)] = Field(
        default=False, description="Not available: false."
    )
    clip: Annotated[bool, _off("Clipping", False)] = Field(
        default=False, description="Not available: false."
    )
    enable_thumbnails: Annotated[bool, _off("Thumbnails", False)] = Field(
        default=False, description="Not available: false."
    )
    display_srt_passphrase: Annotated[bool, _off("SRT encryption", False)] = Field(
        default=False, description="Not available: false."
    )
    low_latency_rtmp: Annotated[bool, _off("A longer RTMP buffer", True)] = Field(
        default=True, description="Always true."
    )
    enable_utc_insertion: Annotated[bool | None, _off("UTC time insertion", None, False)] = Field(
        default=None, alias="enableUTCInsertion", description="Not available: null or false."
    )
    drm: Annotated[bool, _off("DRM", False)] = Field(
        default=False, description="Not available: false."
    )
    ladder: bool | None = Field(
        default=None,
        description="Smaller pictures for HLS players, transcoded while somebody watches; "
        "null leaves it to the server.",
    )
    geo_cascade: GeoCascade | None = Field(
        default=None, description="Edge distribution; null means off."
    )
    restream: Annotated[list[Restream], _off("Restreaming", [])] = Field(
        default=[], description="Not available: an empty list."
    )
    priority: Annotated[int | None, _off("Redundant ingest", None)] = Field(
        default=None, description="Not available: null."
    )
    encoder_profile_id: Annotated[str | None, _off("Encoder profiles", None)] = Field(
        default=None, description="Not available: null."
    )


class NewToken(Access):
    """What every kind of new token has."""

    label: Label = Field(description="Display name.")
    streams: TokenStreams
    expires: Expires | None = None


class PublishTokenCreate(NewToken, PublishFeatures, RegionDefaults, Access):
    """A new publish token."""

    streams: TokenStreams = Field(description="What the token may publish.")
    expires: Expires | None = Field(
        default=None,
        description="Seconds from now after which no new broadcast starts. Omitted: never.",
    )


class EffectiveSettings(Schema):
    """The token's region settings merged with the account's defaults."""

    origin_cluster: str = "auto"
    allowed_countries: list[str] = []
    denied_countries: list[str] = []
    geo_cascade: GeoCascade = GeoCascade()
    enable_utc_insertion: bool = Field(default=False, alias="enableUTCInsertion")


class ShownToken(Access):
    """What every kind of token shows."""

    id: int
    name: str = Field(description="Same as `label`.", deprecated=True)
    label: str
    token: str = Field(description="The secret: 64 hexadecimal digits.")
    added_on: Timestamp
    expires_on: Timestamp | None
    is_active: bool = Field(description="False after disabling. Expiry does not change it.")
    streams: list[TokenStream]


class PublishToken(ShownToken, PublishFeatures, RegionDefaults, Access):
    """A publish token."""

    integration_id: Literal["None"] = "None"
    srt_passphrase: None = None
    effective_settings: EffectiveSettings


class TokenChanges(Schema):
    """Changes that every kind of token and every version of the call has in common."""

    label: Label | None = None
    is_active: bool | None = Field(
        default=None, description="False stops new sessions; running ones go on."
    )
    refresh_token: bool | None = Field(
        default=None, description="Make a new secret; the old one stops working."
    )
    add_token_streams: NewStreams | None = None
    remove_token_streams: OldStreams | None = Field(
        default=None, description="Names to take off the list."
    )
    expires: Expires | None = Field(
        default=None, description="Seconds from now; null removes the expiry."
    )

    def changes(self) -> dict[str, Any]:
        """The fields the client sent, under their names without `update`.

        Null means "leave it" except for the fields that can be null themselves.
        """
        sent = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            name.removeprefix("update_"): value
            for name, value in sent.items()
            if value is not None or name in _NULLABLE
        }


_NULLABLE = {
    "expires",
    "tracking",
    "origin_cluster",
    "update_origin_cluster",
    "enable_utc_insertion",
    "ladder",
    "priority",
    "encoder_profile_id",
    "geo_cascade",
    "update_geo_cascade",
}


class AccessChanges(Schema):
    """The limits of a token, as version 2 of the update names them."""

    allowed_origins: Origins | None = None
    allowed_ip_addresses: Addresses | None = None
    bind_ips_on_usage: BindIps | None = Field(
        default=None, description="Also forgets addresses bound so far."
    )
    origin_cluster: OriginCluster = None
    allowed_countries: Countries | None = None
    denied_countries: Countries | None = None


class AccessChangesV1(Schema):
    """The limits of a token, as version 1 of the update names them."""

    update_allowed_origins: Origins | None = None
    update_allowed_ip_addresses: Addresses | None = None
    update_bind_ips_on_usage: BindIps | None = Field(
        default=None, description="Also forgets addresses bound so far."
    )
    update_origin_cluster: OriginCluster = None
    update_allowed_countries: Countries | None = None
    update_denied_countries: Countries | None = None


class FeatureChanges(Schema):
    """The features of a publish token that an update names alike in both versions."""

    subscribe_requires_auth: bool | None = None
    multisource: bool | None = None
    record: Annotated[bool | None, _off("Recording", False, None)] = None
    clip: Annotated[bool | None, _off("Clipping", False, None)] = None
    low_latency_rtmp: Annotated[bool | None, _off("A longer RTMP buffer", True, None)] = None
    enable_utc_insertion: Annotated[bool | None, _off("UTC time insertion", None, False)] = Field(
        default=None, alias="enableUTCInsertion"
    )
    enable_thumbnails: Annotated[bool | None, _off("Thumbnails", False, None)] = None
    display_srt_passphrase: Annotated[bool | None, _off("SRT encryption", False, None)] = None
    drm: Annotated[bool | None, _off("DRM", False, None)] = None
    ladder: bool | None = Field(default=None, description="Null leaves it to the server.")
    priority: Annotated[int | None, _off("Redundant ingest", None)] = None
    encoder_profile_id: Annotated[str | None, _off("Encoder profiles", None)] = None


class PublishTokenUpdate(FeatureChanges, AccessChanges, TokenChanges):
    """Changes to a publish token; what is left out stays as it is."""

    geo_cascade: GeoCascade | None = None
    restream: Annotated[list[Restream] | None, _off("Restreaming", [], None)] = None


class PublishTokenUpdateV1(FeatureChanges, AccessChangesV1, TokenChanges):
    """Changes to a publish token, version 1: lists and limits are named `update…`."""

    update_geo_cascade: GeoCascade | None = None
    update_restream: Annotated[list[Restream] | None, _off("Restreaming", [], None)] = None


class Tracking(Schema):
    """A label that usage of the token is reported under."""

    tracking_id: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class SubscribeTokenCreate(NewToken, RegionDefaults, Access):
    """A new subscribe token."""

    streams: TokenStreams = Field(
        description="What the token may watch; `.*` is any stream of the account."
    )
    expires: Expires | None = Field(
        default=None,
        description="Seconds from now after which no new viewer joins. Omitted: never.",
    )
    tracking: Tracking | None = None


class SubscribeEffectiveSettings(Schema):
    origin_cluster: str = "auto"
    allowed_countries: list[str] = []
    denied_countries: list[str] = []


class SubscribeToken(ShownToken, RegionDefaults, Access):
    """A subscribe token."""

    token: str = Field(
        description="The secret: 64 hexadecimal digits, also the key of self-signed tokens."
    )
    tracking: Tracking | None
    effective_settings: SubscribeEffectiveSettings


class SubscribeTokenUpdate(AccessChanges, TokenChanges):
    """Changes to a subscribe token; what is left out stays as it is."""

    tracking: Tracking | None = Field(default=None, description="Null removes it.")


class SubscribeTokenUpdateV1(AccessChangesV1, TokenChanges):
    """Changes to a subscribe token, version 1: lists and limits are named `update…`."""

    tracking: Tracking | None = Field(default=None, description="Null removes it.")


class SortBy(StrEnum):
    NAME = "Name"
    ADDED_ON = "AddedOn"


class FilterBy(StrEnum):
    """Where `name` is looked for."""

    NONE = "None"
    TOKEN_NAME = "TokenName"  # noqa: S105
    STREAM_NAME = "StreamName"
    TOKEN_OR_STREAM_NAME = "TokenOrStreamName"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list, in which order."""

    page: int
    items: int
    sort_by: SortBy
    descending: bool


class ActiveTokens(Schema):
    """Publish tokens with a live feed."""

    token_ids: list[int]


class TokenIds(Schema):
    token_ids: Annotated[list[TokenId], Field(min_length=1, max_length=1000)]


class FailedToken(Schema):
    token_id: int
    error_message: str


class DisabledTokens(Schema):
    """What disabling several tokens did."""

    successful_tokens: list[int]
    failed_tokens: list[FailedToken]
