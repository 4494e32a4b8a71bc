"""Every setting of the server, nested by subsystem and frozen once loaded.

Order of precedence: the defaults below, then ``stagecast.toml``, then ``STAGECAST_*`` environment
variables (``STAGECAST_HTTP__PORT=9000`` sets ``http.port``), then command-line flags. An unknown key is
refused with the nearest known one. ``deploy/stagecast.sample.toml`` shows every key with its default, and
a test keeps the two alike.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_origin
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from stagecast.errors import SettingsError
from stagecast.kit.units import Duration, Size

ENV_PREFIX = "STAGECAST_"
CONFIG_ENV = "STAGECAST_CONFIG"
CONFIG_NAME = "stagecast.toml"

Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(lambda value: ip_network(str(value), strict=False))
]
Port = Annotated[int, Field(ge=0, le=65535)]
PositiveDuration = Annotated[Duration, Field(ge=timedelta(seconds=1))]


class Section(BaseModel):
    """One table of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class HttpSettings(Section):
    """The control plane's web server: REST, WHIP and WHEP signalling, the web apps."""

    bind: list[IPv4Address | IPv6Address] = [IPv4Address("0.0.0.0"), IPv6Address("::")]  # noqa: S104
    port: Port = 8080
    trusted_proxies: list[Network] = []
    max_body: Size = ByteSize(1 << 20)
    max_sdp: Size = ByteSize(64 << 10)
    max_header: Size = ByteSize(32 << 10)
    max_connections: Annotated[int, Field(ge=10)] = 20_000
    receive_timeout: Duration = timedelta(seconds=20)
    keep_alive: Duration = timedelta(seconds=65)
    drain_timeout: Duration = timedelta(seconds=10)


