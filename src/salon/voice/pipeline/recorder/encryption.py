"""Encryption of recordings at rest (V87): AES-GCM in chunks, so that files of any size fit.

A file is ``SALNREC1``, a random prefix of 7 bytes, then chunks of 64 KiB and a tag of 16 bytes
each. The nonce of a chunk is the prefix, its number (4 bytes) and whether it is the last: chunks
can be neither changed, swapped, repeated nor cut off unnoticed. Every file has a key of its own,
derived from the given one and a salt of 16 bytes that follows the prefix, so that nonces can't
meet however many files there are.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from salon.base import MissingExtraError, SalonError
from salon.voice.pipeline.recorder.base import RecordingConfigurationError, RecordingEncryption

MAGIC: Final = b"SALNREC1"
SUFFIX: Final = ".enc"
CHUNK_BYTES: Final = 64 * 1024
_PREFIX_BYTES: Final = 7
_SALT_BYTES: Final = 16
_TAG_BYTES: Final = 16
_HEADER_BYTES: Final = len(MAGIC) + _PREFIX_BYTES + _SALT_BYTES


class RecordingDecryptionError(SalonError):
    """The key is another one, or the file was changed or cut."""

    code = "recording_decryption"


def create_private(path: Path) -> BinaryIO:
    """A new file for its owner only; an older one goes. `OSError`."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


class AesGcmRecordingEncryption(RecordingEncryption):
    """Encrypts with a key of 16, 24 or 32 bytes; ``call.wav`` becomes ``call.wav.enc``.

    Keep the key outside of what is recorded; `generate_key` makes one.
    `RecordingConfigurationError` for another length, `MissingExtraError` without `cryptography`.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) not in (16, 24, 32):
            raise RecordingConfigurationError(
                f"a recording key has 16, 24 or 32 bytes, not {len(key)}"
            )
        self._key = key
        _primitives()

    @staticmethod
    def generate_key() -> bytes:
        """A random key of 32 bytes."""
        return secrets.token_bytes(32)

    @classmethod
    def from_base64(cls, text: str | bytes) -> Self:
        """With a key written in URL-safe base64, as vaults and Fernet keys are."""
        try:
            return cls(base64.urlsafe_b64decode(text))
        except binascii.Error as error:
            raise RecordingConfigurationError("the recording key is not base64") from error

    @property
    def name(self) -> str:
        return "aes-gcm"

    def encrypt_file(self, path: str) -> str:
        plain, target = Path(path), Path(path + SUFFIX)
        part = Path(path + SUFFIX + ".part")
        try:
            with plain.open("rb") as source, create_private(part) as out:
                self._encrypt(source, out)
                out.flush()
                os.fsync(out.fileno())
            part.replace(target)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        plain.unlink()
        return str(target)

    def decrypt_file(self, path: str | Path, target: str | Path) -> None:
        """Write the plain file of `path` to `target`, which appears only when all of it is right.

        `RecordingDecryptionError`, `OSError`.
        """
        part = Path(f"{target}.part")
        try:
            with Path(path).open("rb") as source, create_private(part) as out:
                for piece in self._decrypt(source):
                    out.write(piece)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def decrypt_bytes(self, path: str | Path) -> bytes:
        """The plain file, in memory."""
        with Path(path).open("rb") as source:
            return b"".join(self._decrypt(source))

    def _encrypt(self, source: BinaryIO, out: BinaryIO) -> None:
        prefix, salt = secrets.token_bytes(_PREFIX_BYTES), secrets.token_bytes(_SALT_BYTES)
        header = MAGIC + prefix + salt
        out.write(header)
        cipher = self._cipher(salt)
        for number, (chunk, last) in enumerate(_chunks(source, CHUNK_BYTES)):
            out.write(cipher.encrypt(_nonce(prefix, number, last), chunk, header))

    def _decrypt(self, source: BinaryIO) -> Iterator[bytes]:
        header = source.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(MAGIC):
            raise RecordingDecryptionError("this is not an encrypted recording")
        prefix = header[len(MAGIC) : len(MAGIC) + _PREFIX_BYTES]
        cipher = self._cipher(header[-_SALT_BYTES:])
        invalid = _primitives()[2]
        for number, (chunk, last) in enumerate(_chunks(source, CHUNK_BYTES + _TAG_BYTES)):
            try:
                piece: bytes = cipher.decrypt(_nonce(prefix, number, last), chunk, header)
            except (invalid, ValueError) as error:
                raise RecordingDecryptionError(
                    f"chunk {number}: the key is another one, or the file was changed or cut"
                ) from error
            yield piece

    def _cipher(self, salt: bytes) -> Any:
        cipher, derive, _ = _primitives()
        return cipher(derive(self._key, salt))


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + (b"\1" if last else b"\0")


def _chunks(source: BinaryIO, size: int) -> Iterator[tuple[bytes, bool]]:
    """The file in pieces, and whether each is the last; an empty file is one empty piece."""
    chunk = source.read(size)
    while True:
        following = source.read(size)
        yield chunk, not following
        if not following:
            return
        chunk = following


def _primitives() -> tuple[Any, Any, type[Exception]]:
    """AES-GCM, the derivation of a file's key, and what a wrong tag raises."""
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise MissingExtraError("serve", "encryption of recordings") from error

    def derive(key: bytes, salt: bytes) -> bytes:
        return HKDF(SHA256(), len(key), salt, b"salon recording").derive(key)

    return AESGCM, derive, InvalidTag
