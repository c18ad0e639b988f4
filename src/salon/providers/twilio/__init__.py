"""Twilio under the path RoomKit has it."""

from __future__ import annotations

from salon.providers.sms.twilio import TwilioSMSProvider
from salon.providers.sms.twilio_config import TwilioConfig
from salon.providers.sms.twilio_webhook import parse_twilio_status, parse_twilio_webhook

__all__ = ["TwilioConfig", "TwilioSMSProvider", "parse_twilio_status", "parse_twilio_webhook"]
