"""A mailbox as a source of messages: new mail in, nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import OrderedDict
from dataclasses import dataclass

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, UnavailableError
from salon.core.ports.source import BaseSourceProvider, EmitCallback, SourceHealth
from salon.models import InboundMessage, InboundResult, SourceStatus
from salon.providers.email.errors import InvalidEmailError, MailboxError
from salon.providers.email.imap import FetchedMessage, IMAPConnection
from salon.providers.email.imap_config import IMAPConfig
from salon.providers.email.parse import parse_email
from salon.providers.email.received import DEFAULT_LIMITS, EmailLimits
from salon.providers.threads import ThreadRunner

_log = logging.getLogger("salon.providers.email")

_MAX_KNOWN = 10_000
_MAX_RETRY_DELAY = 3600.0
_PASSING = frozenset({"rate_limited", "process_timeout", "source_emit_failed"})
"""Reasons for which the core did not look at a message, and may the next time."""
_LOST = (MailboxError, OSError, TimeoutError)


@dataclass(slots=True)
class _Known:
    """A message that is still unseen in the mailbox. `done`: only its flag is missing."""

    done: bool = False
    attempts: int = 0
    due: float = 0.0


class MailboxSource(BaseSourceProvider):
    """Emits each unseen message of an IMAP mailbox, in the order of arrival, one at a time.

    A message is marked as seen only once the core took it; what other programs have marked is
    theirs. Breaks of the connection are repaired here, with the place kept by UIDVALIDITY and UID;
    over restarts of the program the idempotency key (the Message-ID) recognises what was emitted
    but not yet marked. `start` raises `MailboxError` if the server refuses the login or the
    mailbox, or after too many failures in a row.

    Messages written by programs (bounces, out-of-office answers, lists) are skipped: marked,
    counted, not emitted, unless `automatic` is ``emit``. Messages that can't be read stay
    unseen.
    """

    def __init__(
        self,
        config: IMAPConfig,
        channel_id: str,
        *,
        limits: EmailLimits = DEFAULT_LIMITS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(clock=clock)
        self._config = config
        self._channel_id = channel_id
        self._limits = limits
        self._context: ssl.SSLContext | None = None
        if config.tls != "none":
            try:
                self._context = ssl.create_default_context(cafile=config.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(f"ca_file {config.ca_file}: {error}") from error
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._uid_validity: int | None = None
        self._threads = ThreadRunner(limit=2)
        self._connection: IMAPConnection | None = None
        self._working = False
        self._busy = asyncio.Lock()
        self._ended = asyncio.Event()
        self._ended.set()
        self._counts = dict.fromkeys(("skipped", "unreadable", "retries", "reconnects"), 0)

    @property
    def name(self) -> str:
        config = self._config
        return f"imap:{config.host}:{config.real_port}/{config.mailbox}"

    async def healthcheck(self) -> SourceHealth:
        """`metadata` counts ``skipped``, ``unreadable``, ``retries``, ``reconnects``, and
        ``unfinished``, the unseen messages that are still to be dealt with."""
        health = await super().healthcheck()
        counts = {name: str(count) for name, count in self._counts.items()}
        counts["unfinished"] = str(len(self._known))
        return health.model_copy(update={"metadata": counts})

    async def start(self, emit: EmitCallback) -> None:
        if not self._ended.is_set():
            raise RuntimeError(f"{self.name} is running")
        self._ended.clear()
        self._reset_stop()
        self._known.clear()
        self._uid_validity = None
        stopping = asyncio.ensure_future(self._stop_event.wait())
        running = asyncio.ensure_future(self._run(emit))
        try:
            await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
            async with self._busy:  # a message in work is finished and marked first
                running.cancel()
        finally:
            for task in (stopping, running):
                task.cancel()
            await asyncio.gather(stopping, running, return_exceptions=True)
            self._ended.set()
            if self._status is not SourceStatus.ERROR:
                self._set_status(SourceStatus.STOPPED)

    async def stop(self) -> None:
        """Ends `start` after the message in work; waits for that, at most `timeout`. Not to be
        awaited by the one who takes that message."""
        self._stop_event.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.timeout):
                await self._ended.wait()
        self._set_status(SourceStatus.STOPPED)

    async def _run(self, emit: EmitCallback) -> None:
        failures = 0
        self._set_status(SourceStatus.CONNECTING)
        while True:
            connection = IMAPConnection(
                self._config, self._context, max_bytes=self._limits.max_bytes
            )
            self._working = False
            try:
                await self._serve(connection, emit)
            except _LOST as error:
                failures = 1 if self._working else failures + 1
                await self._lost(error, failures)
            finally:
                await connection.close()
            self._counts["reconnects"] += 1

    async def _lost(self, error: Exception, failures: int) -> None:
        """Wait until it makes sense to connect again, or give up."""
        words = str(error) or type(error).__name__
        permanent = isinstance(error, MailboxError) and error.permanent
        permanent |= isinstance(error, ssl.SSLCertVerificationError)
        if permanent or failures >= self._config.max_failures:
            self._set_status(SourceStatus.ERROR, words)
            raise MailboxError(f"{self.name}: {words}", permanent=permanent) from error
        self._set_status(SourceStatus.RECONNECTING, words)
        _log.warning("%s: %s; connecting again", self.name, words)
        delay = self._config.reconnect_delay * 2.0 ** min(failures - 1, 30)
        await self._clock.sleep(min(delay, self._config.max_reconnect_delay))

    async def _serve(self, connection: IMAPConnection, emit: EmitCallback) -> None:
        await connection.open()
        if connection.uid_validity != self._uid_validity:
            # the numbers mean other messages now
            self._uid_validity = connection.uid_validity
            self._known.clear()
        self._set_status(SourceStatus.CONNECTED)
        while True:
            more = await self._pass(connection, emit)
            self._working = True
            if more:
                continue
            wait = self._wait()
            if connection.can_idle:
                await connection.wait_for_news(wait)
            else:
                await self._clock.sleep(min(wait, self._config.poll_interval))

    def _wait(self) -> float:
        """Seconds until something is due even without news."""
        now = self._clock.monotonic()
        due = [item.due - now for item in self._known.values() if self._open(item)]
        return max(min([self._config.idle_renewal, *due]), 0.05)

    def _open(self, item: _Known) -> bool:
        return not item.done and item.attempts < self._config.max_attempts

    async def _pass(self, connection: IMAPConnection, emit: EmitCallback) -> bool:
        """Deal with what is unseen and due, at most a batch; whether there may be more."""
        unseen = await connection.unseen()
        for gone in self._known.keys() - set(unseen):
            del self._known[gone]
        now = self._clock.monotonic()
        ready = [uid for uid in unseen if self._ready(uid, now)]
        for uid in ready[: self._config.batch]:
            async with self._busy:
                await self._message(connection, uid, emit)
        return len(ready) > self._config.batch

    def _ready(self, uid: int, now: float) -> bool:
        item = self._known.get(uid)
        return item is None or item.done or (self._open(item) and item.due <= now)

    async def _message(self, connection: IMAPConnection, uid: int, emit: EmitCallback) -> None:
        item = self._known.setdefault(uid, _Known())
        self._known.move_to_end(uid)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        if not item.done:
            found = await connection.fetch(uid)
            if found is None:
                self._known.pop(uid, None)
                return
            item.done = await self._take(found, item, emit)
        if item.done:
            await connection.mark_seen(uid)
            self._known.pop(uid, None)

    async def _take(self, found: FetchedMessage, item: _Known, emit: EmitCallback) -> bool:
        """Whether the core has the message now, or is not to have it."""
        try:
            message = await self._threads.run(self._parse, found)
        except InvalidEmailError as error:
            _log.warning("%s: message %d can't be read: %s", self.name, found.uid, error)
            return self._give_up(item)
        except Exception:  # noqa: BLE001 - no message from outside may end the source
            _log.exception("%s: message %d can't be read", self.name, found.uid)
            return self._give_up(item)
        if self._config.automatic == "skip" and "automatic" in message.metadata:
            self._counts["skipped"] += 1
            return True
        if await self._emit(message, emit):
            self._record_message()
            return True
        self._counts["retries"] += 1
        item.attempts += 1
        delay = self._config.retry_delay * 2.0 ** min(item.attempts - 1, 30)
        item.due = self._clock.monotonic() + min(delay, _MAX_RETRY_DELAY)
        if not self._open(item):
            _log.error("%s: message %d was refused too often", self.name, found.uid)
        return False

    def _give_up(self, item: _Known) -> bool:
        """The message stays unseen, until the next start."""
        self._counts["unreadable"] += 1
        item.attempts = self._config.max_attempts
        return False

    async def _emit(self, message: InboundMessage, emit: EmitCallback) -> bool:
        try:
            return _taken(await emit(message))
        except UnavailableError as error:
            self._error = str(error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever failed, the message must not be lost
            _log.exception("%s: a message was not taken", self.name)
            self._error = str(error) or type(error).__name__
            return False

    def _parse(self, found: FetchedMessage) -> InboundMessage:
        return parse_email(
            found.data,
            self._channel_id,
            size=found.size,
            source={
                "mailbox": self._config.mailbox,
                "uid": found.uid,
                "uid_validity": self._uid_validity or 0,
            },
            limits=self._limits,
        )


def _taken(result: InboundResult) -> bool:
    """Whether the core is done with a message: committed, blocked for good, or a duplicate."""
    if result.event is not None or result.duplicate:
        return True
    return result.error is None and result.reason not in _PASSING
