"""A local server of the interactive-video protocol, for clients under test.

`OdysseyStandIn` plays broker, signaling, streamer, WHEP endpoint, recordings and simulations in one
process on loopback. It streams a moving test picture that carries a frame number and a time
(`read_stamp`), records really, and can be made to fail in every way the protocol knows (`Faults`).
Needs aiohttp and aiortc.
"""

from __future__ import annotations

from salon.testing.odyssey.connection import Connection
from salon.testing.odyssey.faults import (
    MESSAGES,
    ROUTES,
    Faults,
    HttpFault,
    MessageFault,
    SignalingFaults,
    StartRefusal,
)
from salon.testing.odyssey.settings import (
    API_KEY,
    OTHER_KEY,
    SUSPENDED_KEY,
    Account,
    StandInSettings,
)
from salon.testing.odyssey.stamp import Stamp
from salon.testing.odyssey.stamp import read as read_stamp
from salon.testing.odyssey.stand_in import OdysseyStandIn

__all__ = [
    "API_KEY",
    "MESSAGES",
    "OTHER_KEY",
    "ROUTES",
    "SUSPENDED_KEY",
    "Account",
    "Connection",
    "Faults",
    "HttpFault",
    "MessageFault",
    "OdysseyStandIn",
    "SignalingFaults",
    "Stamp",
    "StandInSettings",
    "StartRefusal",
    "read_stamp",
]
