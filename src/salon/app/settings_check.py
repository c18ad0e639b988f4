"""Settings that don't go together, found before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.base import ConfigurationError

if TYPE_CHECKING:
    from salon.app.settings import Settings


def check(settings: Settings) -> None:
    """Raises `ConfigurationError` that names the variables."""
    for part in (_exposure, _keys, _tls, _transports, _engines, _calls, _files):
        part(settings)


def _exposure(settings: Settings) -> None:
    if settings.exposed and settings.api_key is None:
        raise ConfigurationError(
            f"HOST={settings.host!r} lets other machines in, so SALON_API_KEY must be set "
            "(or listen on 127.0.0.1)"
        )


def _keys(settings: Settings) -> None:
    keys = [*(key for _, key in settings.organization_keys), settings.api_key]
    if len(keys) > 1 and settings.api_key is None:
        raise ConfigurationError("SALON_ORGANIZATION_KEYS needs SALON_API_KEY to be set as well")
    if len(set(keys)) < len(keys):
        raise ConfigurationError("two of SALON_API_KEY and SALON_ORGANIZATION_KEYS are the same")


def _transports(settings: Settings) -> None:
    given = (settings.twilio_account_sid, settings.twilio_auth_token, settings.twilio_from_numbers)
    if any(given) and not (all(given) and settings.public_url):
        raise ConfigurationError(
            "SALON_TWILIO_ACCOUNT_SID, SALON_TWILIO_AUTH_TOKEN, SALON_TWILIO_FROM_NUMBERS and "
            "SALON_PUBLIC_URL belong together (Twilio signs the URL it was given)"
        )
    if settings.webhook_url is not None and settings.webhook_secret is None:
        raise ConfigurationError("SALON_WEBHOOK_URL needs SALON_WEBHOOK_SECRET")
    if (settings.smtp_url is None) != (settings.email_from is None):
        missing = "SALON_EMAIL_FROM" if settings.email_from is None else "SALON_SMTP_URL"
        raise ConfigurationError(
            f"SALON_SMTP_URL and SALON_EMAIL_FROM belong together: {missing} is missing"
        )
    if settings.smtp_url is None and (settings.imap_url or settings.email_webhook_secret):
        raise ConfigurationError(
            "SALON_IMAP_URL and SALON_EMAIL_WEBHOOK_SECRET need SALON_SMTP_URL and "
            "SALON_EMAIL_FROM: answers have to go out"
        )


def _tls(settings: Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        given, missing = ("SALON_TLS_CERT", "SALON_TLS_KEY")
        if settings.tls_cert is None:
            given, missing = missing, given
        raise ConfigurationError(f"{given} is set but {missing} is not; both belong together")
    if settings.tls_self_signed and settings.tls_cert is not None:
        raise ConfigurationError("SALON_TLS_SELF_SIGNED and SALON_TLS_CERT exclude each other")
    for name, file in (("SALON_TLS_CERT", settings.tls_cert), ("SALON_TLS_KEY", settings.tls_key)):
        if file is not None and not file.is_file():
            raise ConfigurationError(f"{name}={str(file)!r}: no such file")


def _engines(settings: Settings) -> None:
    if (settings.llm_base_url is None) != (settings.llm_model is None):
        missing = "SALON_LLM_MODEL" if settings.llm_model is None else "SALON_LLM_BASE_URL"
        raise ConfigurationError(
            f"SALON_LLM_BASE_URL and SALON_LLM_MODEL belong together: {missing} is missing"
        )
    for kind, chosen, base in (
        ("STT", settings.stt, settings.stt_base_url),
        ("TTS", settings.tts, settings.tts_base_url),
    ):
        if chosen == "openai" and base is None:
            raise ConfigurationError(
                f"SALON_{kind}='openai' needs SALON_{kind}_BASE_URL, e.g. https://api.openai.com/v1"
            )


def _calls(settings: Settings) -> None:
    if settings.call_handler == "webhook" and not settings.call_webhook_urls:
        raise ConfigurationError("SALON_CALL_HANDLER='webhook' needs SALON_CALL_WEBHOOK_URLS")
    if settings.call_webhook_secret is not None and not settings.call_webhook_urls:
        raise ConfigurationError("SALON_CALL_WEBHOOK_SECRET needs SALON_CALL_WEBHOOK_URLS")


def _files(settings: Settings) -> None:
    if settings.agent is not None and not settings.agent.is_file():
        raise ConfigurationError(f"SALON_AGENT={str(settings.agent)!r}: no such file")
    if settings.knowledge_dir is not None and not settings.knowledge_dir.is_dir():
        raise ConfigurationError(
            f"SALON_KNOWLEDGE_DIR={str(settings.knowledge_dir)!r}: no such folder"
        )
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        raise ConfigurationError(f"SALON_DATA_DIR={str(settings.data_dir)!r}: is not a folder")
