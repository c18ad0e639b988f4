"""A certificate of our own, for microphones on other machines: browsers give them to HTTPS only."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from salon.base import ConfigurationError, MissingExtraError
from salon.base.files import private_folder
from salon.base.policy import EVERY_ADDRESS

if TYPE_CHECKING:
    from cryptography import x509

VALID_DAYS = 365
_RENEW_DAYS = 14


def local_names(host: str) -> tuple[str, ...]:
    """Every name and address this machine is likely called by, `host` first."""
    found = [] if host in EVERY_ADDRESS else [host]
    found += ["localhost", "127.0.0.1", "::1"]
    machine = socket.gethostname()
    if machine and len(machine) <= 63:
        found += [machine, f"{machine}.local"] if "." not in machine else [machine]
    found += local_addresses()
    return tuple(dict.fromkeys(name.lower() for name in found))


def local_addresses() -> list[str]:
    """The machine's address on the way out, per family. Nothing is sent."""
    found = []
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found


def self_signed(folder: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """Paths of a certificate for `names` and of its key, in `folder`.

    A certificate made before is used again while it covers `names` and has two weeks left, so that
    a browser told to trust it needs telling once. Raises `ConfigurationError`.
    """
    try:
        from cryptography import x509
    except ImportError:
        raise MissingExtraError("serve", "a self-signed certificate") from None
    wanted = tuple(names)
    cert_file, key_file = folder / "self-signed.crt", folder / "self-signed.key"
    try:
        if cert_file.is_file() and key_file.is_file():
            known = x509.load_pem_x509_certificate(cert_file.read_bytes())
            if _still_good(known, wanted):
                return cert_file, key_file
        certificate, key = _make(wanted)
        private_folder(folder)
        _write_private(key_file, key)
        cert_file.write_bytes(certificate)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot keep a certificate in {folder}: {error}") from error
    return cert_file, key_file


def _still_good(certificate: x509.Certificate, names: tuple[str, ...]) -> bool:
    from cryptography import x509

    if certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=_RENEW_DAYS):
        return False
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    covered = set(san.get_values_for_type(x509.DNSName))
    covered |= {str(address) for address in san.get_values_for_type(x509.IPAddress)}
    return set(names) <= covered


def _make(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Salon (self-signed)")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_private(file: Path, data: bytes) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
