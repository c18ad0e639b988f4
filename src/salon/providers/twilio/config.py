"""Twilio's account, where RoomKit has it."""

from __future__ import annotations

from salon.providers.sms.twilio_config import TwilioConfig

__all__ = ["TwilioConfig"]
