"""What a web page may ask of us."""

from __future__ import annotations

import pytest

from salon.base import BrowserPolicy

OWN = {"host": "localhost:8000"}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_loopback_hosts_are_always_served(host: str) -> None:
    assert BrowserPolicy().refuse_host(host) is None


@pytest.mark.parametrize("host", [None, "", "rebound.example", "127.0.0.1.evil.example", "[::1"])
def test_an_unknown_host_is_refused_and_the_setting_named(host: str | None) -> None:
    refusal = BrowserPolicy(hosts=frozenset({"salon.example"})).refuse_host(host)
    assert refusal is not None
    assert "SALON_ALLOWED_HOSTS" in refusal


def test_an_allowed_host_is_served_on_any_port() -> None:
    policy = BrowserPolicy(hosts=frozenset({"salon.example"}))
    assert policy.refuse_host("Salon.Example:8443") is None
    assert policy.refuse_host("sub.salon.example") is not None


def test_a_star_switches_the_host_check_off() -> None:
    policy = BrowserPolicy(hosts=frozenset({"*"}))
    assert policy.refuse_host("anything.example") is None
    assert policy.refuse_host(None) is None


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_programs_and_our_own_page_need_no_origin(site: str) -> None:
    assert BrowserPolicy().refuse_origin(OWN) is None
    assert BrowserPolicy().refuse_origin({**OWN, "sec-fetch-site": site}) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_the_browser_calls_foreign_is_refused_without_an_origin_too(site: str) -> None:
    refusal = BrowserPolicy().refuse_origin({**OWN, "sec-fetch-site": site})
    assert refusal is not None
    assert site in refusal


@pytest.mark.parametrize("origin", ["http://localhost:8000", "https://LOCALHOST:8000"])
def test_the_same_origin_is_allowed(origin: str) -> None:
    assert BrowserPolicy().refuse_origin({**OWN, "origin": origin}) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://localhost",
        "http://localhost:3000",
        "http://localhost:8000.evil.example",
        "https://evil.example",
        "file://localhost:8000",
        "chrome-extension://localhost:8000",
        "http://[::1",
    ],
)
def test_another_origin_is_refused_and_the_setting_named(origin: str) -> None:
    refusal = BrowserPolicy().refuse_origin({**OWN, "origin": origin})
    assert refusal is not None
    assert "SALON_ALLOWED_ORIGINS" in refusal


def test_an_origin_without_a_host_header_is_not_the_same() -> None:
    assert BrowserPolicy().refuse_origin({"origin": "http://localhost"}) is not None
    assert BrowserPolicy().refuse_origin({"origin": "http://", "host": ""}) is not None


def test_an_allowed_origin_may_come_cross_site() -> None:
    policy = BrowserPolicy(origins=frozenset({"https://app.example"}))
    headers = {**OWN, "origin": "https://App.Example", "sec-fetch-site": "cross-site"}
    assert policy.refuse_origin(headers) is None
    assert policy.refuse_origin({**headers, "origin": "https://app.example:1"}) is not None
