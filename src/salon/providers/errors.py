"""What goes wrong while an answer is made.

SalonError
└── AIProviderError     no answer, or not all of it
    └── AgentError      the user's own function raised
"""

from __future__ import annotations

from salon.base import SalonError


class AIProviderError(SalonError):
    """A provider gave no answer, or broke off in the middle of it.

    `retryable` says that the same request may succeed later; `status` is the HTTP status if the
    other side sent one. The message never holds a credential.
    """

    code = "ai_provider"

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        retryable: bool = False,
        status: int | None = None,
    ) -> None:
        self.provider = provider
        self.retryable = retryable
        self.status = status
        super().__init__(f"{provider}: {message}" if provider else message)


class AgentError(AIProviderError):
    """An agent's own function failed; `where` is the ``file:line`` of its last line that ran."""

    def __init__(self, message: str, *, provider: str, where: str) -> None:
        self.where = where
        super().__init__(message, provider=provider)
