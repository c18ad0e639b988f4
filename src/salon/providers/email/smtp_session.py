"""One blocking connection to an SMTP server. Used by one thread at a time."""

from __future__ import annotations

import base64
import contextlib
import re
import smtplib
import socket
import ssl
from dataclasses import dataclass

from salon.base import SalonError
from salon.providers.email.compose import OutgoingEmail
from salon.providers.email.smtp_config import SMTPConfig

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server's word that it has the message."""

    status: int
    text: str


class SMTPFailure(SalonError):
    """A message was not taken, or with `outcome_unknown` perhaps was.

    `stale`: the connection had been used before and was gone before anything of this message was
    sent, so a fresh one may do.
    """

    code = "smtp"

    def __init__(
        self,
        error: str,
        message: str,
        *,
        retryable: bool,
        status: int | None = None,
        outcome_unknown: bool = False,
        stale: bool = False,
    ) -> None:
        self.error = error
        self.retryable = retryable
        self.status = status
        self.outcome_unknown = outcome_unknown
        self.stale = stale
        super().__init__(message)

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 3463) in the server's words."""
        found = _ENHANCED.match(str(self))
        return found[1] if found else None


class SMTPSession:
    """Opened by its first `send`. `abort` may come from any thread and ends what blocks."""

    def __init__(self, config: SMTPConfig, context: ssl.SSLContext | None) -> None:
        self._config = config
        self._context = context
        self._smtp: smtplib.SMTP | None = None
        self._aborted = False
        self.handed_over = False
        """Whether the end of the current message went out and no answer came yet."""
        self.sent = 0
        self.used_at = 0.0

    @property
    def open(self) -> bool:
        return self._smtp is not None

    def send(self, email: OutgoingEmail) -> Accepted:
        """Hand over one message, `SMTPFailure` if the server does not take it."""
        used = self._smtp is not None
        stage = "connect"
        self.handed_over = False
        try:
            smtp = self._smtp or self._connect()
            stage = "envelope"
            self._envelope(smtp, email)
            stage = "data"
            self._command(smtp, "DATA", {354})
            smtp.send(_stuffed(email.data))
            stage = "end"
            self.handed_over = True
            smtp.send(b".\r\n")
            reply = smtp.getreply()
            status, text = self._answer(smtp, reply, {250})
            self.sent += 1
            return Accepted(status, text)
        except SMTPFailure as failure:
            self._recover(failure, stage, used)
            raise
        except (OSError, smtplib.SMTPException, ValueError) as error:
            self.close()
            raise self._failure(error, stage, used) from error

    def close(self) -> None:
        """Without a word: QUIT would wait for an answer."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    def quit(self) -> None:
        """Say goodbye and close."""
        if self._smtp is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self._smtp.sock.settimeout(2.0)  # type: ignore[union-attr]
                self._smtp.quit()
        self.close()

    def abort(self) -> None:
        """End whatever blocks in `send`, and let this session never be used again."""
        self._aborted = True
        sock = self._smtp.sock if self._smtp is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> smtplib.SMTP:
        config = self._config
        made = smtplib.SMTP(local_hostname=config.hello, timeout=config.connect_timeout)
        if config.tls == "implicit":
            assert self._context is not None
            made = smtplib.SMTP_SSL(
                local_hostname=config.hello, timeout=config.connect_timeout, context=self._context
            )
        self._smtp = made
        made._host = config.host  # type: ignore[attr-defined] # what certificates are checked for
        greeting = made.connect(config.host, config.real_port)
        if self._aborted or made.sock is None:
            raise smtplib.SMTPServerDisconnected("the send was given up")
        made.sock.settimeout(config.timeout)
        self._answer(made, greeting, {220})
        made.ehlo_or_helo_if_needed()
        if config.tls == "starttls":
            if not made.has_extn("starttls"):
                raise SMTPFailure("tls_unavailable", "no STARTTLS is offered", retryable=False)
            code, words = made.starttls(context=self._context)
            self._answer(made, (code, words), {220})
            made.ehlo_or_helo_if_needed()
        if config.username is not None and config.password is not None:
            self._login(made, config.username, config.password.get_secret_value())
        return made

    def _login(self, smtp: smtplib.SMTP, username: str, password: str) -> None:
        try:
            if "PLAIN" in smtp.esmtp_features.get("auth", "").upper().split():
                # the standard library's own way takes ASCII only (RFC 4616)
                secret = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
                status, words = smtp.docmd("AUTH", f"PLAIN {secret}")
                if status not in (235, 503):
                    raise smtplib.SMTPAuthenticationError(status, words)
            else:
                smtp.login(username, password)
        except smtplib.SMTPAuthenticationError as error:
            # its words may repeat what was sent
            raise SMTPFailure(
                "auth_error",
                f"the server refuses the credentials of {username!r}",
                retryable=400 <= error.smtp_code < 500,
                status=error.smtp_code,
            ) from None
        except smtplib.SMTPServerDisconnected:
            raise
        except (smtplib.SMTPException, UnicodeError) as error:
            raise SMTPFailure("auth_unavailable", str(error), retryable=False) from error

    def _envelope(self, smtp: smtplib.SMTP, email: OutgoingEmail) -> None:
        options = ""
        if email.needs_utf8:
            if not smtp.has_extn("smtputf8"):
                raise SMTPFailure(
                    "smtputf8_unavailable",
                    "the server takes no addresses outside ASCII",
                    retryable=False,
                )
            options = " SMTPUTF8 BODY=8BITMIME"
            smtp.command_encoding = "utf-8"
        if smtp.has_extn("size"):
            limit = smtp.esmtp_features.get("size", "")
            if limit.isdigit() and 0 < int(limit) < len(email.data):
                raise SMTPFailure(
                    "message_too_large",
                    f"{len(email.data)} bytes, the server takes {limit}",
                    retryable=False,
                )
            options += f" SIZE={len(email.data)}"
        self._command(smtp, f"MAIL FROM:<{email.sender.address}>{options}", {250})
        self._command(smtp, f"RCPT TO:<{email.recipient.address}>", {250, 251})

    def _command(self, smtp: smtplib.SMTP, line: str, wanted: set[int]) -> None:
        self._answer(smtp, smtp.docmd(line), wanted)

    def _answer(
        self, smtp: smtplib.SMTP, reply: tuple[int, bytes], wanted: set[int]
    ) -> tuple[int, str]:
        status, words = reply
        text = " ".join(words.decode("utf-8", "replace").split())[:512]
        if status in wanted:
            return status, text
        if not 400 <= status < 600:
            raise smtplib.SMTPServerDisconnected(f"unexpected answer {status}")
        raise SMTPFailure(f"smtp_{status}", text, retryable=status < 500, status=status)

    def _recover(self, failure: SMTPFailure, stage: str, used: bool) -> None:
        """Make the connection fit for the next message, or drop it."""
        if stage in ("connect", "data") or failure.status == 421 or self._smtp is None:
            failure.stale = used and failure.status == 421 and stage == "envelope"
            self.close()
            return
        try:
            self._smtp.rset()
        except (OSError, smtplib.SMTPException):
            self.close()

    def _failure(self, error: Exception, stage: str, used: bool) -> SMTPFailure:
        if isinstance(error, ssl.SSLError) and stage == "connect":
            return SMTPFailure("tls_error", str(error), retryable=False)
        if isinstance(error, smtplib.SMTPResponseException) and 400 <= error.smtp_code < 600:
            code = error.smtp_code
            return SMTPFailure(f"smtp_{code}", _words(error), retryable=code < 500, status=code)
        if stage == "connect":
            return SMTPFailure("connection_failed", _words(error), retryable=True)
        # the standard library says of a timeout that the connection was closed
        late = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
        return SMTPFailure(
            "timeout" if late else "connection_lost",
            _words(error),
            retryable=True,
            outcome_unknown=self.handed_over,
            stale=used and stage == "envelope" and not late,
        )


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:512]


def _stuffed(data: bytes) -> bytes:
    """Every line that begins with a dot gets another one (RFC 5321, 4.5.2)."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"
