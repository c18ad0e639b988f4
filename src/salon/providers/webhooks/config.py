"""Settings of the generic webhook provider."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from salon.base import ConfigurationError
from salon.providers.webhooks.post import checked_url
from salon.providers.webhooks.signing import TOLERANCE


class HTTPProviderConfig(BaseModel):
    """Where events go and how they are signed. Times in seconds.

    `secret` signs what goes out and verifies what comes in; `previous_secrets` still verify.
    `body_signature_header` names one more header that gets the hex HMAC-SHA256 of the body alone,
    for receivers that know only that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook_url: str
    secret: SecretStr | None = None
    previous_secrets: tuple[SecretStr, ...] = ()
    body_signature_header: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float = Field(default=30.0, gt=0)
    connect_timeout: float = Field(default=5.0, gt=0)
    tolerance: float = Field(default=TOLERANCE, gt=0)
    max_connections: int = Field(default=32, ge=1)
    replay_capacity: int = Field(default=10_000, ge=1)

    @field_validator("webhook_url")
    @classmethod
    def _usable(cls, value: str) -> str:
        try:
            return checked_url(value, "webhook_url", secure=False)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
