"""Channels to the outside, as the settings name them, with the doors their providers post to."""

from __future__ import annotations

from salon.app.intake import Intakes, SignedIntake, TwilioIntake
from salon.app.settings import Settings
from salon.base import ConfigurationError
from salon.core.kit import RoomKit

SMS = "sms"
HTTP = "http"


def add_transports(settings: Settings, kit: RoomKit, intakes: Intakes) -> None:
    """Register them. Raises `ConfigurationError`. Nothing is loaded for what is not set."""
    if settings.twilio_account_sid is not None:
        _add_twilio(settings, kit, intakes)
    if settings.webhook_secret is not None:
        _add_webhooks(settings, kit, intakes)


def _add_twilio(settings: Settings, kit: RoomKit, intakes: Intakes) -> None:
    from pydantic import SecretStr, ValidationError

    from salon.channels import SMSChannel
    from salon.providers.sms import TwilioConfig, TwilioSMSProvider

    assert settings.twilio_account_sid is not None
    base = (settings.public_url or "").rstrip("/")
    report = f"{base}/webhooks/sms/twilio/status" if base.startswith("https:") else None
    numbers = settings.twilio_from_numbers
    channels = {}
    first = None
    for number in numbers:
        try:
            config = TwilioConfig(
                account_sid=settings.twilio_account_sid,
                auth_token=SecretStr(settings.twilio_auth_token or ""),
                from_number=number,
                status_callback=report,
            )
        except ValidationError as error:
            raise ConfigurationError(f"SALON_TWILIO_…: {error.errors()[0]['msg']}") from None
        provider = TwilioSMSProvider(config)
        channels[number] = SMS if first is None else f"{SMS}:{number}"
        first = first or provider
        kit.register_channel(SMSChannel(channels[number], provider=provider))
    assert first is not None
    intakes.add("sms", "twilio", TwilioIntake(first, SMS, channels))


def _add_webhooks(settings: Settings, kit: RoomKit, intakes: Intakes) -> None:
    from pydantic import SecretStr

    from salon.channels import HTTPChannel
    from salon.providers.webhooks import (
        HTTPProviderConfig,
        ReplayWindow,
        WebhookHTTPProvider,
        WebhookVerifier,
    )

    secret = settings.webhook_secret
    assert secret is not None
    provider = None
    if settings.webhook_url is not None:
        config = HTTPProviderConfig(webhook_url=settings.webhook_url, secret=SecretStr(secret))
        provider = WebhookHTTPProvider(config)
    kit.register_channel(HTTPChannel(HTTP, provider=provider))
    prover = provider or WebhookVerifier(secret, window=ReplayWindow())
    intake = SignedIntake(prover, HTTP)
    for channel_type in ("http", "webhook"):
        intakes.add(channel_type, "webhook", intake)