class TlsSettings(Section):
    """HTTPS for the control plane."""

    mode: Literal["off", "files", "self-signed"] = "off"
    certificate: Path | None = None
    key: Path | None = None

    @field_validator("certificate", "key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="after")
    def _files_are_named(self) -> Self:
        if self.mode == "files" and (self.certificate is None or self.key is None):
            raise ValueError("mode 'files' needs both certificate and key")
        return self


class IceServer(Section):
    """One STUN or TURN server that clients are told about (WHIP ``Link: …; rel="ice-server"``)."""

    urls: Annotated[list[str], Field(min_length=1)]
    username: str | None = None
    credential: SecretStr | None = None

    @field_validator("urls")
    @classmethod
    def _ice_scheme(cls, urls: list[str]) -> list[str]:
        for url in urls:
            scheme = url.partition(":")[0]
            if scheme not in {"stun", "stuns", "turn", "turns"} or any(
                c in url for c in '<>" \r\n'
            ):
                raise ValueError(
                    f"{url!r} is not an ICE server; write 'stun:host:port' or 'turn:host:port'"
                )
        return urls


class MediaSettings(Section):
    """WebRTC media: one UDP port and the same TCP port."""

    port: Port = 8189
    bind: list[IPv4Address | IPv6Address] = [IPv4Address("0.0.0.0"), IPv6Address("::")]  # noqa: S104
    udp: bool = True
    tcp: bool = True
    advertise: list[IPv4Address | IPv6Address] = []
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    connect_timeout: Duration = timedelta(seconds=15)
    consent_timeout: Duration = timedelta(seconds=30)
    max_sessions: Annotated[int, Field(ge=1)] = 10_000
    ring_size: Size = ByteSize(8 << 20)
    ring_duration: Duration = timedelta(seconds=6)
    burst_wait: Annotated[Duration, Field(le=timedelta(milliseconds=20))] = timedelta(
        milliseconds=5
    )
    transcode_audio: bool = True
    pause_unread_layers: bool = False
    ice_servers: list[IceServer] = []

    @model_validator(mode="after")
    def _some_transport(self) -> Self:
        if not (self.udp or self.tcp):
            raise ValueError("turn on udp, tcp or both")
        return self


class RtmpSettings(Section):
    """RTMP and RTMPS: ingest from encoders, and playback for tools that pull."""

    enabled: bool = True
    bind: list[IPv4Address | IPv6Address] = [IPv4Address("0.0.0.0"), IPv6Address("::")]  # noqa: S104
    port: Port = 1935
    tls: bool = True
    tls_port: Port = 1936
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    connect_timeout: Duration = timedelta(seconds=10)
    stall_timeout: Duration = timedelta(seconds=10)


class HlsSettings(Section):
    """LL-HLS: playback in any HLS player, about a second behind live."""

    enabled: bool = True
    bind: list[IPv4Address | IPv6Address] = [IPv4Address("0.0.0.0"), IPv6Address("::")]  # noqa: S104
    port: Port = 8081
    public_url: str = ""
    part_duration: Annotated[
        Duration, Field(ge=timedelta(milliseconds=50), le=timedelta(seconds=5))
    ] = timedelta(milliseconds=200)
    segment_duration: Annotated[
        Duration, Field(ge=timedelta(milliseconds=500), le=timedelta(seconds=30))
    ] = timedelta(seconds=2)
    window: Annotated[int, Field(ge=3, le=100)] = 6
    dvr: Literal["off", "event"] | Duration = "off"
    always: bool = False
    idle_timeout: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(seconds=30)
    max_connections: Annotated[int, Field(ge=10, le=1_000_000)] = 10_000

    @field_validator("public_url")
    @classmethod
    def _base_address(cls, value: str) -> str:
        value = value.rstrip("/")
        if value and (
            urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname
        ):
            raise ValueError(f"{value!r} is not a base address; write 'https://hls.example.org'")
        return value


class LadderSettings(Section):
    """The ladder: smaller pictures for HLS players, transcoded while somebody watches."""

    default: Literal["auto", "on", "off"] = "auto"
    heights: Annotated[
        list[Annotated[int, Field(ge=144, le=2160)]], Field(min_length=1, max_length=8)
    ] = [1080, 720, 480, 360]
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = "veryfast"
    gpu: bool = True
    max_streams: Annotated[int, Field(ge=0, le=1000)] = 0


class SrtSettings(Section):
    """SRT: ingest from encoders and playback, as MPEG transport streams."""

    enabled: bool = True
    bind: list[IPv4Address | IPv6Address] = [IPv4Address("0.0.0.0"), IPv6Address("::")]  # noqa: S104
    port: Port = 8890
    latency: Annotated[Duration, Field(le=timedelta(seconds=8))] = timedelta(milliseconds=120)
    passphrase: SecretStr = SecretStr("")
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    stall_timeout: Duration = timedelta(seconds=10)

    @field_validator("passphrase")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not 10 <= len(value.get_secret_value().encode()) <= 79:
            raise ValueError("an SRT passphrase has 10 to 79 characters")
        return value


class AccountSettings(Section):
    """People who log in to the dashboard."""

    admin_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)] = (
        "admin@localhost"
    )
    password_min_length: Annotated[int, Field(ge=8, le=128)] = 10
    session_lifetime: Duration = timedelta(days=14)
    login_attempts: Annotated[int, Field(ge=1)] = 5
    login_window: Duration = timedelta(minutes=15)


class StreamSettings(Section):
    """Live state and monitoring."""

    ended_retention: Duration = timedelta(hours=1)
    ended_max: Annotated[int, Field(ge=0)] = 10_000
    max_waiting_viewers: Annotated[int, Field(ge=0)] = 5_000


class ApiSettings(Section):
    """Limits of the RealtimeKit-shaped API."""

    requests: Annotated[int, Field(ge=1)] = 3_500
    window: PositiveDuration = timedelta(minutes=5)
    wrong_tokens: Annotated[int, Field(ge=1)] = 60
    wrong_tokens_window: PositiveDuration = timedelta(minutes=1)


class LivestreamSettings(Section):
    """Livestreams, and who publishes and plays by RTMP, SRT and HLS."""

    reconnect_window: Duration = timedelta(seconds=10)
    wrong_keys: Annotated[int, Field(ge=1)] = 30
    wrong_keys_window: PositiveDuration = timedelta(minutes=1)


