"""Settings: where they come from, what is said when they are wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from salon.app.settings import VARIABLES, Settings, load_settings, read_env_file
from salon.base import ConfigurationError, MissingExtraError

ROOT = Path(__file__).resolve().parents[3]


def load(environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    return load_settings(environ or {}, env_file=None, overrides=overrides)


def test_defaults_listen_on_this_machine_only() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.exposed) == ("127.0.0.1", 8000, False)
    assert settings.database_url == f"sqlite:///{Path('data/salon.db')}"
    assert settings.logs == Path("data/logs")
    assert settings.warnings == ()


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SALON_PORT=1\nSALON_MAX_CALLS=7\nSALON_TTS=flite\n")
    environ = {"SALON_PORT": "2", "SALON_MAX_CALLS": "8"}
    settings = load_settings(environ, env_file=file, overrides={"port": 3, "host": None})
    assert (settings.port, settings.max_calls, settings.tts) == (3, 8, "flite")
    assert environ == {"SALON_PORT": "2", "SALON_MAX_CALLS": "8"}


def test_short_names_work_beside_the_long_ones() -> None:
    assert load({"PORT": "9000", "LOG_LEVEL": "DEBUG", "HOST": "127.0.0.2"}) == Settings(
        port=9000, log_level="debug", host="127.0.0.2"
    )
    assert load({"PORT": "9000", "SALON_PORT": "9001"}).port == 9001
    assert load({"SALON_PORT": " ", "PORT": "9000"}).port == 9000


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PORT": "eighty"}, ["PORT='eighty'", "whole number from 0 to 65535"]),
        ({"SALON_PORT": "70000"}, ["SALON_PORT", "0 to 65535"]),
        ({"SALON_STT": "whisper"}, ["SALON_STT='whisper'", "embedded, openai, none"]),
        ({"SALON_RECORDING": "maybe"}, ["SALON_RECORDING", "true or false"]),
        ({"SALON_RAW_PAYLOAD": "hide"}, ["SALON_RAW_PAYLOAD='hide'", "keep, redact, drop"]),
        ({"SALON_SHUTDOWN_TIMEOUT": "soon"}, ["number of seconds"]),
        ({"SALON_SHUTDOWN_TIMEOUT": "-1"}, ["from 0 to 3600"]),
        ({"SALON_LLM_BASE_URL": "localhost:1"}, ["http://, https://"]),
        ({"SALON_LLM_BASE_URL": "http://u:pw@h/v1"}, ["must not hold a password"]),
        ({"SALON_LLM_BASE_URL": "http://[h"}, ["must be a URL"]),
        ({"SALON_LLM_BASE_URL": "http://h/v1"}, ["SALON_LLM_MODEL is missing"]),
        ({"SALON_LLM_MODEL": "m"}, ["SALON_LLM_BASE_URL is missing"]),
        ({"SALON_STT": "openai"}, ["SALON_STT_BASE_URL"]),
        ({"SALON_ALLOWED_ORIGINS": "app.example"}, ["https://host[:port]"]),
        ({"SALON_ALLOWED_ORIGINS": "https://a.example/path"}, ["https://host[:port]"]),
        ({"SALON_ALLOWED_ORIGINS": "https://[a"}, ["https://host[:port]"]),
        ({"SALON_STORE_URL": "mysql://x"}, ["memory://", "sqlite:///", "postgresql://"]),
        ({"SALON_TLS_CERT": "/none.pem"}, ["SALON_TLS_KEY is not"]),
        ({"SALON_TLS_KEY": "/none.pem"}, ["SALON_TLS_CERT is not"]),
        ({"SALON_TLS_CERT": "/n.pem", "SALON_TLS_KEY": "/n.key"}, ["/n.pem", "no such file"]),
        ({"SALON_AGENT": "/none.py"}, ["SALON_AGENT='/none.py'", "no such file"]),
        ({"SALON_KNOWLEDGE_DIR": "/none"}, ["SALON_KNOWLEDGE_DIR", "no such folder"]),
        ({"SALON_DATA_DIR": __file__}, ["is not a folder"]),
        ({"SALON_MORE_AGENTS": "a.py, b.py,a.py"}, ["SALON_MORE_AGENTS", "a.py is named twice"]),
        ({"SALON_AGENT_VOICES": "Anna"}, ["SALON_AGENT_VOICES", "'Anna' is not name=voice"]),
        ({"SALON_AGENT_VOICES": "Anna="}, ["write Anna=en-us+f3,Bruno=en-gb"]),
        ({"SALON_AGENT_VOICES": "Anna=a,anna=b"}, ["anna is named twice"]),
        ({"SALON_BRIDGE": "perhaps"}, ["SALON_BRIDGE", "true or false"]),
        ({"SALON_BRIDGE_PEOPLE": "1"}, ["SALON_BRIDGE_PEOPLE", "from 2 to 100"]),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    environ: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(environ)
    for word in words:
        assert word in str(caught.value)


def test_both_certificates_exclude_each_other(tmp_path: Path) -> None:
    file = tmp_path / "x.pem"
    file.touch()
    with pytest.raises(ConfigurationError, match="exclude each other"):
        load(tls_cert=file, tls_key=file, tls_self_signed=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "salon.example"])
def test_beyond_loopback_a_key_is_demanded(host: str) -> None:
    with pytest.raises(ConfigurationError, match="SALON_API_KEY must be set"):
        load({"HOST": host})
    assert load({"HOST": host, "SALON_API_KEY": "x" * 16}).exposed


@pytest.mark.parametrize("key", ["short", "has a space in it ...", "umläute-und-mehr-davon"])
def test_a_weak_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"SALON_API_KEY": key})
    assert key not in str(caught.value)
    assert "SALON_API_KEY=(hidden)" in str(caught.value)


OTHER_FORM = {"store_url", "ice_servers", "organization_keys", "twilio_auth_token"} | {
    "smtp_url",
    "imap_url",
    "call_webhook_urls",
    "call_webhook_headers",
    "call_records",
}


def test_secrets_stay_out_of_the_repr() -> None:
    secrets = {
        variable.name: f"very-secret-value-{index}"
        for index, variable in enumerate(VARIABLES)
        if variable.secret and variable.field not in OTHER_FORM
    }
    turn = '[{"urls": "turn:turn.example.org", "username": "u", "credential": "very-secret-turn"}]'
    forms = {
        "SALON_ICE_SERVERS": turn,
        "SALON_ORGANIZATION_KEYS": "acme=very-secret-of-acme",
        "SALON_TWILIO_AUTH_TOKEN": "very-secret-twilio",
        "SALON_TWILIO_ACCOUNT_SID": "AC1",
        "SALON_TWILIO_FROM_NUMBER": "+15551234567",
        "SALON_PUBLIC_URL": "https://salon.example",
        "SALON_SMTP_URL": "smtps://u:very-secret-smtp@mail.example",
        "SALON_EMAIL_FROM": "salon@example.org",
        "SALON_IMAP_URL": "imaps://u:very-secret-imap@mail.example",
        "SALON_CALL_WEBHOOK_URLS": "https://bot.example/very-secret-path",
        "SALON_CALL_WEBHOOK_HEADERS": '{"X-Key": "very-secret-header"}',
        "SALON_CALL_RECORDS": '{"type": "s3", "bucket": "b", "access_key": "very-secret-access",'
        ' "secret_key": "very-secret-key"}',
    }
    settings = load(secrets | forms)
    assert set(settings.secrets()) == set(secrets.values()) | {
        "very-secret-turn",
        "very-secret-of-acme",
        "very-secret-twilio",
        "very-secret-smtp",
        "very-secret-imap",
        "very-secret-header",
        "very-secret-access",
        "very-secret-key",
    }
    assert "very-secret" not in repr(settings.ice_servers)
    assert "very-secret" not in repr(settings)


def test_unknown_variables_are_warned_about_with_a_guess() -> None:
    settings = load({"SALON_MAX_CALL": "3", "SALON_ZZZ": "1", "OTHER": "1"})
    assert settings.warnings == (
        "SALON_MAX_CALL is not a setting of Salon; did you mean SALON_MAX_CALLS?",
        "SALON_ZZZ is not a setting of Salon",
    )


def test_an_unknown_override_is_our_own_mistake() -> None:
    with pytest.raises(TypeError, match="colour"):
        load(colour="red")


def test_an_unreadable_env_file_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"SALON_AGENT_NAME=\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings({}, env_file=file)


def test_an_env_file_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SALON_PORT=1\n")
    monkeypatch.setitem(sys.modules, "dotenv", None)
    with pytest.raises(MissingExtraError, match=r"salon\[serve\]"):
        read_env_file(tmp_path / ".env")


def test_lists_and_paths_are_read() -> None:
    settings = load(
        {
            "SALON_ALLOWED_HOSTS": "Salon.Example, ,b.example",
            "SALON_ALLOWED_ORIGINS": "HTTPS://App.example:8443",
            "SALON_DATA_DIR": "~/salon",
            "SALON_RECORDING": "off",
            "SALON_RAW_PAYLOAD": "Redact",
            "SALON_TLS_SELF_SIGNED": "yes",
            "SALON_MORE_AGENTS": "~/a.py, b.py,",
            "SALON_AGENT_VOICES": "Anna Lee = en-us+f3, Bruno=en-gb,",
        }
    )
    assert settings.more_agents == (Path.home() / "a.py", Path("b.py"))
    assert settings.agent_voices == (("Anna Lee", "en-us+f3"), ("Bruno", "en-gb"))
    assert settings.allowed_hosts == {"salon.example", "b.example"}
    assert settings.allowed_origins == {"https://app.example:8443"}
    assert settings.data_dir == Path.home() / "salon"
    assert (settings.recording, settings.tls) == (False, True)
    assert settings.raw_payload == "redact"
    assert settings.browser_policy.hosts == {"salon.example", "b.example", "127.0.0.1"}


def test_env_example_names_every_setting_with_its_default() -> None:
    """`.env.example` is documentation; what stands in it commented out is the truth."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = {
        line.lstrip("# ").partition("=")[0]
        for line in text.splitlines()
        if line.startswith("#SALON_")
    }
    assert named == {variable.name for variable in VARIABLES}
    for variable in VARIABLES:
        assert variable.doc in text, variable.name
    assert set(read_env_file(ROOT / ".env.example")) == set()


