"""Settings of a Twilio account."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from salon.base import ConfigurationError
from salon.providers.webhooks.post import checked_url

_SID = re.compile(r"[A-Za-z0-9]{2,64}")


class TwilioConfig(BaseModel):
    """Account, sender and times (in seconds).

    One of `from_number` and `messaging_service_sid` is needed; with the latter Twilio chooses the
    number. `status_callback` is the public URL that delivery reports go to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    account_sid: str
    auth_token: SecretStr
    from_number: str | None = None
    messaging_service_sid: str | None = None
    status_callback: str | None = None
    api_base_url: str = "https://api.twilio.com"
    timeout: float = Field(default=10.0, gt=0)
    connect_timeout: float = Field(default=5.0, gt=0)
    max_connections: int = Field(default=32, ge=1)

    @property
    def messages_url(self) -> str:
        """Where messages are posted."""
        base = self.api_base_url.rstrip("/")
        return f"{base}/2010-04-01/Accounts/{self.account_sid}/Messages.json"

    @field_validator("account_sid", "messaging_service_sid")
    @classmethod
    def _sid(cls, value: str | None) -> str | None:
        if value is not None and not _SID.fullmatch(value):
            raise ValueError("a SID is 2 to 64 letters and digits")
        return value

    @field_validator("auth_token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().strip():
            raise ValueError("auth_token is empty")
        return value

    @field_validator("api_base_url", "status_callback")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        try:
            return value and checked_url(value, "the URL", secure=True)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _has_sender(self) -> TwilioConfig:
        if not self.from_number and not self.messaging_service_sid:
            raise ValueError("from_number or messaging_service_sid is needed")
        return self
