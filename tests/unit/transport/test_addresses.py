"""Names from outside become addresses that were checked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.base import PolicyError, UrlPolicy
from salon.transport.addresses import resolve_checked


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """All names mean these addresses; returns the names asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, *_args: Any, **_options: Any) -> list[Any]:
        asked.append(host)
        if not addresses:
            raise OSError("unknown")
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


async def test_the_first_address_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = names(monkeypatch, "93.184.216.34", "2606:2800:220:1::1")
    assert await resolve_checked(UrlPolicy(), "https://a.example.com:8443/x") == "93.184.216.34"
    assert asked == ["a.example.com"]


@pytest.mark.parametrize("private", ["10.0.0.1", "127.0.0.1", "::1", "169.254.169.254"])
async def test_every_address_is_checked(monkeypatch: pytest.MonkeyPatch, private: str) -> None:
    names(monkeypatch, "93.184.216.34", private)
    with pytest.raises(PolicyError, match="private"):
        await resolve_checked(UrlPolicy(), "https://a.example.com")


async def test_what_the_policy_leaves_open_is_not_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = names(monkeypatch, "10.0.0.1")
    inner = UrlPolicy(allowed_hosts=frozenset({"inner"}))
    assert await resolve_checked(inner, "http://inner/x") is None
    assert await resolve_checked(UrlPolicy(allow_private=True), "http://localhost") is None
    assert asked == []


async def test_unknown_hosts_and_wrong_urls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = names(monkeypatch)
    with pytest.raises(PolicyError, match="not known"):
        await resolve_checked(UrlPolicy(), "https://nowhere.example.com")
    with pytest.raises(PolicyError):
        await resolve_checked(UrlPolicy(), "ftp://nowhere.example.com")
    assert len(asked) == 1
