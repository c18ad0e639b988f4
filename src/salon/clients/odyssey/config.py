"""How a client is set up, in both generations of the published one (O1, O4-O9, section 2)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from salon.clients.odyssey.errors import MissingApiKeyError

COMPATIBLE_VERSION: Final = "1.3.0"
"""The version of the published client whose interface this one has."""
DEFAULT_API_URL: Final = "https://api.odyssey.ml"
API_URL_VARIABLE: Final = "ODYSSEY_API_URL"
"""Read when a `ClientConfig` is made without `api_url`."""


def _api_url() -> str:
    return os.environ.get(API_URL_VARIABLE) or DEFAULT_API_URL


@dataclass(frozen=True, slots=True)
class AdvancedConfig:
    """Retries while connecting, and how long to wait for a free streamer.

    `max_retries` 0 tries once. Delays are in ms; each is `retry_backoff_multiplier` times the one
    before, and at most `max_retry_delay_ms`. `queue_timeout_s` 0 fails at once when none is free.
    """

    max_retries: int = 5
    initial_retry_delay_ms: int = 1000
    max_retry_delay_ms: int = 2000
    retry_backoff_multiplier: float = 2.0
    queue_timeout_s: int = 30


@dataclass(frozen=True, slots=True)
class DevConfig:
    """The settings of versions up to 1.1.1 that pass the broker by (O8, O9).

    With `signaling_url` there is no call to the HTTP interface, and no token on the URL;
    `session_id` must be given then. `debug` is that of `ClientConfig`.
    """

    signaling_url: str | None = None
    session_id: str | None = None
    debug: bool = False


@dataclass(slots=True)
class ClientConfig:
    """All settings of a client. A key that is not text is a `TypeError`; an empty one is allowed
    until an operation needs one (O6, O7). The key is kept out of repr."""

    api_key: str = field(default="", repr=False)
    api_url: str = field(default_factory=_api_url)
    debug: bool = False
    advanced: AdvancedConfig = field(default_factory=AdvancedConfig)
    dev: DevConfig = field(default_factory=DevConfig)

    def __post_init__(self) -> None:
        if not isinstance(self.api_key, str):
            raise TypeError("api_key must be a string")
        if not isinstance(self.api_url, str):
            raise TypeError("api_url must be a string")
        if not isinstance(self.advanced, AdvancedConfig):
            raise TypeError("advanced must be an AdvancedConfig")
        if not isinstance(self.dev, DevConfig):
            raise TypeError("dev must be a DevConfig")
        if self.dev.signaling_url and not self.dev.session_id:
            raise ValueError("dev.session_id is required when dev.signaling_url is set")

    @property
    def debugging(self) -> bool:
        """Whether either generation's switch for debug logging is on (O1)."""
        return self.debug or self.dev.debug

    @property
    def base_url(self) -> str:
        """`api_url` without slashes at its end, for paths to be put behind it (O11)."""
        return self.api_url.strip().rstrip("/")

    @property
    def direct(self) -> bool:
        """Whether the broker is passed by (O9)."""
        return bool(self.dev.signaling_url)

    def require_api_key(self) -> str:
        """The key; `MissingApiKeyError`, a `ValueError`, if it is empty or blank (O7)."""
        if not self.api_key.strip():
            raise MissingApiKeyError
        return self.api_key


def make_config(api_key: str, kwargs: Mapping[str, Any]) -> ClientConfig:
    """The configuration for ``Odyssey(api_key, **kwargs)``; an unknown keyword is a `TypeError`
    (O4). `enable_telemetry` is not part of it: take it out before."""
    return ClientConfig(api_key, **kwargs)
