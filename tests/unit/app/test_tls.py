"""The certificate of our own."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from datetime import timedelta
from pathlib import Path
from stat import S_IMODE

import pytest

from salon.app import tls
from salon.app.tls import local_addresses, local_names, self_signed
from salon.base import ConfigurationError, MissingExtraError

NAMES = ("salon.example", "localhost", "127.0.0.1", "::1")


def test_a_certificate_serves_its_names_and_its_key_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cert, key = self_signed(tmp_path / "data" / "tls", NAMES)
    finally:
        os.umask(before)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    assert S_IMODE(key.stat().st_mode) == 0o600
    assert S_IMODE(key.parent.stat().st_mode) == 0o700
    assert S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_good_certificate_is_used_again(tmp_path: Path) -> None:
    first = [file.read_bytes() for file in self_signed(tmp_path, NAMES)]
    again = [file.read_bytes() for file in self_signed(tmp_path, NAMES[1:])]
    assert again == first


def test_a_new_name_needs_a_new_certificate(tmp_path: Path) -> None:
    first = self_signed(tmp_path, NAMES)[0].read_bytes()
    second = self_signed(tmp_path, (*NAMES, "other.example"))[0].read_bytes()
    assert second != first


def test_a_certificate_near_its_end_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "VALID_DAYS", tls._RENEW_DAYS - 1)
    short = self_signed(tmp_path, NAMES)[0].read_bytes()
    monkeypatch.undo()
    assert self_signed(tmp_path, NAMES)[0].read_bytes() != short


def test_the_clock_of_another_machine_may_be_an_hour_behind(tmp_path: Path) -> None:
    from cryptography import x509

    made = x509.load_pem_x509_certificate(self_signed(tmp_path, NAMES)[0].read_bytes())
    assert made.not_valid_after_utc - made.not_valid_before_utc >= timedelta(days=365, hours=1)


def test_an_unreadable_certificate_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "self-signed.crt").write_text("no certificate")
    (tmp_path / "self-signed.key").write_text("no key")
    with pytest.raises(ConfigurationError, match="cannot keep a certificate"):
        self_signed(tmp_path, NAMES)


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in the way")
    with pytest.raises(ConfigurationError, match="cannot keep a certificate"):
        self_signed(tmp_path / "data" / "tls", NAMES)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingExtraError, match=r"salon\[serve\]"):
        self_signed(tmp_path, NAMES)


@pytest.mark.parametrize(
    ("machine", "named"),
    [
        ("Box", {"box", "box.local"}),
        ("box.example.org", {"box.example.org"}),
        ("x" * 64, set()),
        ("", set()),
    ],
)
def test_a_machine_is_called_by_these_names(
    monkeypatch: pytest.MonkeyPatch, machine: str, named: set[str]
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: machine)
    monkeypatch.setattr(tls, "local_addresses", lambda: ["192.0.2.7"])
    own = {"localhost", "127.0.0.1", "::1", "192.0.2.7"}
    assert set(local_names("0.0.0.0")) == own | named
    assert local_names("Salon.Example")[0] == "salon.example"
    assert len(local_names("127.0.0.1")) == len(own | named)


def test_a_machine_without_network_has_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> socket.socket:
        raise OSError("network is unreachable")

    assert all(isinstance(address, str) for address in local_addresses())
    monkeypatch.setattr(tls.socket, "socket", unreachable)
    assert local_addresses() == []
