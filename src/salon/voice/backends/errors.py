"""Exceptions of the voice backends.

SalonError
└── LocalProtocolError
    └── VoiceSessionEndedError    a session that has ended was to go on
"""

from __future__ import annotations

from salon.base import LocalProtocolError


class VoiceSessionEndedError(LocalProtocolError):
    """No transition leaves `ENDED`: a participant who comes back gets a new session (V13)."""

    code = "voice_session_ended"
