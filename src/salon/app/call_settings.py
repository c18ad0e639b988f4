"""The settings of calls: admission, handlers, files, sounds."""

# ruff: noqa: RUF009 - `setting` makes a dataclass field, not a shared default
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salon.app import variables as var
from salon.app.variables import setting
from salon.base import ConfigurationError

if TYPE_CHECKING:
    from salon.app.call_record_sinks import RecordTarget
    from salon.gateway.options import AmbianceOption

_MIN_SECRET = 16
_MAX_BYTES = 2**50
CODECS = ("opus", "g722", "pcmu", "pcma", "telephone_event")
_http_url = var.url("http", "https")


def urls(text: str) -> tuple[str, ...]:
    """http(s) URLs, comma-separated."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    for item in items:
        _http_url(item)
    return tuple(items)  # as written: a slash at the end means another page to some


def headers(text: str) -> tuple[tuple[str, str], ...]:
    """Names and values of HTTP headers, as a JSON object or a JSON list of pairs."""
    wrong = ValueError('must be JSON: {"Name": "value"} or [["Name", "value"]]')
    try:
        given = json.loads(text)
        pairs = list(given.items()) if isinstance(given, dict) else [(n, v) for n, v in given]
    except (ValueError, TypeError):
        raise wrong from None
    for pair in pairs:
        for item in pair:
            if not isinstance(item, str) or not item.isascii() or not item.isprintable():
                raise wrong
        if not pair[0] or any(char in pair[0] for char in ' :\t"(),/'):
            raise ValueError("a header has an impossible name")
    return tuple(pairs)


def method(text: str) -> str:
    """An HTTP method that carries a body."""
    value = text.strip().upper()
    if value not in {"POST", "PUT", "PATCH"}:
        raise ValueError("must be POST, PUT or PATCH")
    return value


def codecs(text: str) -> tuple[str, ...]:
    """Names of codecs, comma-separated; those of telephony that calls here never have pass."""
    names = [item.strip().lower().replace("-", "_") for item in text.split(",") if item.strip()]
    unknown = [name for name in names if name not in {*CODECS, "g729"}]
    if unknown or not names:
        raise ValueError(f"must be some of {', '.join(CODECS)}")
    return tuple(dict.fromkeys(name for name in names if name in CODECS))


def record_target(text: str) -> str:
    """A `RecordTarget` as text, checked."""
    from salon.app.call_record_sinks import RecordTarget

    try:
        RecordTarget.parse(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return text


def ambiance(text: str) -> str:
    """An `AmbianceOption` as JSON, or the path of its sound."""
    _ambiance(text)
    return text


def _ambiance(text: str) -> AmbianceOption:
    from pydantic import ValidationError

    from salon.gateway.options import AmbianceOption

    if not text.strip().startswith("{"):
        return AmbianceOption(path=text.strip())
    try:
        return AmbianceOption.model_validate_json(text)
    except ValidationError:
        raise ValueError(
            'must be a sound or JSON: {"path": "office.wav", "normalLevel": 0.3, "duckLevel": 0.1}'
        ) from None


def pcm_rate(text: str) -> int:
    """8000 or 16000."""
    if text.strip() not in {"8000", "16000"}:
        raise ValueError("must be 8000 or 16000")
    return int(text)


def _days(name: str, what: str, default: float = 0.0) -> float:
    return setting(
        default, name, parse=var.seconds(0, 36_500), doc=f"Days that {what} are kept; 0 for ever."
    )


def _bytes(name: str, what: str) -> int:
    return setting(
        0,
        name,
        parse=var.integer(0, _MAX_BYTES),
        doc=f"Bytes that {what} may take, the oldest go first; 0 without limit.",
    )


@dataclass(frozen=True)
class CallSettings:
    """What is set about calls of every carrier; part of `Settings`."""

    config: Path | None = setting(
        None,
        "SALON_CONFIG",
        parse=var.path,
        doc="Configuration file (TOML) of a call gateway; the environment wins over it.",
    )
    unique_call_ids: bool = setting(
        True,
        "SALON_UNIQUE_CALL_IDS",
        parse=var.switch,
        doc="Refuse a second call with a live id (409); off: it takes the place of the first.",
    )
    early_seconds: float = setting(
        2.0,
        "SALON_EARLY_SECONDS",
        parse=var.seconds(0, 30),
        doc="Seconds of sound from before the answer that are kept for recognition.",
    )
    pcm_out_rate: int = setting(
        16_000,
        "SALON_PCM_OUT_RATE",
        parse=pcm_rate,
        doc="Samples per second of what calls in the codec pcm are sent: 16000 or 8000.",
    )
    codecs: tuple[str, ...] = setting(
        (),
        "SALON_CODECS",
        parse=codecs,
        doc="What WebRTC calls may agree on: opus,g722,pcmu,pcma,telephone_event. Default: all.",
    )
    call_handler: str = setting(
        "controller",
        "SALON_CALL_HANDLER",
        parse=var.one_of("controller", "webhook"),
        doc="Who drives calls that name no handler: controller (their client) or webhook.",
    )
    call_webhook_urls: tuple[str, ...] = setting(
        (),
        "SALON_CALL_WEBHOOK_URLS",
        "SALON_CALL_WEBHOOK_URL",
        parse=urls,
        secret=True,
        doc="Where calls with handler=webhook are announced, comma-separated, one after the other.",
    )
    call_webhook_method: str = setting(
        "POST",
        "SALON_CALL_WEBHOOK_METHOD",
        parse=method,
        doc="Method of that request: POST, PUT or PATCH.",
    )
    call_webhook_headers: tuple[tuple[str, str], ...] = setting(
        (),
        "SALON_CALL_WEBHOOK_HEADERS",
        parse=headers,
        secret=True,
        doc='Headers of that request, as JSON: {"Authorization": "Bearer ..."}.',
    )
    call_webhook_secret: str | None = setting(
        None,
        "SALON_CALL_WEBHOOK_SECRET",
        parse=var.secret(_MIN_SECRET),
        secret=True,
        doc="Secret that signs that request; default: it is not signed.",
    )
    accept_timeout: float = setting(
        50.0,
        "SALON_ACCEPT_TIMEOUT",
        parse=var.seconds(0.1, 3600),
        doc="Seconds within which the webhook has to take a call.",
    )
    bridge_keys: bool = setting(
        False,
        "SALON_BRIDGE_KEYS",
        parse=var.switch,
        doc="Send keys pressed in a call on to the calls it is bridged to.",
    )
    speech_providers: str | None = setting(
        None,
        "SALON_SPEECH_PROVIDERS",
        doc="Python function that registers speech services calls may name, as module:function.",
    )
    ambiance: str | None = setting(
        None,
        "SALON_AMBIANCE",
        parse=ambiance,
        doc="Background of calls: a sound below the media folder, or JSON with path and levels.",
    )
    media_hosts: frozenset[str] = setting(
        frozenset(),
        "SALON_MEDIA_HOSTS",
        parse=var.names,
        doc="Hosts in private networks that calls may take sounds from and pass media to.",
    )
    media_cache_dir: Path | None = setting(
        None,
        "SALON_MEDIA_CACHE_DIR",
        parse=var.path,
        doc="Folder of speech and sounds kept ready. Default: mediacache in the data folder.",
    )
    media_cache_bytes: int = setting(
        1_073_741_824,
        "SALON_MEDIA_CACHE_BYTES",
        parse=var.integer(0, _MAX_BYTES),
        doc="Bytes that folder may take; 0 keeps nothing.",
    )
    call_recordings_dir: Path | None = setting(
        None,
        "SALON_CALL_RECORDINGS_DIR",
        parse=var.path,
        doc="Folder of recordings calls ask for. Default: call-recordings in the data folder.",
    )
    call_events: bool = setting(
        True,
        "SALON_CALL_EVENTS",
        parse=var.switch,
        doc="Write an events file of each call that does not say dump=false.",
    )
    call_events_dir: Path | None = setting(
        None,
        "SALON_CALL_EVENTS_DIR",
        parse=var.path,
        doc="Folder of the events files. Default: events in the data folder.",
    )
    call_records: str | None = setting(
        None,
        "SALON_CALL_RECORDS",
        parse=record_target,
        secret=True,
        doc="Where the record of each call goes: a folder, an http(s) URL, or JSON (also S3).",
    )
    keep_recordings_days: float = _days("SALON_KEEP_RECORDINGS_DAYS", "recordings")
    keep_recordings_bytes: int = _bytes("SALON_KEEP_RECORDINGS_BYTES", "recordings")
    keep_events_days: float = _days("SALON_KEEP_EVENTS_DAYS", "events files", 30.0)
    keep_events_bytes: int = _bytes("SALON_KEEP_EVENTS_BYTES", "events files")
    keep_records_days: float = _days("SALON_KEEP_RECORDS_DAYS", "call records in a folder")
    keep_records_bytes: int = _bytes("SALON_KEEP_RECORDS_BYTES", "call records in a folder")

    @property
    def record_target(self) -> RecordTarget | None:
        """Where call records go."""
        from salon.app.call_record_sinks import RecordTarget

        return None if self.call_records is None else RecordTarget.parse(self.call_records)

    @property
    def background(self) -> AmbianceOption | None:
        """What plays behind calls."""
        return None if self.ambiance is None else _ambiance(self.ambiance)

    def call_secrets(self) -> tuple[str, ...]:
        """Secret values inside what is set here."""
        found: list[Any] = [value for _, value in self.call_webhook_headers]
        target = self.record_target
        if target is not None:
            found += [target.access_key, target.secret_key, *target.headers.values()]
        return tuple(filter(None, found))
