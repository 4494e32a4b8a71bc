"""Certificates: making one for trying from another device, and reading when one ends."""

from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stagecast.kit.clock import utc_now
from stagecast.kit.secret import write_private

_DAYS = 397  # browsers refuse server certificates that live longer
_RENEW_BEFORE = timedelta(days=30)


def ensure_self_signed(directory: Path, names: list[str]) -> tuple[Path, Path]:
    """A certificate and key for these host names and addresses, made anew when they changed or it ends soon."""
    certificate, key = directory / "self-signed.crt", directory / "self-signed.key"
    if not (certificate.is_file() and key.is_file() and _good_for(certificate, names)):
        _create(certificate, key, names)
    return certificate, key


def expires_on(certificate: Path) -> datetime:
    """When the certificate ends; raises ValueError when the file holds none."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _good_for(certificate: Path, names: list[str]) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        held = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    wanted = {_general_name(name) for name in names}
    return wanted <= set(held) and loaded.not_valid_after_utc - utc_now() > _RENEW_BEFORE


def _create(certificate: Path, key: Path, names: list[str]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stagecast, self-signed")])
    now = utc_now()
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    write_private(
        key,
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    write_private(certificate, built.public_bytes(pem))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
