"""What stores raise beyond the errors of the core."""

from __future__ import annotations

from typing import ClassVar

from salon.base import UnavailableError


class DatabaseUnavailableError(UnavailableError):
    """The database cannot be used now. The text is for who runs it: it names the database and what
    its server said."""


class OutcomeUnknownError(DatabaseUnavailableError):
    """The connection was lost during a commit: what it wrote is there wholly or not at all.

    Read it back, or send it again under the same idempotency key.
    """

    code: ClassVar[str] = "outcome_unknown"


class UnfitTextError(ValueError):
    """A text with a NUL character, which PostgreSQL can neither store nor compare."""
