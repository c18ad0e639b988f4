"""How a call ends: in steps, each bounded, so that the socket closes within 5 s (G321)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from salon.gateway.commands import HangupReason
from salon.gateway.farewell import close_code, farewell
from salon.gateway.state import Signal, advance

if TYPE_CHECKING:
    from salon.gateway.session import Session

_log = logging.getLogger("salon.gateway")

INVITE_TIMEOUT_S = 0.25
MEDIA_TIMEOUT_S = 2.0
EVENTS_TIMEOUT_S = 0.25
COMPANIONS_TIMEOUT_S = 0.5
CARRIER_TIMEOUT_S = 1.0
HANDLER_TIMEOUT_S = 0.75
"""What each step may take: an aborted invite, the recording, the last media events, the companions,
the carrier's sound, the handler. Together less than 5 s."""


async def end_call(session: Session, reason: HangupReason | str) -> None:
    """Everything from the decision to end to the Close frame; called once per session."""
    session.executor.abort()
    session.deadlines.close()
    if session.inviting is not None:
        await asyncio.wait({session.inviting}, timeout=INVITE_TIMEOUT_S)
    if session.pumping is not None:
        await _bounded(session, session.media.close(), MEDIA_TIMEOUT_S)
        await asyncio.wait({session.pumping}, timeout=EVENTS_TIMEOUT_S)
    if session.companions:
        await _bounded(session, _companions(session, reason), COMPANIONS_TIMEOUT_S)
    if session.transport is not None:
        await _bounded(session, session.transport.ended(), CARRIER_TIMEOUT_S)
    await _bounded(session, session.handler.end(str(reason)), HANDLER_TIMEOUT_S)
    session.ended_at = session.services.clock.time()
    session.state = advance(session.state, Signal.HANGUP)
    try:
        session.services.on_ended(session)  # first, so that whoever is told finds the id free
    finally:
        _part(session, reason)
        await session.scope.close()
        session.release()
        session.done.set()


async def _companions(session: Session, reason: HangupReason | str) -> None:
    """All at once; one that fails keeps no other from its end."""
    results = await asyncio.gather(
        *(companion.end(reason) for companion in session.companions), return_exceptions=True
    )
    for companion, result in zip(session.companions, results, strict=True):
        if isinstance(result, Exception):
            _log.error("ending %s of call %s failed", companion.name, session.id, exc_info=result)


def _part(session: Session, reason: HangupReason | str) -> None:
    """Say goodbye to the client and let go of the carrier (G120)."""
    session.main_track_ended()
    session.emit(farewell(session, reason))
    if session.companions:
        session.accompany("parted")
    if session.services.find(session.id) is None:
        session.services.bus.end(session.id)
    session.let_go(close_code(session, reason))


async def _bounded(session: Session, step: Coroutine[Any, Any, None], timeout: float) -> None:
    """One step; a call ends all the same if it fails."""
    try:
        await asyncio.wait_for(step, timeout)
    except TimeoutError:
        _log.warning("call %s did not end cleanly in time", session.id)
    except Exception:  # noqa: BLE001 - the outer edge of the call; it must end all the same
        _log.exception("ending call %s failed", session.id)
