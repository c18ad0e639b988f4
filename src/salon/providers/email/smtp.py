"""E-mail through any server that speaks SMTP (RFC 5321)."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError
from salon.models import RoomEvent
from salon.providers.email.address import parse_mailbox
from salon.providers.email.base import EmailProvider
from salon.providers.email.compose import OutgoingEmail, compose
from salon.providers.email.errors import InvalidEmailError
from salon.providers.email.smtp_config import SMTPConfig
from salon.providers.email.smtp_session import Accepted, SMTPFailure, SMTPSession
from salon.providers.webhooks import ProviderResult, SignedWebhook, WebhookVerifier


@dataclass(frozen=True, slots=True)
class SMTPStatistics:
    """`connections` were made so far; `sending` and `waiting` are now."""

    connections: int
    sending: int
    waiting: int
    idle: int


class SMTPEmailProvider(EmailProvider):
    """Sends each event as one e-mail; connections are kept and used again.

    `error` of a result is ``smtp_<code>`` where the server answered (4yz is `retryable`, 5yz is
    not; the enhanced code is in `metadata`), else one of ``connection_failed connection_lost
    timeout tls_error tls_unavailable auth_error auth_unavailable smtputf8_unavailable
    message_too_large overloaded closed``, or, found before anything was sent,
    ``invalid_recipient invalid_sender invalid_subject empty_message invalid_attachment
    attachments_too_large``. `provider_message_id` is the Message-ID. With `outcome_unknown` the
    whole message was handed over and no answer came: sent again it has the same Message-ID.

    The subject is the one given, else ``subject`` of the event's metadata or channel data, else
    the configured one. `verifier` proves incoming webhooks.
    """

    name = "smtp"

    def __init__(
        self,
        config: SMTPConfig,
        *,
        verifier: WebhookVerifier | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._config = config
        self._verifier = verifier
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        if config.tls != "none":
            try:
                self._context = ssl.create_default_context(cafile=config.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(f"ca_file {config.ca_file}: {error}") from error
        self._threads: ThreadPoolExecutor | None = None
        self._slots = asyncio.Semaphore(config.max_connections)
        self._idle: deque[SMTPSession] = deque()
        self._connections = 0
        self._sending = 0
        self._waiting = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<SMTPEmailProvider {self._config.host}:{self._config.real_port}>"

    def statistics(self) -> SMTPStatistics:
        """The pool as it is now."""
        return SMTPStatistics(self._connections, self._sending, self._waiting, len(self._idle))

    async def send(
        self, event: RoomEvent, to: str, from_: str | None = None, subject: str | None = None
    ) -> ProviderResult:
        if self._closed:
            return _refused("closed", "the provider is closed")
        if self._waiting >= self._config.max_waiting + self._config.max_connections:
            waiting = f"{self._waiting} e-mails are being sent or wait"
            return ProviderResult(
                success=False, error="overloaded", error_message=waiting, retryable=True
            )
        self._waiting += 1
        try:
            return await self._send(lambda: self._compose(event, to, from_, subject))
        except InvalidEmailError as error:
            return _refused(error.error, str(error))
        finally:
            self._waiting -= 1

    def verify(self, headers: Mapping[str, str], body: bytes) -> SignedWebhook:
        """Prove an incoming webhook before its payload is parsed; `WebhookSignatureError` if it
        is not genuine (R216)."""
        if self._verifier is None:
            raise ConfigurationError("incoming webhooks need a verifier")
        return self._verifier.verify(headers, body)

    async def close(self) -> None:
        """Ends the connections; a message on its way has `send_timeout` to finish."""
        self._closed = True
        threads, self._threads = self._threads, None
        idle = [self._idle.popleft() for _ in range(len(self._idle))]
        if threads is not None:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(threads, one.quit) for one in idle))
            threads.shutdown(wait=False)

    def _compose(
        self, event: RoomEvent, to: str, from_: str | None, subject: str | None
    ) -> OutgoingEmail:
        return compose(
            event,
            sender=parse_mailbox(from_, "sender") if from_ else self._config.sender,
            recipient=parse_mailbox(to, "recipient"),
            subject=subject or _subject(event) or self._config.subject,
            now=self._clock.now(),
            max_attachment_bytes=self._config.max_attachment_bytes,
        )

    async def _send(self, make: Callable[[], OutgoingEmail]) -> ProviderResult:
        session: SMTPSession | None = None
        try:
            async with asyncio.timeout(self._config.send_timeout), self._slots:
                # attachments take long to encode: not on the event loop
                email = await asyncio.get_running_loop().run_in_executor(self._pool(), make)
                while True:
                    session = self._session()
                    try:
                        return _sent(await self._attempt(session, email), email)
                    except SMTPFailure as failure:
                        if not failure.stale:
                            return _failed(failure, email)
        except TimeoutError:
            return ProviderResult(
                success=False,
                error="timeout",
                error_message=f"not sent within {self._config.send_timeout:g} s",
                retryable=True,
                outcome_unknown=session is not None and session.handed_over,
            )

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._config.max_connections, "salon-smtp")
        return self._threads

    def _session(self) -> SMTPSession:
        """The connection used last, if it is not too old, else a new one."""
        oldest = self._clock.monotonic() - self._config.idle_timeout
        while self._idle and self._idle[0].used_at < oldest:
            self._idle.popleft().close()
        if self._idle:
            return self._idle.pop()
        self._connections += 1
        return SMTPSession(self._config, self._context)

    async def _attempt(self, session: SMTPSession, email: OutgoingEmail) -> Accepted:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._pool(), session.send, email)
        self._sending += 1
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            session.abort()
            work.add_done_callback(lambda ended: _drop(session, ended))
            raise
        finally:
            self._sending -= 1
            if work.done():
                self._keep(session)

    def _keep(self, session: SMTPSession) -> None:
        session.used_at = self._clock.monotonic()
        full = session.sent >= self._config.max_messages_per_connection
        if self._closed or full or not session.open:
            session.close()
        else:
            self._idle.append(session)


def _drop(session: SMTPSession, ended: asyncio.Future[Accepted]) -> None:
    """Nobody waits any more."""
    session.close()
    if not ended.cancelled():
        ended.exception()  # seen, or asyncio complains of it


def _subject(event: RoomEvent) -> str | None:
    for known in (event.metadata, event.channel_data.extra):
        if isinstance(found := known.get("subject"), str) and found:
            return found
    return None


def _sent(accepted: Accepted, email: OutgoingEmail) -> ProviderResult:
    return ProviderResult(
        success=True,
        provider_message_id=email.message_id,
        status_code=accepted.status,
        metadata={"response": accepted.text},
    )


def _failed(failure: SMTPFailure, email: OutgoingEmail) -> ProviderResult:
    metadata: dict[str, Any] = {"message_id": email.message_id}
    if failure.enhanced:
        metadata["enhanced_code"] = failure.enhanced
    return ProviderResult(
        success=False,
        error=failure.error,
        error_message=str(failure)[:512],
        provider_code=failure.status,
        retryable=failure.retryable,
        outcome_unknown=failure.outcome_unknown,
        metadata=metadata,
    )


def _refused(error: str, text: str) -> ProviderResult:
    return ProviderResult(
        success=False, error=error, error_message=text, retryable=False, outcome_unknown=False
    )