class MetricsSettings(Section):
    """The Prometheus page."""

    allow: list[Network] = [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")]
    top_streams: Annotated[int, Field(ge=0, le=1000)] = 50


class DatabaseSettings(Section):
    """The SQLite file in the data directory."""

    busy_timeout: Duration = timedelta(seconds=10)


class LogSettings(Section):
    """What the server writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(Section):
    """The whole configuration of one server."""

    data: Path = Path("data")
    public_url: str = ""
    http: HttpSettings = HttpSettings()
    tls: TlsSettings = TlsSettings()
    media: MediaSettings = MediaSettings()
    rtmp: RtmpSettings = RtmpSettings()
    hls: HlsSettings = HlsSettings()
    ladder: LadderSettings = LadderSettings()
    srt: SrtSettings = SrtSettings()
    accounts: AccountSettings = AccountSettings()
    streams: StreamSettings = StreamSettings()
    livestreams: LivestreamSettings = LivestreamSettings()
    api: ApiSettings = ApiSettings()
    metrics: MetricsSettings = MetricsSettings()
    database: DatabaseSettings = DatabaseSettings()
    log: LogSettings = LogSettings()

    @field_validator("public_url")
    @classmethod
    def _origin_only(cls, value: str) -> str:
        value = value.rstrip("/")
        if value:
            parts = urlsplit(value)
            if (
                parts.scheme not in {"http", "https"}
                or not parts.hostname
                or parts.path
                or parts.query
            ):
                raise ValueError(
                    f"{value!r} is not a base address; write 'https://live.example.org'"
                )
        return value

    @property
    def keys_dir(self) -> Path:
        """Where secret key files live, mode 0600 each."""
        return self.data / "keys"

    @property
    def database_path(self) -> Path:
        return self.data / "stagecast.db"


def load(
    *,
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings from all four places.

    ``flags`` maps dotted keys to values; ``None`` values mean "flag not given". Raises
    ``SettingsError`` with one line per problem, each naming the key and where it was set.
    """
    env = os.environ if env is None else env
    raw: dict[str, Any] = {}
    path = _config_path(config, env)
    if path is not None:
        _merge(raw, _read_toml(path))
        _refuse_unknown(raw, Settings, str(path), "")
    _merge(raw, _from_env(env))
    for dotted, value in (flags or {}).items():
        if value is not None:
            _merge(raw, _nest(dotted.split("."), value))
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc'])}: "
            f"{problem['msg'].removeprefix('Value error, ')} (got {problem['input']!r})"
            for problem in error.errors(include_url=False)
        ]
        raise SettingsError("\n".join(lines)) from None


def _config_path(config: Path | None, env: Mapping[str, str]) -> Path | None:
    if config is None and env.get(CONFIG_ENV):
        config = Path(env[CONFIG_ENV])
    if config is not None:
        if not config.is_file():
            raise SettingsError(f"There is no settings file at {config}.")
        return config
    default = Path(CONFIG_NAME)
    return default if default.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def _from_env(env: Mapping[str, str]) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for name, text in env.items():
        if not name.startswith(ENV_PREFIX) or name == CONFIG_ENV:
            continue
        parts = name.removeprefix(ENV_PREFIX).lower().split("__")
        _refuse_unknown(_nest(parts, text), Settings, "the environment", "")
        _merge(raw, _nest(parts, _decode(parts, text, name)))
    return raw


def _decode(parts: list[str], text: str, name: str) -> Any:
    """Read a list from JSON or commas; leave every other value to the model."""
    model: type[BaseModel] = Settings
    for part in parts[:-1]:
        model = cast("type[BaseModel]", model.model_fields[part].annotation)
    if get_origin(model.model_fields[parts[-1]].annotation) is not list:
        return text
    if not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{name} is not a JSON list: {error}") from error


def _refuse_unknown(
    raw: Mapping[str, Any], model: type[BaseModel], where: str, prefix: str
) -> None:
    for key, value in raw.items():
        field = model.model_fields.get(key)
        if field is None:
            near = difflib.get_close_matches(prefix + key, _all_keys(), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"Unknown setting {prefix + key!r} in {where}{hint}")
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, Section):
            if not isinstance(value, Mapping):
                raise SettingsError(
                    f"{prefix + key!r} in {where} is a section; set a key inside it"
                )
            _refuse_unknown(cast("Mapping[str, Any]", value), nested, where, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            raise SettingsError(f"{prefix + key!r} in {where} is a single value, not a section")


def _all_keys(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            keys += _all_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _nest(parts: list[str], value: Any) -> dict[str, Any]:
    for part in reversed(parts):
        value = {part: value}
    return cast("dict[str, Any]", value)


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        held = into.get(key)
        if isinstance(held, dict) and isinstance(value, Mapping):
            _merge(cast("dict[str, Any]", held), cast("Mapping[str, Any]", value))
        else:
            into[key] = value
