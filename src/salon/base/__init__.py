"""Floor 1: clock, ids, error roots, redaction, policy, principal. Standard library only."""

from salon.base.browser import BrowserPolicy
from salon.base.clock import SYSTEM_CLOCK, Clock, SystemClock
from salon.base.errors import (
    ConfigurationError,
    LocalProtocolError,
    MissingExtraError,
    PolicyError,
    ProtocolError,
    RemoteProtocolError,
    SalonError,
    UnavailableError,
)
from salon.base.ids import IdFactory, new_id, new_session_id
from salon.base.policy import UrlPolicy, is_loopback, resolve_below, safe_name
from salon.base.principal import LOCAL, Principal
from salon.base.redaction import MASK, redact, redact_text
from salon.base.tasks import RAISED, Begun, TaskScope, at_once, is_at_once, unbroken, within

__all__ = [
    "LOCAL",
    "MASK",
    "RAISED",
    "SYSTEM_CLOCK",
    "Begun",
    "BrowserPolicy",
    "Clock",
    "ConfigurationError",
    "IdFactory",
    "LocalProtocolError",
    "MissingExtraError",
    "PolicyError",
    "Principal",
    "ProtocolError",
    "RemoteProtocolError",
    "SalonError",
    "SystemClock",
    "TaskScope",
    "UnavailableError",
    "UrlPolicy",
    "at_once",
    "is_at_once",
    "is_loopback",
    "new_id",
    "new_session_id",
    "redact",
    "redact_text",
    "resolve_below",
    "safe_name",
    "unbroken",
    "within",
]
