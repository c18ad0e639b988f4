"""What stores raise beyond the errors of the core."""

from __future__ import annotations

from typing import ClassVar

from salon.base import UnavailableError


class OutcomeUnknownError(UnavailableError):
    """The connection was lost during a commit: what it wrote is there wholly or not at all.

    Read it back, or send it again under the same idempotency key.
    """

    code: ClassVar[str] = "outcome_unknown"


class UnfitTextError(ValueError):
    """A text with a NUL character, which PostgreSQL can neither store nor compare."""
