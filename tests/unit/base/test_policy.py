"""What names, paths and URLs from outside may become."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.base import PolicyError, UrlPolicy, is_loopback, resolve_below, safe_name
from salon.base.policy import host_of, lower_all


@pytest.mark.parametrize("name", ["call", "s.4f-2_a.wav", "x" * 96])
def test_G213_a_harmless_id_is_its_own_file_name(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["../../etc/passwd", ".hidden", "a b", "a/b", "a\\b", "é", "a\0b"])
def test_G213_a_changed_name_carries_a_hash_of_the_original(name: str) -> None:
    made = safe_name(name)
    assert made != name
    assert len(made.rpartition("-")[2]) == 12
    assert safe_name(name) == made


def test_G213_different_ids_never_share_a_file() -> None:
    names = [
        "a/b",
        "a_b",
        "a\\b",
        "a b",
        ".a_b",
        "a?b",
        "x" * 97,
        "x" * 98,
        "x" * 96,
        "",
        ".",
        "..",
    ]
    assert len({safe_name(name) for name in names}) == len(names)


@given(st.text())
def test_G213_every_id_gives_a_name_of_one_plain_file(name: str) -> None:
    made = safe_name(name)
    assert made
    assert Path(made).name == made
    assert made.isascii()
    assert not made.startswith(".")
    assert len(made) <= 96 + 13


def test_surrogates_from_a_broken_decoder_are_no_obstacle() -> None:
    assert safe_name("call\udcff").startswith("call_-")


def test_a_path_below_its_root_is_found(tmp_path: Path) -> None:
    assert resolve_below(tmp_path, "a/../b.wav") == tmp_path.resolve() / "b.wav"
    assert resolve_below(tmp_path, "") == tmp_path.resolve()


@pytest.mark.parametrize("name", ["..", "../x", "/etc/passwd", "a/../../x"])
def test_a_path_out_of_its_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyError, match="leaves its folder"):
        resolve_below(tmp_path, name)


def test_a_sibling_whose_name_starts_alike_is_outside(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media2").mkdir()
    with pytest.raises(PolicyError):
        resolve_below(tmp_path / "media", "../media2/x")


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(PolicyError, match="leaves its folder"):
        resolve_below(root, "out/secret")


def test_a_name_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="not a usable path"):
        resolve_below(tmp_path, "a\0b")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a.wav",
        "HTTP://example.org",
        "https://8.8.8.8:8443/x?y",
        "https://[2606:4700::1]/",
    ],
)
def test_public_urls_may_be_opened(url: str) -> None:
    assert UrlPolicy().check(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "scheme 'file'"),
        ("ftp://example.org/", "scheme 'ftp'"),
        ("example.org/a.wav", "scheme ''"),
        ("https:///a.wav", "no host"),
        ("https://user@example.org/", "credentials"),
        ("https://user:pass@example.org/", "credentials"),
        ("https://:pass@example.org/", "credentials"),
        ("https://[::1/", "not a URL"),
        ("http://127.0.0.1/", "private"),
        ("http://localhost:8000/", "private"),
        ("http://LOCALHOST/", "private"),
        ("http://10.0.0.1/", "private"),
        ("http://192.168.1.1/", "private"),
        ("http://169.254.169.254/latest", "private"),
        ("http://0.0.0.0/", "private"),
        ("http://[::1]/", "private"),
        ("http://[fe80::1]/", "private"),
        ("http://[::ffff:127.0.0.1]/", "private"),
    ],
)
def test_other_urls_are_refused(url: str, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        UrlPolicy().check(url)


def test_the_message_of_a_refused_url_does_not_repeat_its_password() -> None:
    with pytest.raises(PolicyError) as caught:
        UrlPolicy().check("https://user:hunter2@example.org/")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost/", "http://10.1.2.3/"])
def test_private_addresses_may_be_allowed(url: str) -> None:
    assert UrlPolicy(allow_private=True).check(url) == url


def test_a_named_host_may_be_private() -> None:
    policy = UrlPolicy(allowed_hosts=frozenset({"localhost", "10.0.0.1"}))
    assert policy.check("http://Localhost/x") == "http://Localhost/x"
    assert policy.check("http://10.0.0.1/x") == "http://10.0.0.1/x"
    with pytest.raises(PolicyError):
        policy.check("http://10.0.0.2/x")


def test_what_a_name_resolved_to_is_checked_again() -> None:
    UrlPolicy().check_address("8.8.8.8")
    with pytest.raises(PolicyError):
        UrlPolicy().check_address("10.0.0.1")
    with pytest.raises(ValueError, match="example"):
        UrlPolicy().check_address("example.org")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1", "0:0:0:0:0:0:0:1"])
def test_loopback_addresses_stay_on_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "example.org", "localhost.x"])
def test_all_other_addresses_are_exposed(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Example.ORG:8000", "example.org"),
        ("localhost", "localhost"),
        ("[::1]:8000", "::1"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("", ""),
        ("[::1", ""),
    ],
)
def test_the_host_of_an_authority(authority: str, host: str) -> None:
    assert host_of(authority) == host


def test_names_become_a_lower_case_set_without_blanks() -> None:
    assert lower_all([" A ", "b", "", "  ", "a"]) == {"a", "b"}
