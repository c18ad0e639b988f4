"""A TOML configuration file with the names of G230, as settings."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from salon.app.variables import Variable
from salon.base import ConfigurationError

ACCEPT_TIMEOUT_S: Final = 60.0
"""What a file means that does not say (G230)."""
_SIP: Final = frozenset(
    {
        "addr",
        "udp_port",
        "auto_learn_public_address",
        "useragent",
        "register_users",
        "rtp_bind_ip",
        "rtp_start_port",
        "rtp_end_port",
        "enable_rtp_latching",
        "enable_ice_lite",
        "tls_port",
        "tls_cert_file",
        "tls_key_file",
        "enable_srtp",
        "rewrites",
        "trunk_rules",
        "enable_options_response",
    }
)
"""About telephony, which this server has none of."""
_PASSED_OVER: Final = frozenset({"http_access_skip_paths"})
_RECORDING: Final = frozenset({"path", "format"})
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


@dataclass(slots=True)
class Config:
    """What a file says, by the fields of `Settings`."""

    values: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class _Reader:
    """Takes one file apart. What it does not know is named in one warning."""

    def __init__(self, path: Path, variables: Mapping[str, Variable]) -> None:
        self._path = path
        self._variables = variables
        self.config = Config()

    def read(self, table: Mapping[str, Any]) -> Config:
        keys: dict[str, Callable[[Any], None]] = {
            "http_addr": self._http_addr,
            "log_level": lambda value: self._text("log_level", "log_level", value),
            "log_file": lambda value: self._set("log_dir", "log_file", str(Path(value).parent)),
            "external_ip": lambda value: self._text("external_ip", "external_ip", value),
            "ice_servers": self._ice_servers,
            "graceful_shutdown_timeout": self._shutdown,
            "graceful_shutdown": self._graceful,
            "accept_timeout": self._accept,
            "codecs": self._codecs,
            "handler": self._handler,
            "callrecord": lambda value: self._json("call_records", "callrecord", value),
            "media_cache_path": lambda value: self._text(
                "media_cache_dir", "media_cache_path", value
            ),
            "ambiance": self._ambiance,
            "recording": self._recording,
        }
        self.config.values["accept_timeout"] = ACCEPT_TIMEOUT_S
        for key, take in keys.items():
            if key in table:
                try:
                    take(table[key])
                except (TypeError, ValueError, AttributeError):
                    raise self._wrong(key, "has the wrong form") from None
        if table.get("peers"):
            self._warn("peers: servers are not joined, each serves its own calls")
        given = set(table) - set(keys) - _PASSED_OVER - {"peers"}
        if about_sip := sorted(given & _SIP):
            self._warn(f"{', '.join(about_sip)}: telephony (SIP) is not served")
        if unknown := sorted(given - _SIP):
            self._warn(f"{', '.join(unknown)}: not known")
        return self.config

    def _set(self, name: str, key: str, text: str) -> None:
        self.config.values[name] = self._variables[name].read(text, f"{self._path}: {key}")

    def _text(self, name: str, key: str, value: Any) -> None:
        if not isinstance(value, str):
            raise self._wrong(key, "has to be text")
        if value.strip():
            self._set(name, key, value)

    def _json(self, name: str, key: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise self._wrong(key, "has to be a table")
        self._set(name, key, json.dumps(value))

    def _http_addr(self, value: str) -> None:
        host, port = split_address(value)
        if host:
            self._set("host", "http_addr", host)
        if port:
            self._set("port", "http_addr", port)

    def _ice_servers(self, value: list[dict[str, Any]]) -> None:
        self._set("ice_servers", "ice_servers", json.dumps(value))

    def _shutdown(self, value: Any) -> None:
        seconds = _seconds(value)
        self._set("shutdown_timeout", "graceful_shutdown_timeout", f"{seconds}")

    def _graceful(self, value: Any) -> None:
        if not isinstance(value, bool):
            raise self._wrong("graceful_shutdown", "has to be true or false")
        if not value:
            self.config.values["shutdown_timeout"] = 0.0

    def _accept(self, value: Any) -> None:
        self._set("accept_timeout", "accept_timeout", f"{_seconds(value)}")

    def _codecs(self, value: Any) -> None:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._wrong("codecs", "has to be a list of names")
        self._set("codecs", "codecs", ",".join(value))

    def _handler(self, value: dict[str, Any]) -> None:
        kind = value.get("type")
        if kind != "webhook":
            self._warn(f"handler: type {kind!r} is not served, only webhook")
            return
        urls = value.get("urls") or [value["url"]] if "url" in value or "urls" in value else []
        if not urls:
            raise self._wrong("handler", "needs url or urls")
        self._set("call_webhook_urls", "handler.url", ",".join(urls))
        if "method" in value:
            self._set("call_webhook_method", "handler.method", value["method"].upper())
        if "headers" in value:
            self._set("call_webhook_headers", "handler.headers", json.dumps(value["headers"]))

    def _ambiance(self, value: dict[str, Any]) -> None:
        names = {"duck_level": "duckLevel", "normal_level": "normalLevel"}
        names["transition_speed"] = "transitionSpeed"
        table = {names.get(key, key): item for key, item in value.items()}
        self._json("ambiance", "ambiance", table)

    def _recording(self, value: dict[str, Any]) -> None:
        if "path" in value:
            for name in ("call_recordings_dir", "call_events_dir"):
                self._text(name, "recording.path", value["path"])
        if value.get("format", "wav") != "wav":
            self._warn("recording.format: files are WAV")
        if unused := sorted(set(value) - _RECORDING):
            self._warn(f"recording: {', '.join(unused)} do nothing")

    def _wrong(self, key: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: {key} {what}")

    def _warn(self, text: str) -> None:
        self.config.warnings.append(f"{self._path}: {text}")


def read_config(path: Path, variables: tuple[Variable, ...]) -> Config:
    """Read a file. `ConfigurationError` if it can't be read or a value is wrong; what is not
    served here, or not known, is a warning that names it."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not TOML ({error})") from None
    return _Reader(path, {variable.field: variable for variable in variables}).read(table)


def split_address(text: str) -> tuple[str, str]:
    """Host and port of ``host:port``, ``host``, ``port`` or ``[v6]:port``; "" for what is not
    there."""
    value = text.strip()
    if value.isdigit():
        return "", value
    if value.startswith("["):
        host, _, rest = value[1:].partition("]")
        return host, rest.removeprefix(":")
    if value.count(":") > 1:
        return value, ""
    host, _, port = value.partition(":")
    return host, port


def _seconds(value: Any) -> float:
    """A number of seconds, or a text like ``50s``, ``1m30s``, ``500ms``. `ValueError`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = value.strip()
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        return float(text)
    hours, minutes, seconds, milliseconds = match.groups()
    return (
        int(hours or 0) * 3600
        + int(minutes or 0) * 60
        + float(seconds or 0)
        + int(milliseconds or 0) / 1000
    )
