"""Configuration, credentials, addresses (O1, O4-O11, O22, O26, O27, O101, O102)."""

from __future__ import annotations

import dataclasses
from typing import Any

import aiohttp
import pytest
from tests.unit.clients.odyssey.service import Answer, jwt, serving

from salon.clients.odyssey import config as configuration
from salon.clients.odyssey.addresses import (
    FALLBACK_ICE_SERVERS,
    config_url,
    ice_servers,
    signaling_base,
    signaling_url,
    whep_url,
)
from salon.clients.odyssey.config import AdvancedConfig, ClientConfig, DevConfig, make_config
from salon.clients.odyssey.credentials import ClientCredentials
from salon.clients.odyssey.errors import InvalidReplyError
from salon.clients.odyssey.types import StreamerCapabilities
from salon.transport.packets import IceServer


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ODYSSEY_API_URL", raising=False)
    monkeypatch.delenv("ODYSSEY_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("kwargs", "on"),
    [
        ({}, False),
        ({"debug": True}, True),
        ({"dev": DevConfig(debug=True)}, True),
        ({"dev": DevConfig()}, False),
    ],
)
def test_O1_both_generations_switch_debugging_on(kwargs: dict[str, Any], on: bool) -> None:
    assert make_config("k", kwargs).debugging is on


def test_O4_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        make_config("k", {"colour": "blue"})


