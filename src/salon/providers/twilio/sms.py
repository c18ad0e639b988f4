"""Text messages through Twilio, where RoomKit has them."""

from __future__ import annotations

from salon.providers.sms.twilio import TwilioSMSProvider
from salon.providers.sms.twilio_webhook import parse_twilio_webhook

__all__ = ["TwilioSMSProvider", "parse_twilio_webhook"]
