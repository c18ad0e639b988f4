"""How STUN and TURN servers are named in a setting (G149)."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.app.settings import Settings, load_settings
from salon.app.variables import ice_servers
from salon.base import ConfigurationError
from salon.transport.packets import IceServer

TURN = {"urls": "turn:t.example:3478", "username": "ann", "credential": "turn-secret"}


def load(text: str) -> Settings:
    return load_settings({"SALON_ICE_SERVERS": text}, env_file=None, overrides={})


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", []),
        (" , ", []),
        ("stun:a.example", ["stun:a.example"]),
        (
            " stun:a.example:3478 ,stuns:192.0.2.1,",
            ["stun:a.example:3478", "stuns:192.0.2.1"],
        ),
    ],
)
def test_urls_are_separated_by_commas(text: str, urls: list[str]) -> None:
    assert ice_servers(text) == tuple(IceServer((url,)) for url in urls)


@pytest.mark.parametrize(
    "text",
    [
        "stun:[2001:db8::1]:3478",
        "stun:a.example:99999",
        "stun:a.example:0",
        "stun:a.example?transport=udp",
        "turn:a.example",
        '[{"urls": "turn:a.example", "username": "ann"}]',
        '[{"urls": ["stun:a.example", "turn:a.example"]}]',
    ],
)
def test_what_the_carrier_could_not_use_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError):
        load(text)


def test_json_is_in_the_browsers_shape() -> None:
    text = json.dumps([TURN, {"urls": ["stun:a", "stun:b"], "credential": None, "other": 1}])
    assert ice_servers(f" {text}\n") == (
        IceServer(("turn:t.example:3478",), "ann", "turn-secret"),
        IceServer(("stun:a", "stun:b")),
    )
    assert ice_servers("[]") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://a.example", "stun:host"),
        ("stun://a.example", "stun:host"),
        ("stun:", "stun:host"),
        ("stun:a.example b.example", "stun:host"),
        ("stun:a.example?transport=udp", "stun:host"),
        ("turn:a.example?transport=sctp", "transport=udp"),
        ("turn:ann:pw@a.example", "stun:host"),
        ("stun:" + "a" * 256, "stun:host"),
        ("stun:a.example\nstun:b.example", "stun:host"),
        ("[", "not valid JSON"),
        ("[1]", "must be an object"),
        ('["stun:a.example"]', "must be an object"),
        ("[{}]", '"urls"'),
        ('[{"urls": []}]', '"urls"'),
        ('[{"urls": 5}]', '"urls"'),
        ('[{"urls": ["stun:a", 5]}]', '"urls"'),
        ('[{"urls": "ftp:a"}]', "stun:host"),
        ('[{"urls": "turn:a", "username": 5}]', "texts"),
        ('[{"urls": "turn:a", "credential": ["x"]}]', "texts"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("?", "[?]")):
        ice_servers(text)
    with pytest.raises(ConfigurationError, match="SALON_ICE_SERVERS"):
        load(text)


def test_a_credential_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        settings = load(json.dumps([TURN]))
    assert settings.ice_servers[0].credential == "turn-secret"
    for shown in (repr(settings), str(settings.ice_servers), caplog.text):
        assert "turn-secret" not in shown
    assert "turn-secret" in settings.secrets()  # what the logs mask


@pytest.mark.parametrize("wrong", [{"urls": 5}, {"username": 5}])
def test_a_credential_beside_a_mistake_is_not_shown(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(json.dumps([TURN | wrong]))
    assert "turn-secret" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        load(json.dumps([TURN])[:-1])
    assert "turn-secret" not in str(caught.value)


@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["urls", "username", "credential"]), inner)
        ),
    ).map(lambda value: json.dumps([value]))
)
def test_any_text_is_servers_or_a_value_error(text: str) -> None:
    try:
        found = ice_servers(text)
    except ValueError:
        return
    assert all(isinstance(url, str) for server in found for url in server.urls)