def test_O5_all_are_slotted_and_the_inner_ones_frozen() -> None:
    for made in (ClientConfig(), AdvancedConfig(), DevConfig()):
        assert not hasattr(made, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        AdvancedConfig().max_retries = 3  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        DevConfig().debug = True  # type: ignore[misc]
    config = ClientConfig()
    config.debug = True
    assert config.debugging


def test_O5_defaults() -> None:
    config = ClientConfig()
    assert (config.api_key, config.api_url) == ("", "https://api.odyssey.ml")
    assert dataclasses.astuple(config.advanced) == (5, 1000, 2000, 2.0, 30)
    assert dataclasses.astuple(config.dev) == (None, None, False)
    assert not config.direct


@pytest.mark.parametrize("key", [None, 5, b"ody_", ["k"]])
def test_O6_a_key_that_is_no_text_is_a_type_error(key: Any) -> None:
    with pytest.raises(TypeError, match=r"^api_key must be a string$"):
        make_config(key, {})


@pytest.mark.parametrize("wrong", [{"api_url": None}, {"advanced": {}}, {"dev": True}])
def test_O6_other_fields_of_a_wrong_type_are_type_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        make_config("k", wrong)


@pytest.mark.parametrize("key", ["", "  \t"])
def test_O7_an_empty_key_is_allowed_until_it_is_needed(key: str) -> None:
    config = make_config(key, {})
    with pytest.raises(ValueError, match=r"^api_key is required for this operation"):
        config.require_api_key()
    assert make_config("anything", {}).require_api_key() == "anything"


def test_O8_a_signaling_address_needs_a_session_id() -> None:
    text = "^dev.session_id is required when dev.signaling_url is set$"
    with pytest.raises(ValueError, match=text):
        make_config("k", {"dev": DevConfig(signaling_url="ws://127.0.0.1:1")})


def test_O9_a_signaling_address_passes_the_broker_by() -> None:
    dev = DevConfig(signaling_url="ws://127.0.0.1:1", session_id="s")
    assert make_config("", {"dev": dev}).direct
    assert signaling_url("ws://127.0.0.1:1", "s", None) == "ws://127.0.0.1:1/client/s"


def test_O10_the_environment_gives_the_address_and_never_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ODYSSEY_API_KEY", "ody_secret")
    monkeypatch.setenv("ODYSSEY_API_URL", "http://127.0.0.1:9")
    config = ClientConfig()
    assert (config.api_key, config.api_url) == ("", "http://127.0.0.1:9")
    monkeypatch.setenv("ODYSSEY_API_URL", "")
    assert ClientConfig().api_url == configuration.DEFAULT_API_URL
    assert config.api_url == "http://127.0.0.1:9"  # read when it was made
    assert ClientConfig(api_url="http://h").api_url == "http://h"


def test_O11_the_address_is_used_without_its_last_slashes() -> None:
    assert ClientConfig(api_url="http://h/a//").base_url == "http://h/a"


def test_O5_the_key_is_not_in_repr() -> None:
    assert "secret" not in repr(ClientConfig("ody_secret"))


@pytest.mark.parametrize(
    ("base", "socket", "config"),
    [
        ("ws://h:1", "ws://h:1", "http://h:1/config"),
        ("wss://h/a", "wss://h/a", "https://h/a/config"),
        ("http://h", "ws://h", "http://h/config"),
        ("https://h/a/b//", "wss://h/a/b", "https://h/a/b/config"),
        ("127.0.0.1:8080/", "ws://127.0.0.1:8080", "http://127.0.0.1:8080/config"),
        ("h", "ws://h", "http://h/config"),
        ("HTTPS://H", "wss://H", "https://H/config"),
        (" ws://[::1]:5/ ", "ws://[::1]:5", "http://[::1]:5/config"),
    ],
)
def test_O26_O27_the_signaling_address_is_made_uniform(base: str, socket: str, config: str) -> None:
    assert signaling_base(base) == socket
    assert config_url(base) == config
    assert signaling_url(base, "s-1", "t") == f"{socket}/client/s-1?token=t"


def test_O26_token_and_id_are_encoded() -> None:
    url = signaling_url("ws://h", "../a?b", "x+y/z=&q")
    assert url == "ws://h/client/..%2Fa%3Fb?token=x%2By%2Fz%3D%26q"


@pytest.mark.parametrize(
    "base", ["", "ftp://h", "ws://", "file:///etc", "ws://h:99999", "http://["]
)
def test_O26_what_is_no_address_is_refused(base: str) -> None:
    with pytest.raises(InvalidReplyError):
        signaling_base(base)


@pytest.mark.parametrize(
    ("listed", "servers"),
    [
        ([{"urls": "stun:a:1"}], [IceServer(("stun:a:1",))]),
        ([{"urls": ["stun:a", "stuns:b"]}], [IceServer(("stun:a", "stuns:b"))]),
        (
            [{"urls": "turn:a", "username": "u", "credential": "c"}],
            [IceServer(("turn:a",), "u", "c")],
        ),
        ([{"url": "stun:old"}], [IceServer(("stun:old",))]),
        (
            [{"urls": "http://a"}, {"urls": []}, {}, 5, {"urls": [None, "turns:b"]}],
            [IceServer(("turns:b",))],
        ),
    ],
)
async def test_O27_D11_ice_servers_with_their_credentials(
    listed: list[Any], servers: list[IceServer]
) -> None:
    async with serving() as service, aiohttp.ClientSession() as http:
        service.on("GET", "/x/config", Answer(200, {"iceServers": listed}))
        base = service.url.replace("http://", "ws://") + "/x"
        assert list(await ice_servers(http, base, timeout_s=20)) == servers
        assert service.paths() == ["GET /x/config"]
        assert "Authorization" not in service.last().headers


async def test_D14_an_empty_list_of_ice_servers_means_none() -> None:
    async with serving() as service, aiohttp.ClientSession() as http:
        service.on("GET", "/config", Answer(200, {"iceServers": []}))
        assert await ice_servers(http, service.url, timeout_s=20) == ()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(500, {"iceServers": [{"urls": "stun:a"}]}),
        Answer(200, {}),
        Answer(200, [1]),
        Answer(200, {"iceServers": "stun:a"}),
        Answer(200, b"\xff\xfe"),
        Answer(200, b"[" * 60_000),
        Answer(200, b" " * 70_000),
    ],
)
async def test_O27_any_failure_means_public_stun(answer: Answer) -> None:
    async with serving() as service, aiohttp.ClientSession() as http:
        service.on("GET", "/config", answer)
        found = await ice_servers(http, service.url, timeout_s=20)
    assert found == FALLBACK_ICE_SERVERS == (IceServer(("stun:stun.l.google.com:19302",)),)


async def test_O27_nobody_there_means_public_stun() -> None:
    async with serving() as service:
        url = service.url
    async with aiohttp.ClientSession() as http:
        assert await ice_servers(http, url, timeout_s=20) == FALLBACK_ICE_SERVERS


