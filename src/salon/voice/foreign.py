"""The border to engines that others wrote: their failures as ours, their iterators closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from salon.base import redact_text
from salon.voice.errors import SpeechError

_log = logging.getLogger("salon.voice")

CLOSE_S: Final = 5.0
"""An iterator, or an engine, gets this long to close."""


def failure(name: str, error: BaseException) -> SpeechError:
    """`error` as the failure of the engine `name`; a `SpeechError` keeps its text."""
    if isinstance(error, SpeechError) and error.engine == name:
        return error
    said = " ".join(redact_text(str(error)).split())[:300]
    kind = type(error).__name__
    return SpeechError(name, f"{kind}: {said}" if said else kind)


async def close_stream(stream: AsyncIterator[Any], name: str) -> None:
    """Close an iterator, if it can be; what it does wrong in closing is logged."""
    close = getattr(stream, "aclose", None)
    if close is None:
        return
    try:
        async with asyncio.timeout(CLOSE_S):
            await close()
    except Exception:  # noqa: BLE001 - the border to a plugged-in engine
        _log.warning("a stream of %s did not close", name, exc_info=True)


async def close_engine(close: Callable[[], Awaitable[object]], name: str) -> None:
    """Close an engine; what it does wrong in closing is logged."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await close()
    except Exception:  # noqa: BLE001 - the border to a plugged-in engine
        _log.exception("the engine %s did not close", name)


def tell(callback: Callable[[str], None], name: str) -> None:
    """Call a user's callback; what it raises is logged."""
    try:
        callback(name)
    except Exception:  # noqa: BLE001 - the border to user code
        _log.exception("on_served failed")
