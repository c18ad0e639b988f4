"""What goes wrong with e-mail.

SalonError
├── InvalidEmailError     it can't be written as an e-mail; nothing was sent
└── UnavailableError
    └── MailboxError      the mailbox can't be read now
        └── CommandRefusedError   the server said NO or BAD
"""

from __future__ import annotations

from salon.base import SalonError, UnavailableError


class InvalidEmailError(SalonError, ValueError):
    """`error` is the stable code of the `ProviderResult` it becomes."""

    code = "invalid_email"

    def __init__(self, error: str, message: str) -> None:
        self.error = error
        super().__init__(message)


class MailboxError(UnavailableError):
    """Without `permanent` a new connection may help; with it, settings must change."""

    code = "mailbox"

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        self.permanent = permanent
        super().__init__(message)


class CommandRefusedError(MailboxError):
    """The answer to a command. The connection may still be of use."""

    code = "mailbox_refused"
