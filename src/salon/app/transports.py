"""Channels to the outside, as the settings name them, with the doors their providers post to."""

from __future__ import annotations

from typing import Any

from salon.app.house import Service
from salon.app.intake import Intakes, SignedIntake, TwilioIntake, email_intake
from salon.app.settings import Settings
from salon.app.variables import MailServer
from salon.base import ConfigurationError
from salon.core.kit import RoomKit

SMS = "sms"
HTTP = "http"
EMAIL = "email"


def add_transports(settings: Settings, kit: RoomKit, intakes: Intakes) -> None:
    """Register them. Raises `ConfigurationError`. Nothing is loaded for what is not set."""
    if settings.twilio_account_sid is not None:
        _add_twilio(settings, kit, intakes)
    if settings.webhook_secret is not None:
        _add_webhooks(settings, kit, intakes)
    if settings.smtp_url is not None:
        _add_email(settings, kit, intakes)


def mailbox_services(settings: Settings, kit: RoomKit) -> tuple[Service, ...]:
    """What reads the mailbox, if there is one, into the channel that `add_transports` registers.
    Raises `ConfigurationError`."""
    server = settings.imap_url
    if server is None:
        return ()
    from pydantic import ValidationError

    from salon.providers.email import IMAPConfig, MailboxSource

    known = _server(server) | {"mailbox": server.mailbox}
    try:
        source = MailboxSource(IMAPConfig.model_validate(known), EMAIL)
    except ValidationError as error:
        raise ConfigurationError(f"SALON_IMAP_URL: {error.errors()[0]['msg']}") from None

    async def attach() -> None:
        await kit.attach_source(EMAIL, source)

    async def detach() -> None:
        await kit.detach_source(EMAIL)

    return (Service("mailbox", attach, detach, close_timeout=12.0),)


def _server(server: MailServer) -> dict[str, Any]:
    names = ("host", "port", "tls", "username", "password")
    return {name: getattr(server, name) for name in names}


def _add_email(settings: Settings, kit: RoomKit, intakes: Intakes) -> None:
    from pydantic import ValidationError

    from salon.channels import EmailChannel
    from salon.providers.email import SMTPConfig, SMTPEmailProvider
    from salon.providers.webhooks import ReplayWindow, WebhookVerifier

    assert settings.smtp_url is not None
    known = _server(settings.smtp_url) | {"from_address": settings.email_from}
    try:
        config = SMTPConfig.model_validate(known)
    except ValidationError as error:
        raise ConfigurationError(f"SALON_SMTP_URL: {error.errors()[0]['msg']}") from None
    kit.register_channel(EmailChannel(EMAIL, provider=SMTPEmailProvider(config)))
    if settings.email_webhook_secret is None:
        return
    secret = settings.email_webhook_secret.get_secret_value()
    try:
        prover = WebhookVerifier(secret, window=ReplayWindow())
    except ConfigurationError as error:
        raise ConfigurationError(f"SALON_EMAIL_WEBHOOK_SECRET: {error}") from None
    door = email_intake(prover, EMAIL, max_bytes=settings.max_body_bytes)
    intakes.add("email", "signed", door)


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
