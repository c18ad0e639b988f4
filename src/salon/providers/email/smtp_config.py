"""Settings of a mail server that takes mail."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from salon.base import is_loopback
from salon.providers.email.address import Mailbox, check_line, parse_mailbox

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}


class SMTPConfig(BaseModel):
    """Server, sender and bounds; times in seconds.

    `tls` ``none`` is for a server on this machine, anywhere else only with `allow_plaintext`.
    `ca_file` replaces the system's certificate authorities. `timeout` is for one answer of the
    server, `send_timeout` for a whole message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, max_length=255)
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    allow_plaintext: bool = False
    ca_file: Path | None = None
    username: str | None = None
    password: SecretStr | None = None
    from_address: str
    subject: str = Field(default="New message", min_length=1)
    hello_name: str | None = None
    connect_timeout: float = Field(default=10.0, gt=0)
    timeout: float = Field(default=60.0, gt=0)
    send_timeout: float = Field(default=120.0, gt=0)
    max_connections: int = Field(default=4, ge=1, le=64)
    max_waiting: int = Field(default=256, ge=0)
    max_messages_per_connection: int = Field(default=100, ge=1)
    idle_timeout: float = Field(default=30.0, ge=0)
    max_attachment_bytes: int = Field(default=10_485_760, ge=0)

    @property
    def sender(self) -> Mailbox:
        return parse_mailbox(self.from_address, "sender")

    @property
    def real_port(self) -> int:
        """The port set, else the usual one of the TLS mode."""
        return self.port or _PORTS[self.tls]

    @property
    def hello(self) -> str:
        """What the client calls itself. Never looked up in DNS, which could take long."""
        return self.hello_name or self.sender.domain

    @field_validator("from_address")
    @classmethod
    def _from(cls, value: str) -> str:
        parse_mailbox(value, "sender")
        return value

    @field_validator("subject", "hello_name", "host", "username")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None:
            check_line(value, "invalid_setting", "the setting")
        return value

    @model_validator(mode="after")
    def _safe(self) -> SMTPConfig:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if self.tls == "none" and not self.allow_plaintext and not is_loopback(self.host):
            raise ValueError(f"tls none to {self.host!r}: use starttls, or set allow_plaintext")
        return self
