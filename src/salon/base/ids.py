"""Identifiers. Code that makes them takes an `IdFactory`, so that tests can own it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

IdFactory = Callable[[], str]


def new_id() -> str:
    """A random UUIDv4 as 32 hex digits."""
    return uuid4().hex


def new_session_id() -> str:
    """Id of a call whose client named none: ``s.`` + UUIDv4 (G12)."""
    return f"s.{uuid4()}"
