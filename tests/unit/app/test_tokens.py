"""Room tokens: whole, unchanged, in time."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from salon.app.credentials import Credentials
from salon.app.tokens import PREFIX, RoomTokens, token_secret
from salon.base import LOCAL, Clock
from salon.base.principal import RoomGrant

GRANT = RoomGrant("r1", "2026-01-01T00:00:00+00:00", "ann", 2000, "Ann", True)


@dataclass
class HandClock(Clock):
    now_s: float = 1000.0

    def time(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def tokens(clock: HandClock) -> RoomTokens:
    return RoomTokens(lambda: b"secret", clock=clock)


def test_a_token_carries_its_grant(tokens: RoomTokens) -> None:
    made = tokens.issue(GRANT)
    assert made.token.startswith(PREFIX)
    assert made.expires == 2000
    found = tokens.principal(made.token)
    assert found is not None
    assert (found.kind, found.grant) == ("room", GRANT)
    reader = tokens.principal(tokens.issue(replace(GRANT, writes=False, name=None)).token)
    assert reader is not None
    assert reader.grant is not None
    assert (reader.grant.writes, reader.grant.name) == (False, None)


def test_a_token_ends(tokens: RoomTokens, clock: HandClock) -> None:
    token = tokens.issue(GRANT).token
    clock.now_s = 1999.9
    assert tokens.principal(token) is not None
    clock.now_s = 2000.0
    assert tokens.principal(token) is None


def test_no_character_of_a_token_can_be_changed(tokens: RoomTokens) -> None:
    token = tokens.issue(GRANT).token
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        assert tokens.principal(token[:place] + other + token[place + 1 :]) is None, place


def test_claims_of_ones_own_need_the_key(tokens: RoomTokens) -> None:
    token = tokens.issue(GRANT).token
    body, _, signature = token[len(PREFIX) :].rpartition(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"r": "r2"}).encode()).decode()
    assert tokens.principal(f"{PREFIX}{forged}.{signature}") is None
    other = RoomTokens(lambda: b"another secret").issue(GRANT).token
    assert tokens.principal(other) is None


@pytest.mark.parametrize(
    "token",
    ["", PREFIX, f"{PREFIX}.", f"{PREFIX}a.b", f"{PREFIX}\u00e4.\u00e4", "x" * 5000, "salon-room"],
)
def test_what_is_no_token_opens_nothing(tokens: RoomTokens, token: str) -> None:
    assert tokens.principal(token) is None


@pytest.mark.parametrize("claims", [b"not json", b"[]", b"{}", b'{"r":1}', b"\xff"])
def test_signed_claims_of_another_version_open_nothing(tokens: RoomTokens, claims: bytes) -> None:
    body = base64.urlsafe_b64encode(claims).decode().rstrip("=")
    assert tokens.principal(f"{PREFIX}{body}.{tokens._sign(body)}") is None


def test_with_a_key_tokens_end_with_the_key(tmp_path: Path) -> None:
    first = RoomTokens(token_secret("key-number-one-1", tmp_path))
    second = RoomTokens(token_secret("key-number-two-2", tmp_path))
    grant = replace(GRANT, expires=4_000_000_000)
    token = first.issue(grant).token
    assert first.principal(token) is not None
    assert second.principal(token) is None
    assert list(tmp_path.iterdir()) == []


def test_without_a_key_the_data_folder_keeps_one(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    grant = replace(GRANT, expires=4_000_000_000)
    token = RoomTokens(token_secret(None, folder)).issue(grant).token
    assert RoomTokens(token_secret(None, folder)).principal(token) is not None
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert len(file.read_bytes()) == 32


def test_of_two_processes_one_makes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token.key").write_bytes(b"k" * 32)
    monkeypatch.setattr(Path, "exists", lambda _self: False)
    assert token_secret(None, tmp_path)() == b"k" * 32
    assert [file.name for file in tmp_path.iterdir()] == ["token.key"]


def test_who_shows_a_token_is_judged_by_it_alone(clock: HandClock) -> None:
    key = "a-key-of-enough-length"
    known = Credentials(key, clock=clock)
    token = known.tokens.issue(GRANT).token
    cookie = f"salon_login={known.make_cookie()}"
    found = known.principal({"cookie": cookie}, token)
    assert found is not None
    assert found.kind == "room"
    assert known.principal({"authorization": f"Bearer {token}"}) == found
    assert known.principal({"x-api-key": token}) == found
    assert known.principal({"cookie": cookie}, "salon-room.wrong.one") is None
    assert known.principal({"authorization": f"Bearer {PREFIX}x.y", "x-api-key": key}) is None
    clock.now_s = 3000.0
    assert known.principal({"authorization": f"Bearer {token}"}) is None


def test_a_key_in_the_query_opens_nothing() -> None:
    key = "a-key-of-enough-length"
    assert Credentials(key).principal({}, key) is None
    assert Credentials(None).principal({}, "nonsense") is None
    assert Credentials(None).principal({}) == LOCAL


def test_each_organization_has_its_key() -> None:
    known = Credentials("master-key-master", organization_keys={"acme": "acme-key", "b": "b-key"})
    acme = known.principal({"x-api-key": "acme-key"})
    assert acme is not None
    assert (acme.kind, acme.organization_id) == ("organization", "acme")
    master = known.principal({"x-api-key": "master-key-master"})
    assert master is not None
    assert (master.kind, master.organization_id) == ("key", None)
    assert known.principal({"x-api-key": "c-key"}) is None
    assert known.principal({"authorization": "Bearer "}) is None
    assert not known.check_key("acme-key")
