"""The certificate of the native carrier: a pair of PEM files in a private directory."""

from __future__ import annotations

import datetime
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from salon.base import SYSTEM_CLOCK, Clock, new_id

RENEW_AFTER_S = 7 * 86_400.0
VALID_DAYS = 30


@dataclass(frozen=True, slots=True)
class PemFiles:
    """Where a certificate and its key lie."""

    certificate: str
    key: str


class CertificateFiles:
    """One self-signed certificate (P-256) for all peers of a process, renewed every week.

    WebRTC authenticates by the fingerprint in the answer, so it says nothing but a common name. The
    directory is readable by its owner only and goes with `close`, at the latest with the process.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        # created with mode 0700
        self._directory = tempfile.TemporaryDirectory(prefix="salon-dtls-")
        self._made: tuple[float, PemFiles] | None = None

    @property
    def directory(self) -> Path:
        """Where the files lie."""
        return Path(self._directory.name)

    def current(self, *, fresh: bool = False) -> PemFiles:
        """The files for a new peer; they are read when it is made and not again. `fresh` ones
        differ from all before."""
        now = self._clock.monotonic()
        if fresh or self._made is None or now - self._made[0] > RENEW_AFTER_S:
            if self._made is not None:
                Path(self._made[1].certificate).unlink()
                Path(self._made[1].key).unlink()
            self._made = now, self._make()
        return self._made[1]

    def close(self) -> None:
        """Remove the directory; idempotent."""
        self._directory.cleanup()

    def _make(self) -> PemFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WebRTC")])
        now = self._clock.now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
            .sign(key, hashes.SHA256())
        )
        stem = new_id()
        certificate_file = self.directory / f"{stem}.crt"
        key_file = self.directory / f"{stem}.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return PemFiles(str(certificate_file), str(key_file))