def test_O81_where_a_spectator_posts() -> None:
    made = whep_url("https://h:1/live/s-1/?x=1#y", "a b&c")
    assert made == "https://h:1/live/s-1/whep?token=a%20b%26c"
    for wrong in ("rtmp://h/live", "h/live", "file:///etc"):
        with pytest.raises(ValueError, match="not an http"):
            whep_url(wrong, "t")


def test_O22_O101_the_session_id_comes_from_the_token() -> None:
    for padded in (False, True):
        token = jwt({"session_id": "s-1", "n": "?>~"}, padded=padded)
        assert ClientCredentials("ws://h", token, 60).session_id == "s-1"


SHAPE = r"^session_token is not a valid JWT \(expected 3 dot-separated parts\)$"


@pytest.mark.parametrize(
    ("url", "token", "text"),
    [
        (" ", jwt({"session_id": "s"}), "signaling_url"),
        ("", jwt({"session_id": "s"}), "signaling_url"),
        ("ws://h", "  ", "session_token"),
        ("ws://h", "", "session_token"),
        ("ws://h", "abc", SHAPE),
        ("ws://h", "a.b", SHAPE),
        ("ws://h", "a.b.c.d", SHAPE),
        ("ws://h", "a.!!!.c", "payload"),
        ("ws://h", "a.YWJj.c", "payload"),
        ("ws://h", "a.ü.c", "payload"),
        ("ws://h", jwt({}), "session_id claim"),
        ("ws://h", jwt({"session_id": ""}), "session_id claim"),
        ("ws://h", jwt({"session_id": 5}), "session_id claim"),
        ("ws://h", jwt(["session_id"]), "session_id claim"),
    ],
)
def test_O101_what_is_no_credential_is_refused(url: str, token: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        ClientCredentials(url, token, 60)
    assert len(token.strip()) < 9 or token not in str(caught.value)


def test_O101_repr_shows_eight_characters_of_the_token() -> None:
    token = jwt({"session_id": "s-1"})
    shown = repr(ClientCredentials("ws://h", token, 60))
    assert token[:8] in shown
    assert token[:9] not in shown


def test_O101_credentials_go_to_json_and_back() -> None:
    token = jwt({"session_id": "s-1"})
    plain = ClientCredentials("ws://h", token, 60)
    assert plain.to_dict() == {
        "session_id": "s-1",
        "signaling_url": "ws://h",
        "session_token": token,
        "expires_in": 60,
    }
    able = ClientCredentials("ws://h", token, 60, StreamerCapabilities(image_to_video=True))
    assert able.to_dict()["capabilities"] == {"image_to_video": True}
    for made in (plain, able):
        assert ClientCredentials.from_dict(made.to_dict()) == made


@pytest.mark.parametrize("missing", ["signaling_url", "session_token", "expires_in"])
def test_O101_a_missing_key_is_a_key_error(missing: str) -> None:
    whole = ClientCredentials("ws://h", jwt({"session_id": "s"}), 60).to_dict()
    del whole[missing]
    with pytest.raises(KeyError, match=missing):
        ClientCredentials.from_dict(whole)


def test_O101_the_session_id_given_is_ignored() -> None:
    whole = ClientCredentials("ws://h", jwt({"session_id": "s"}), 60).to_dict()
    assert ClientCredentials.from_dict({**whole, "session_id": "other"}).session_id == "s"


@pytest.mark.parametrize("said", [None, {}, {"image_to_video": "yes"}, []])
def test_O101_O20_credentials_state_no_capabilities_that_nobody_stated(said: Any) -> None:
    unknown = StreamerCapabilities.from_dict(said)
    made = ClientCredentials("ws://h", jwt({"session_id": "s-1"}), 60, unknown)
    assert unknown == StreamerCapabilities(image_to_video=False)
    assert "capabilities" not in made.to_dict()
    denied = ClientCredentials("ws://h", jwt({"session_id": "s-1"}), 60, StreamerCapabilities())
    assert denied.to_dict()["capabilities"] == {"image_to_video": False}


def test_O102_capabilities_go_to_json_and_back() -> None:
    assert StreamerCapabilities().to_dict() == {"image_to_video": False}
    able = StreamerCapabilities(image_to_video=True)
    assert StreamerCapabilities.from_dict(able.to_dict()) == able
