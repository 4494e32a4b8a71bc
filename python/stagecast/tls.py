"""Which certificate the server shows: over HTTPS, and over RTMPS."""

from pathlib import Path

from stagecast.errors import StartError
from stagecast.kit.addresses import host_names, primary_address
from stagecast.kit.certificate import ensure_self_signed
from stagecast.settings import Settings


def tls_files(settings: Settings) -> tuple[Path, Path] | None:
    """Certificate and key, made when `tls.mode` says so; None without TLS."""
    tls = settings.tls
    if tls.mode == "off":
        return None
    if tls.mode == "self-signed":
        return self_signed_files(settings)
    if tls.certificate is None or tls.key is None:
        raise StartError("tls.mode 'files' needs tls.certificate and tls.key.")
    for path in (tls.certificate, tls.key):
        if not path.is_file():
            raise StartError(f"There is no file {path}; set tls.certificate and tls.key.")
    return tls.certificate, tls.key


def self_signed_files(settings: Settings) -> tuple[Path, Path]:
    """A certificate for the names and addresses of this machine, and its key."""
    names = [*host_names(), "127.0.0.1", "::1"]
    names += [address for address in [primary_address()] if address]
    names += [str(address) for address in settings.media.advertise]
    return ensure_self_signed(settings.keys_dir, list(dict.fromkeys(names)))
