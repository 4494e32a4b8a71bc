"""Reading WHIP and WHEP requests: credentials, content types, SDP bodies, publishing parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.requests import Request

from stagecast.errors import Invalid, NotAcceptable, UnsupportedMediaType
from stagecast.tokens.admission import Client
from stagecast.tokens.names import token_of_base64

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
CODECS = ("h264", "vp8", "vp9", "av1", "h265")
MAX_SOURCE_ID = 128
MAX_WAIT_SECONDS = 60.0

_MISSING = {
    "record": "Recording",
    "simulcastId": "Joining several feeds into one simulcast stream",
    "priority": "Redundant ingest",
    "enableUTCInsertion": "UTC time insertion",
}


@dataclass(frozen=True, slots=True)
class PublishParameters:
    """What a publisher asks for in the query of its WHIP URL."""

    source: str | None
    codec: str | None
    audio: bool
    video: bool


def client_of(request: Request) -> Client:
    return Client(
        address=request.client.host if request.client else None,
        origin=request.headers.get("origin"),
    )


def is_local(client: Client) -> bool:
    """Whether the request came over loopback, so that a loopback candidate makes sense."""
    try:
        return client.address is not None and ip_address(client.address).is_loopback
    except ValueError:
        return False


def credential_of(request: Request) -> str | None:
    """The token: ``Authorization: Bearer``, or ``?token=``, ``?auth=``, or ``?t=`` (base64url of the hex)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    query = request.query_params
    if query.get("t"):
        return token_of_base64(query["t"])
    return query.get("token") or query.get("auth") or None


def require_content_type(request: Request, wanted: str) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != wanted:
        raise UnsupportedMediaType(f"Send the body as {wanted}, not as {kind or 'nothing named'}.")


def require_acceptable(request: Request, kind: str) -> None:
    """Raise `NotAcceptable` when the client says it cannot read the answer's type."""
    accept = request.headers.get("accept", "")
    main = kind.partition("/")[0]
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    if ranges and not any(name in {kind, f"{main}/*", "*/*"} and usable for name, usable in ranges):
        raise NotAcceptable(f"The answer is {kind}; let Accept allow it.")


def _media_range(text: str) -> tuple[str, bool]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    return name, not any(
        p.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for p in parameters
    )


async def read_text(request: Request, what: str) -> str:
    body = await request.body()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"The {what} is not UTF-8 text.") from None
    if not text.strip():
        raise Invalid(f"The body is empty; send an {what}.")
    return text


def publish_parameters(query: Mapping[str, str]) -> PublishParameters:
    """Read the publishing parameters; raise `Invalid` naming each that cannot be honoured."""
    errors: dict[str, list[str]] = {}
    codec = query.get("codec", "").lower() or None
    if codec is not None and codec not in CODECS:
        errors["codec"] = [f"{codec!r} is none of {', '.join(CODECS)}."]
    audio_only, video_only = (
        _flag(query, "audioOnly"),
        _flag(query, "videoOnly") or _flag(query, "noAudio"),
    )
    if audio_only and video_only:
        errors["audioOnly"] = ["audioOnly and videoOnly leave nothing to publish."]
    for name, feature in _MISSING.items():
        if query.get(name, "").lower() not in {"", "false", "0"} or (
            name == "record" and _flag(query, name)
        ):
            errors[name] = [f"{feature} is not available on this server; leave it out."]
    source, problem = _source(query)
    if problem is not None:
        errors["sourceId"] = [problem]
    if errors:
        raise Invalid("Validation errors", errors=errors)
    return PublishParameters(source=source, codec=codec, audio=not video_only, video=not audio_only)


def source_parameter(query: Mapping[str, str]) -> str | None:
    """The source a viewer asks for; None is the main source."""
    source, problem = _source(query)
    if problem is not None:
        raise Invalid("Validation errors", errors={"sourceId": [problem]})
    return source


def wait_parameter(query: Mapping[str, str]) -> float:
    """How long a viewer is willing to wait for the stream, in seconds."""
    text = query.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise Invalid(
            "Validation errors",
            errors={"wait": [f"{text!r} is not a number of seconds from 0 to 60."]},
        )
    return seconds


def _source(query: Mapping[str, str]) -> tuple[str | None, str | None]:
    source = query.get("sourceId") or None
    if source is not None and (len(source) > MAX_SOURCE_ID or not source.isprintable()):
        return None, f"A source id has at most {MAX_SOURCE_ID} printable characters."
    return source, None


def _flag(query: Mapping[str, str], name: str) -> bool:
    """Whether a boolean parameter is on; without a value it is."""
    return name in query and query[name].lower() not in {"false", "0", "no"}
