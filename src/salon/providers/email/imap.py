"""An IMAP4rev1 connection that reads one mailbox, on asyncio streams.

The standard library's client blocks, knows no IDLE in every supported Python, and reads whatever
sizes a server announces.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

from salon.providers.email.errors import CommandRefusedError, MailboxError
from salon.providers.email.imap_config import IMAPConfig
from salon.providers.email.imap_wire import (
    Response,
    check_limit,
    fetched,
    literal_size,
    numbers,
    quoted,
)

_MAX_LINE = 4_194_304
"""Bytes; half a million numbers of unseen messages come on one line."""
_MAX_RESPONSES = 10_000
_NEWS = (b" EXISTS", b" RECENT")


@dataclass(frozen=True, slots=True)
class FetchedMessage:
    """The beginning of a message, and how many bytes it has in all."""

    uid: int
    size: int
    data: bytes


class IMAPConnection:
    """Logged in and in a mailbox once `open` returned; then one command at a time.

    Everything raises `MailboxError`, `OSError` or `TimeoutError` when the connection is of no use
    any more.
    """

    def __init__(
        self, config: IMAPConfig, context: ssl.SSLContext | None, *, max_bytes: int
    ) -> None:
        self._config = config
        self._context = context
        self._max_bytes = max_bytes
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tag = 0
        self._news = False
        self.capabilities: frozenset[str] = frozenset()
        self.uid_validity = 0

    @property
    def can_idle(self) -> bool:
        return self._config.idle and "IDLE" in self.capabilities

    async def open(self) -> None:
        """Connect, secure, log in, select."""
        config = self._config
        async with asyncio.timeout(config.connect_timeout):
            self._reader, self._writer = await asyncio.open_connection(
                config.host,
                config.real_port,
                ssl=self._context if config.tls == "implicit" else None,
                limit=_MAX_LINE,
            )
        async with asyncio.timeout(config.timeout):
            greeting = await self._response()
        if greeting.status not in (b"OK", b"PREAUTH"):
            raise MailboxError(f"the server does not greet: {greeting.text}")
        if config.tls == "starttls":
            await self._start_tls()
        if greeting.status != b"PREAUTH":
            await self._login()
        await self._ask_capabilities()
        await self._select()

    async def unseen(self) -> list[int]:
        """The UIDs without the flag Seen, ascending."""
        found: list[int] = []
        self._news = False  # before the search: what is announced during it may not be in it
        for response in await self._command(b"UID SEARCH UNSEEN UNDELETED"):
            if response.status == b"SEARCH":
                found += numbers(response)
        return sorted(set(found))

    async def fetch(self, uid: int) -> FetchedMessage | None:
        """A message, at most `max_bytes` of it, left unseen; None if it is gone."""
        wanted = b"UID FETCH %d (UID RFC822.SIZE BODY.PEEK[]<0.%d>)" % (uid, self._max_bytes)
        for response in await self._command(wanted):
            if b" FETCH (" not in response.line.upper():
                continue
            items = fetched(response)
            data = next((items[name] for name in items if name.startswith(b"BODY[]")), None)
            if items.get(b"UID") == b"%d" % uid and data is not None:
                size = items.get(b"RFC822.SIZE", b"")
                return FetchedMessage(uid, int(size) if size.isdigit() else len(data), data)
        return None

    async def mark_seen(self, uid: int) -> None:
        """Set the flag Seen; a message that is gone is no error."""
        await self._command(rb"UID STORE %d +FLAGS.SILENT (\Seen)" % uid)

    async def wait_for_news(self, seconds: float) -> bool:
        """Whether new mail was announced within that time (IDLE, RFC 2177)."""
        if self._news:
            return True
        tag = await self._begin(b"IDLE")
        async with asyncio.timeout(self._config.timeout):
            while not (response := await self._response()).line.startswith(b"+"):
                if response.tagged(tag):
                    raise CommandRefusedError(f"IDLE is refused: {response.text}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._news:
                    await self._response()
        self._write(b"DONE\r\n")
        async for _ in self._until(tag, "IDLE"):
            pass
        return self._news

    async def close(self) -> None:
        """Drop the connection. Idempotent; waits for nobody."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _start_tls(self) -> None:
        await self._command(b"STARTTLS")
        assert self._writer is not None
        # what came before TLS was not protected: there must be nothing
        if getattr(self._reader, "_buffer", b""):
            raise MailboxError("the server sent plain text behind STARTTLS", permanent=True)
        async with asyncio.timeout(self._config.connect_timeout):
            await self._writer.start_tls(
                self._context or ssl.create_default_context(), server_hostname=self._config.host
            )

    async def _login(self) -> None:
        username = self._config.username
        password = self._config.password.get_secret_value()
        try:
            tag = await self._begin(b"LOGIN", username.encode(), password.encode())
            async for _ in self._until(tag, "LOGIN"):
                pass
        except CommandRefusedError as error:
            permanent = "UNAVAILABLE" not in str(error)
            raise MailboxError(
                f"the server refuses the login of {username!r}", permanent=permanent
            ) from None

    async def _ask_capabilities(self) -> None:
        for response in await self._command(b"CAPABILITY"):
            if response.status == b"CAPABILITY":
                words = response.line.decode("ascii", "replace").upper().split()
                self.capabilities = frozenset(words[2:])

    async def _select(self) -> None:
        try:
            responses = await self._command(b"SELECT " + quoted(self._config.mailbox))
        except CommandRefusedError as error:
            raise MailboxError(str(error), permanent=True) from error
        for response in responses:
            if (value := response.code(b"UIDVALIDITY")) is not None and value.isdigit():
                self.uid_validity = int(value)
            if response.code(b"READ-ONLY") is not None:
                raise MailboxError("the mailbox is read-only", permanent=True)

    async def _command(self, command: bytes) -> list[Response]:
        tag = await self._begin(command)
        name = command.split(b" ", 1)[0].decode()
        return [response async for response in self._until(tag, name)]

    async def _begin(self, command: bytes, *literals: bytes) -> bytes:
        """Send a command; arguments that may hold anything go as literals."""
        self._tag += 1
        tag = b"S%d" % self._tag
        line = tag + b" " + command
        for literal in literals:
            self._write(line + b" {%d}\r\n" % len(literal))
            async with asyncio.timeout(self._config.timeout):
                while not (response := await self._response()).line.startswith(b"+"):
                    if response.tagged(tag):
                        raise CommandRefusedError(f"{command.decode()} is refused: {response.text}")
            line = literal
        self._write(line + b"\r\n")
        assert self._writer is not None
        async with asyncio.timeout(self._config.timeout):
            await self._writer.drain()
        return tag

    async def _until(self, tag: bytes, name: str) -> AsyncIterator[Response]:
        """The untagged responses up to the tagged one, which must be OK."""
        budget = self._max_bytes + 4 * _MAX_LINE
        for _ in range(_MAX_RESPONSES):
            async with asyncio.timeout(self._config.timeout):
                response = await self._response()
            if response.tagged(tag):
                if response.status != b"OK":
                    raise CommandRefusedError(f"{name} is refused: {response.text}")
                return
            budget -= len(response.line) + sum(map(len, response.literals))
            check_limit(-budget, 0)
            yield response
        raise MailboxError(f"{name} has no end")

    async def _response(self) -> Response:
        reader = self._reader
        if reader is None:
            raise MailboxError("the connection is not open")
        line = bytearray()
        literals: list[bytes] = []
        while True:
            try:
                piece = await reader.readuntil(b"\r\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                raise MailboxError("the server ended the connection") from error
            line += piece[:-2]
            check_limit(len(line), _MAX_LINE)
            size = literal_size(piece[:-2])
            if size is None:
                break
            check_limit(size + sum(map(len, literals)), self._max_bytes)
            try:
                literals.append(await reader.readexactly(size))
            except asyncio.IncompleteReadError as error:
                raise MailboxError("the server ended the connection") from error
        response = Response(bytes(line), literals)
        if response.line.startswith(b"* ") and response.line.upper().endswith(_NEWS):
            self._news = True
        if response.line.upper().startswith(b"* BYE"):
            raise MailboxError(f"the server says goodbye: {response.text}")
        return response

    def _write(self, data: bytes) -> None:
        if self._writer is None:
            raise MailboxError("the connection is not open")
        self._writer.write(data)
