"""The configuration file and the options of the command line (G16, G22, G43, G46, G230, G232)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from salon.app.settings import Settings, load_settings
from salon.base import ConfigurationError
from salon.cli.serve import call_flags, serve

WHOLE = """
http_addr = "127.0.0.2:8081"
log_level = "debug"
log_file = "/var/log/salon/salon.log"
external_ip = "203.0.113.7"
accept_timeout = "1m30s"
graceful_shutdown = true
graceful_shutdown_timeout = 12
codecs = ["pcmu", "g729", "opus", "telephone_event"]
media_cache_path = "cache"
http_access_skip_paths = ["/health"]

[[ice_servers]]
urls = ["turn:turn.example.org:3478"]
username = "u"
credential = "c"

[handler]
type = "webhook"
urls = ["http://bot.example/a", "http://bot.example/b"]
method = "post"
headers = [["X-Key", "k"]]

[callrecord]
type = "local"
root = "records"

[ambiance]
path = "office.wav"
duck_level = 0.2
normalLevel = 0.4

[recording]
path = "kept"
"""


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None, **more: Any) -> Settings:
    file = tmp_path / "salon.toml"
    file.write_text(text)
    return load_settings(
        {"SALON_CONFIG": str(file), **(environ or {})}, env_file=None, overrides=more
    )


def test_G230_every_key_of_this_server(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE)
    assert (settings.host, settings.port) == ("127.0.0.2", 8081)
    assert (settings.log_level, settings.logs) == ("debug", Path("/var/log/salon"))
    assert settings.external_ip == "203.0.113.7"
    assert (settings.accept_timeout, settings.shutdown_timeout) == (90.0, 12.0)
    assert settings.codecs == ("pcmu", "opus", "telephone_event")
    assert settings.media_cache == Path("cache")
    assert settings.ice_servers[0].credential == "c"
    assert settings.call_webhook_urls == ("http://bot.example/a", "http://bot.example/b")
    assert settings.call_webhook_method == "POST"
    assert settings.call_webhook_headers == (("X-Key", "k"),)
    assert settings.record_target is not None
    assert settings.record_target.root == "records"
    assert settings.background is not None
    assert (settings.background.duck_level, settings.background.normal_level) == (0.2, 0.4)
    assert (settings.call_recordings, settings.events) == (Path("kept"), Path("kept"))
    assert settings.call_handler == "controller"
    assert settings.warnings == ()


def test_G230_flags_go_before_the_environment_before_env_before_the_file(tmp_path: Path) -> None:
    text = 'log_level = "error"\nhttp_addr = "127.0.0.1:1000"\nexternal_ip = "203.0.113.7"'
    file = tmp_path / "salon.toml"
    file.write_text(text)
    env = tmp_path / ".env"
    env.write_text(f"SALON_CONFIG={file}\nSALON_LOG_LEVEL=debug\nSALON_PORT=2000\n")
    settings = load_settings({"SALON_PORT": "3000"}, env_file=env)
    assert (settings.log_level, settings.port) == ("debug", 3000)
    assert settings.external_ip == "203.0.113.7"
    assert load_settings({}, env_file=env, overrides={"port": 4000}).port == 4000
    assert load_settings({}, env_file=None, overrides={"config": file}).port == 1000


def test_G153_G230_the_accept_timeout_with_and_without_a_file(tmp_path: Path) -> None:
    assert load_settings({}, env_file=None).accept_timeout == 50.0
    assert load(tmp_path, "").accept_timeout == 60.0
    assert load(tmp_path, 'accept_timeout = "500ms"').accept_timeout == 0.5
    assert load(tmp_path, 'accept_timeout = "1h"').accept_timeout == 3600
    assert load(tmp_path, "graceful_shutdown = false").shutdown_timeout == 0.0


def test_G230_what_is_not_served_is_named_once(tmp_path: Path) -> None:
    text = (
        'addr = "0.0.0.0"\nudp_port = 25060\ntls_port = 1\nfoo = 1\npeers = ["a"]\n'
        '[handler]\ntype = "playbook"\n[recording]\nformat = "pcmu"\nptime = 20\n'
        "[trunk_rules]\nx = 1\n"
    )
    warnings = [warning.partition(": ")[2] for warning in load(tmp_path, text).warnings]
    assert sorted(warnings) == [
        "addr, tls_port, trunk_rules, udp_port: telephony (SIP) is not served",
        "foo: not known",
        "handler: type 'playbook' is not served, only webhook",
        "peers: servers are not joined, each serves its own calls",
        "recording.format: files are WAV",
        "recording: ptime do nothing",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = ", "is not TOML"),
        ("log_level = 1", "log_level has to be text"),
        ('log_level = "loud"', "log_level='loud'"),
        ("http_addr = 1", "http_addr has the wrong form"),
        ('accept_timeout = "soon"', "accept_timeout has the wrong form"),
        ("callrecord = 1", "callrecord has to be a table"),
        ('[callrecord]\ntype = "tape"', "callrecord"),
        ('[handler]\ntype = "webhook"', "needs url or urls"),
        ('graceful_shutdown = "no"', "true or false"),
        ('codecs = ["mp9"]', "codecs"),
        ("[ambiance]\npath = 5", "ambiance"),
    ],
)
def test_G230_a_wrong_value_is_told_with_file_and_key(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as told:
        load(tmp_path, text)
    assert words in str(told.value)
    assert "salon.toml" in str(told.value)


def test_G230_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings({"SALON_CONFIG": str(tmp_path / "no.toml")}, env_file=None)


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        ("8080", None, 8080),
        ("127.0.0.2", "127.0.0.2", None),
        ("127.0.0.2:81", "127.0.0.2", 81),
        ("[::1]:82", "::1", 82),
        ("::1", "::1", None),
    ],
)
def test_G232_http(given: str, host: str | None, port: int | None) -> None:
    flags = call_flags({"http": given, "handler": None, "host": None, "port": None})
    assert (flags["host"], flags["port"]) == (host, port)


def test_G232_plain_flags_win_over_http() -> None:
    flags = call_flags({"http": "127.0.0.2:81", "host": "127.0.0.3", "port": None})
    assert (flags["host"], flags["port"]) == ("127.0.0.3", 81)


def test_G232_handler_is_a_url() -> None:
    flags = call_flags({"http": None, "handler": "http://bot.example/calls"})
    assert flags["call_webhook_urls"] == ("http://bot.example/calls",)
    with pytest.raises(ConfigurationError, match="playbooks"):
        call_flags({"http": None, "handler": "play.md"})


def test_G232_the_command_has_the_options() -> None:
    shown = CliRunner().invoke(serve, ["--help"]).output
    for flag in ("--conf", "--http", "--handler", "--external-ip", "--codecs", "--env-file"):
        assert flag in shown


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SALON_PCM_OUT_RATE": "44100"}, "8000 or 16000"),
        ({"SALON_EARLY_SECONDS": "99"}, "SALON_EARLY_SECONDS"),
        ({"SALON_CODECS": "mp9"}, "opus"),
        ({"SALON_CODECS": ","}, "opus"),
        ({"SALON_CALL_WEBHOOK_URLS": "ftp://x"}, "http"),
        ({"SALON_CALL_WEBHOOK_METHOD": "GET"}, "POST"),
        ({"SALON_CALL_WEBHOOK_HEADERS": "X: y"}, "JSON"),
        ({"SALON_CALL_WEBHOOK_HEADERS": '{"X": "a\\nb"}'}, "JSON"),
        ({"SALON_CALL_WEBHOOK_HEADERS": '{"X Y": "a"}'}, "impossible name"),
        ({"SALON_CALL_HANDLER": "webhook"}, "SALON_CALL_WEBHOOK_URLS"),
        ({"SALON_CALL_WEBHOOK_SECRET": "s" * 20}, "SALON_CALL_WEBHOOK_URLS"),
        ({"SALON_AMBIANCE": "{"}, "must be a sound"),
        ({"SALON_CALL_RECORDS": "{}"}, "callrecord"),
    ],
)
def test_settings_of_calls_that_are_wrong(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        load_settings(environ, env_file=None)
    assert words in str(told.value)


def test_G16_G22_G43_G46_settings_from_outside() -> None:
    settings = load_settings(
        {
            "SALON_UNIQUE_CALL_IDS": "no",
            "SALON_INVITE_TIMEOUT": "9",
            "SALON_EARLY_SECONDS": "0.5",
            "SALON_PCM_OUT_RATE": "8000",
            "SALON_AMBIANCE": "office.wav",
        },
        env_file=None,
    )
    assert settings.unique_call_ids is False
    assert (settings.invite_timeout, settings.early_seconds) == (9.0, 0.5)
    assert settings.pcm_out_rate == 8000
    assert settings.background is not None
    assert settings.background.path == "office.wav"
