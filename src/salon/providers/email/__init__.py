"""E-mail both ways: SMTP out; signed webhooks and IMAP mailboxes in.

Only the standard library is used, and nothing here ever fetches a URL.
"""

from __future__ import annotations

from salon.providers.email.address import Mailbox, normalize_email, parse_mailbox
from salon.providers.email.base import EmailProvider
from salon.providers.email.errors import InvalidEmailError, MailboxError
from salon.providers.email.imap_config import IMAPConfig
from salon.providers.email.mailbox import MailboxSource
from salon.providers.email.mock import MockEmailProvider
from salon.providers.email.parse import parse_email
from salon.providers.email.received import EmailLimits
from salon.providers.email.smtp import SMTPEmailProvider, SMTPStatistics
from salon.providers.email.smtp_config import SMTPConfig
from salon.providers.email.thread import message_id_for
from salon.providers.email.webhook import EmailWebhook, parse_email_webhook

__all__ = [
    "EmailLimits",
    "EmailProvider",
    "EmailWebhook",
    "IMAPConfig",
    "InvalidEmailError",
    "Mailbox",
    "MailboxError",
    "MailboxSource",
    "MockEmailProvider",
    "SMTPConfig",
    "SMTPEmailProvider",
    "SMTPStatistics",
    "message_id_for",
    "normalize_email",
    "parse_email",
    "parse_email_webhook",
    "parse_mailbox",
]
