"""Text messages: the contract of their providers, Twilio, and phone numbers.

Nothing here loads an HTTP client before the first message is sent.
"""

from __future__ import annotations

from salon.providers.sms.base import SMSProvider
from salon.providers.sms.meta import WebhookMeta, extract_sms_meta
from salon.providers.sms.mock import MockSMSProvider
from salon.providers.sms.phone import is_valid_phone, normalize_phone
from salon.providers.sms.status import DeliveryStatus
from salon.providers.sms.twilio import TwilioSMSProvider
from salon.providers.sms.twilio_config import TwilioConfig
from salon.providers.sms.twilio_signature import twilio_signature, verify_twilio_signature
from salon.providers.sms.twilio_webhook import (
    EMPTY_TWIML,
    parse_twilio_status,
    parse_twilio_webhook,
)

__all__ = [
    "EMPTY_TWIML",
    "DeliveryStatus",
    "MockSMSProvider",
    "SMSProvider",
    "TwilioConfig",
    "TwilioSMSProvider",
    "WebhookMeta",
    "extract_sms_meta",
    "is_valid_phone",
    "normalize_phone",
    "parse_twilio_status",
    "parse_twilio_webhook",
    "twilio_signature",
    "verify_twilio_signature",
]