def test_env_example_parses_when_everything_is_switched_on(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    active = "\n".join(line.removeprefix("#") for line in text.splitlines() if "#SALON_" in line)
    file = tmp_path / ".env"
    file.write_text(active)
    defaults = {
        name: value
        for name, value in read_env_file(file).items()
        if value and "/path/" not in value
    }
    for variable in VARIABLES:
        if variable.name in defaults:
            value = variable.read(defaults[variable.name], variable.name)
            default = getattr(Settings(), variable.field)
            assert default is None or value == default or value == str(default), variable.name


LONG_A, LONG_B = "a" * 20, "b" * 20


def test_organizations_have_keys_of_their_own() -> None:
    given = f" acme={LONG_A}, beta.inc={LONG_B} "
    settings = load({"SALON_API_KEY": "m" * 20, "SALON_ORGANIZATION_KEYS": given})
    assert dict(settings.organization_keys) == {"acme": LONG_A, "beta.inc": LONG_B}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("acme", "acme=KEY1"),
        (f"ac me={LONG_A}", "acme=KEY1"),
        ("acme=short", "at least 16"),
        (f"acme={LONG_A},acme={LONG_B}", "twice"),
        (f"acme={LONG_A},beta={LONG_A}", "are the same"),
        (f"acme={'m' * 20}", "are the same"),
    ],
)
def test_organization_keys_are_told_apart(given: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        load({"SALON_API_KEY": "m" * 20, "SALON_ORGANIZATION_KEYS": given})
    assert LONG_A not in str(refused.value)


def test_organization_keys_need_the_master_key() -> None:
    with pytest.raises(ConfigurationError, match="SALON_API_KEY"):
        load({"SALON_ORGANIZATION_KEYS": f"acme={LONG_A}"})


TWILIO = {
    "SALON_TWILIO_ACCOUNT_SID": "AC1",
    "SALON_TWILIO_AUTH_TOKEN": "token",
    "SALON_TWILIO_FROM_NUMBERS": "+15551234567, 12345",
    "SALON_PUBLIC_URL": "https://salon.example/",
}


def test_twilio_needs_its_settings_together() -> None:
    settings = load(TWILIO)
    assert settings.twilio_from_numbers == ("+15551234567", "12345")
    assert settings.public_url == "https://salon.example"
    assert "salon.example" in settings.browser_policy.hosts
    for name in TWILIO:
        with pytest.raises(ConfigurationError, match="belong together"):
            load({key: value for key, value in TWILIO.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SALON_TWILIO_FROM_NUMBERS", "0049 1"),
        ("SALON_PUBLIC_URL", "salon.example"),
        ("SALON_PUBLIC_URL", "ftp://salon.example"),
        ("SALON_PUBLIC_URL", "https://salon.example/path"),
        ("SALON_PUBLIC_URL", "https://salon.example:x"),
        ("SALON_PUBLIC_URL", "https://me@salon.example"),
    ],
)
def test_wrong_numbers_and_origins_are_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        load(TWILIO | {name: value})


def test_outgoing_webhooks_are_signed() -> None:
    with pytest.raises(ConfigurationError, match="SALON_WEBHOOK_SECRET"):
        load({"SALON_WEBHOOK_URL": "https://other.example/in"})
