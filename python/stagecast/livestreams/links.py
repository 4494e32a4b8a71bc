"""The addresses of a livestream, built on the host that the caller used or the public address of the settings."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from stagecast.media.engine import Engine
from stagecast.settings import Settings


@dataclass(frozen=True, slots=True)
class Links:
    """Where this server is reached; a port of None means that the protocol is off."""

    base: str
    rtmp: int | None
    rtmps: int | None
    srt: int | None
    hls: str

    @property
    def host(self) -> str:
        host = urlsplit(self.base).hostname or "localhost"
        return f"[{host}]" if ":" in host else host

    @property
    def rtmp_server(self) -> str | None:
        return f"rtmp://{self.host}:{self.rtmp}/live/" if self.rtmp is not None else None

    @property
    def rtmps_server(self) -> str | None:
        return f"rtmps://{self.host}:{self.rtmps}/live/" if self.rtmps is not None else None

    def srt_url(self, key: str) -> str | None:
        return f"srt://{self.host}:{self.srt}?streamid=live/{key}" if self.srt is not None else None

    def playback_url(self, playback_id: str) -> str:
        return f"{self.hls}/{playback_id}/manifest/video.m3u8"

    def whip_url(self, stream_name: str) -> str:
        return f"{self.base}/api/whip/{quote(stream_name, safe='')}"

    def whep_url(self, account_id: str, stream_name: str) -> str:
        return f"{self.base}/api/whep/{account_id}/{quote(stream_name, safe='')}"

    def viewer_url(self, account_id: str, stream_name: str) -> str:
        return f"{self.base}/viewer?streamId={account_id}/{quote(stream_name, safe='')}"


def hls_origin(settings: Settings) -> str:
    """HLS as a page's policy names it: on whatever host the page was asked for."""
    if settings.hls.public_url:
        return settings.hls.public_url
    scheme = "http" if settings.tls.mode == "off" else "https"
    return f"{scheme}://*:{settings.hls.port or '*'}"


def links(settings: Settings, engine: Engine, scheme: str, netloc: str) -> Links:
    """``scheme`` and ``netloc`` are those of the request; the settings' public address comes first."""
    base = settings.public_url or f"{scheme}://{netloc}"
    host = urlsplit(base).hostname or "localhost"
    host = f"[{host}]" if ":" in host else host
    hls = settings.hls.public_url
    if not hls:
        tls = "" if settings.tls.mode == "off" else "s"
        hls = f"http{tls}://{host}:{engine.hls_port or settings.hls.port}"
    return Links(
        base=base,
        rtmp=engine.rtmp_port,
        rtmps=engine.rtmps_port,
        srt=engine.srt_port,
        hls=hls,
    )
