"""The border to engines that others wrote: their failures as ours, their iterators closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from salon.base import RAISED, SalonError, within
from salon.voice.errors import SpeechError, describe

_log = logging.getLogger("salon.voice")

CLOSE_S: Final = 5.0
"""An iterator, or an engine, gets this long to close."""


def failure(name: str, error: BaseException) -> SpeechError:
    """`error` as the failure of the engine `name`; a `SpeechError` keeps its text."""
    if isinstance(error, SpeechError) and error.engine == name:
        return error
    said, kind = describe(str(error)), type(error).__name__
    if isinstance(error, SalonError):
        kind = f"{kind} ({error.code})"
    return SpeechError(name, f"{kind}: {said}" if said else kind)


async def close_stream(stream: AsyncIterator[Any], name: str) -> None:
    """Close an iterator, if it can be; what it does wrong in closing is logged."""
    close = getattr(stream, "aclose", None)
    if close is None:
        return
    try:
        await within(CLOSE_S, close())
    except RAISED as error:
        if is_ours(error):
            raise
        _log.warning("a stream of %s did not close", name, exc_info=True)


async def close_engine(
    close: Callable[[], Awaitable[object]], name: str, *, limit: float = CLOSE_S
) -> bool:
    """Close an engine, in the task of the caller, which may be one that the engine started. What it
    does wrong in closing is logged, as is that it is not done after `limit` seconds: False."""
    try:
        async with asyncio.timeout(limit) as budget:
            await close()
    except RAISED as error:
        if is_ours(error):
            raise
        if budget.expired():
            _log.error("%s did not close within %g s and is left as it is", name, limit)
        else:
            _log.error("%s did not close", name, exc_info=error)
        return False
    return True


def is_ours(error: BaseException) -> bool:
    """Whether `error` is the cancellation of the running task by somebody, which has to rise. One
    that an engine raises of itself is a failure like any other."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def tell(callback: Callable[[str], None], name: str) -> None:
    """Call a user's callback; what it raises is logged."""
    try:
        callback(name)
    except Exception:  # noqa: BLE001 - the border to user code
        _log.exception("on_served failed")
