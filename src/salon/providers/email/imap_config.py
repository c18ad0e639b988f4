"""Settings of a mailbox that is read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from salon.base import is_loopback
from salon.providers.email.address import check_line

_PORTS = {"implicit": 993, "starttls": 143, "none": 143}


class IMAPConfig(BaseModel):
    """Server, mailbox and times (in seconds).

    `tls` ``none`` is for a server on this machine, anywhere else only with `allow_plaintext`.
    `timeout` is for one answer of the server. New mail is announced by servers with IDLE, which is
    renewed after `idle_renewal`; all others are asked every `poll_interval`. After
    `max_failures` connections in a row that failed, the source gives up (its runner may start it
    again); between them it waits `reconnect_delay`, doubling up to `max_reconnect_delay`.
    A message that the core does not take is offered again after `retry_delay`, doubling up to
    an hour; after `max_attempts` it stays unseen until the next start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, max_length=255)
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    allow_plaintext: bool = False
    ca_file: Path | None = None
    username: str = Field(min_length=1)
    password: SecretStr
    mailbox: str = Field(default="INBOX", min_length=1, max_length=255)
    automatic: Literal["skip", "emit"] = "skip"
    idle: bool = True
    connect_timeout: float = Field(default=10.0, gt=0)
    timeout: float = Field(default=60.0, gt=0)
    idle_renewal: float = Field(default=600.0, gt=0, le=1740)
    poll_interval: float = Field(default=30.0, gt=0)
    reconnect_delay: float = Field(default=1.0, gt=0)
    max_reconnect_delay: float = Field(default=60.0, gt=0)
    max_failures: int = Field(default=5, ge=1)
    retry_delay: float = Field(default=5.0, gt=0)
    max_attempts: int = Field(default=10, ge=1)
    batch: int = Field(default=100, ge=1, le=1000)

    @property
    def real_port(self) -> int:
        """The port set, else the usual one of the TLS mode."""
        return self.port or _PORTS[self.tls]

    @field_validator("mailbox", "username", "host")
    @classmethod
    def _one_line(cls, value: str) -> str:
        check_line(value, "invalid_setting", "the setting")
        return value

    @field_validator("mailbox")
    @classmethod
    def _ascii(cls, value: str) -> str:
        if not value.isascii():
            raise ValueError("write a mailbox name outside ASCII in modified UTF-7 (RFC 3501)")
        return value

    @model_validator(mode="after")
    def _safe(self) -> IMAPConfig:
        if self.tls == "none" and not self.allow_plaintext and not is_loopback(self.host):
            raise ValueError(f"tls none to {self.host!r}: use implicit, or set allow_plaintext")
        return self
