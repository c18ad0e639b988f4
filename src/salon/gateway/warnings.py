"""What a call asked for and does not get. Pure; told once, and the call goes on (G62, G69)."""

from __future__ import annotations

from collections.abc import Iterator

from salon.gateway.options import CallOption

DETECTORS = frozenset({"silero", "nop"})
_OPTIONAL = ("media_pass", "denoise", "agc", "ambiance")
"""Served where a companion does."""


def warnings(
    option: CallOption, call_type: str, serves: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """Sender and text of each `error`; `serves` are the names of the options that companions take
    care of."""
    if option.vad is not None and option.vad.type not in DETECTORS:
        yield "vad", f"detector {option.vad.type!r} is not known, the built-in one is used"
    if option.eou is not None and "eou" not in serves:
        yield "eou", f"end-of-utterance engine {option.eou.type!r} is not known"
    ringback = option.ringback_detection
    if ringback is not None and ringback.enabled:
        yield "ringback", "ringback detection is not available here"
    if option.realtime is not None:
        yield "invite", "option realtime is not available here"
    for name in _OPTIONAL:
        if name not in serves and _wanted(option, name):
            yield "invite", f"option {name} is not available here"
    if option.subscribe and call_type != "webSocket" and "subscribe" not in serves:
        yield "invite", "option subscribe is not available here"  # no effect on `/call` (G48)


def _wanted(option: CallOption, name: str) -> bool:
    value = getattr(option, name)
    if name == "ambiance":
        return value is not None and value.enabled
    return bool(value)
