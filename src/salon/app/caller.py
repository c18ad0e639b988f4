"""Who a call belongs to while its upgrade is decided.

The gateway knows queries, not credentials. It decides synchronously, so that whoever is asked
there can read the caller here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from salon.base import LOCAL, Principal

_caller: ContextVar[Principal] = ContextVar("salon_caller", default=LOCAL)


@contextmanager
def caller(principal: Principal) -> Iterator[None]:
    """`principal` is who is asking inside."""
    token = _caller.set(principal)
    try:
        yield
    finally:
        _caller.reset(token)


def current_caller() -> Principal:
    """Who is asking; `LOCAL` outside of a decision."""
    return _caller.get()
