"""Reading from servers that answer unusually."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.providers.email.scripted import Answer, line_server

from salon.base import ConfigurationError, UnavailableError
from salon.models import InboundMessage, InboundResult, SourceStatus
from salon.providers.email import EmailLimits, IMAPConfig, MailboxError, MailboxSource
from salon.providers.email.imap_wire import Response, fetched

MAIL = b"From: a@e.org\r\nMessage-ID: <m@e.org>\r\n\r\nHi\r\n"


def config(**settings: Any) -> IMAPConfig:
    known: dict[str, Any] = {"host": "127.0.0.1", "tls": "none"}
    known |= {"username": "bot", "password": "hidden"}
    known |= {"reconnect_delay": 0.001, "retry_delay": 0.001, "poll_interval": 0.01}
    return IMAPConfig(**(known | {"timeout": 1.0, "max_failures": 2} | settings))


class Mail:
    """One unseen message; `answers` replace what is said to a command."""

    def __init__(self, **answers: bytes | None) -> None:
        self.answers = answers
        self.unseen = {1}
        self.validity = 1
        self.data = MAIL
        self.news = b""
        self.lines: list[bytes] = []
        self.literals = 0
        self.idle_tag = b""

    def __call__(self, line: bytes) -> bytes | None:
        self.lines.append(line)
        if self.literals:
            self.literals -= 1
            return b"+ more\r\n" if self.literals else b"S1 OK in\r\n"
        if line == b"DONE":
            return self.idle_tag + b" OK idled\r\n"
        tag, _, rest = line.partition(b" ")
        verb = rest.split(b" ")[1 if rest.startswith(b"UID") else 0].decode().lower()
        if verb in self.answers:
            said = self.answers[verb]
            return said if said is None else said.replace(b"TAG", tag)
        return self.said(verb, tag, rest)

    def said(self, verb: str, tag: bytes, rest: bytes) -> bytes:
        done = tag + b" OK done\r\n"
        if verb == "login":
            self.literals = 2
            return b"+ go\r\n"
        if verb == "select":
            return b"* OK [UIDVALIDITY %d] ok\r\n" % self.validity + done
        if verb == "search":
            return (
                b"* SEARCH "
                + b" ".join(b"%d" % uid for uid in sorted(self.unseen))
                + b"\r\n"
                + done
            )
        if verb == "fetch":
            head = b"* 1 FETCH (UID 1 RFC822.SIZE %d BODY[]<0> {%d}\r\n"
            return head % (len(self.data), len(self.data)) + self.data + b")\r\n" + done
        if verb == "store":
            self.unseen.discard(int(rest.split()[2]))
            return self.news + done
        if verb == "capability":
            return b"* CAPABILITY IMAP4rev1\r\n" + done
        return done


class Core:
    def __init__(self, *answers: InboundResult | Exception) -> None:
        self.answers = list(answers)
        self.messages: list[InboundMessage] = []
        self.changed = asyncio.Event()

    async def emit(self, message: InboundMessage) -> InboundResult:
        self.messages.append(message)
        self.changed.set()
        answer = self.answers.pop(0) if self.answers else InboundResult(None, True, "hook")
        if isinstance(answer, Exception):
            raise answer
        return answer


async def failing(
    answer: Answer, greeting: bytes = b"* OK hi\r\n", **settings: Any
) -> MailboxError:
    """How a source ends on such a server."""
    async with line_server(greeting, answer) as port:
        source = MailboxSource(
            config(port=port, **settings), "mail", limits=EmailLimits(max_bytes=1024)
        )
        with pytest.raises(MailboxError) as failure:
            await source.start(Core().emit)
        assert source.status is SourceStatus.ERROR
        assert "hidden" not in str(failure.value)
        assert (await source.healthcheck()).error
    return failure.value


@pytest.mark.parametrize(
    ("greeting", "answers", "permanent"),
    [
        (b"* BYE busy\r\n", {}, False),
        (b"* NO\r\n", {}, False),
        (b"", {}, False),
        (b"* OK hi\r\n", {"login": b"TAG NO denied\r\n"}, True),
        (b"* OK hi\r\n", {"login": b"TAG NO [UNAVAILABLE] later\r\n"}, False),
        (b"* OK hi\r\n", {"login": None}, False),
        (b"* OK hi\r\n", {"select": b"TAG NO nothing there\r\n"}, True),
        (b"* OK hi\r\n", {"select": b"* OK [READ-ONLY] x\r\nTAG OK\r\n"}, True),
        (b"* OK hi\r\n", {"capability": b"* BYE now\r\n"}, False),
        (b"* OK hi\r\n", {"search": b"* SEARCH 1 {99999}\r\n"}, False),
        (b"* OK hi\r\n", {"search": b"* 1 X\r\n" * 10_001}, False),
        (b"* OK hi\r\n", {"search": b"* 1 X {3}\r\nab"}, False),
        (b"* OK hi\r\n", {"fetch": b"* 1 FETCH (UID 1 BODY[] {5000}\r\n"}, False),
    ],
)
async def test_servers_that_fail(
    greeting: bytes, answers: dict[str, bytes | None], permanent: bool
) -> None:
    failure = await failing(Mail(**answers), greeting, timeout=0.2, connect_timeout=0.2)
    assert failure.permanent is permanent


async def test_nobody_listens() -> None:
    async with line_server(b"", lambda line: None) as port:
        pass
    source = MailboxSource(config(port=port), "mail")
    with pytest.raises(MailboxError):
        await source.start(Core().emit)
    assert (await source.healthcheck()).metadata["reconnects"] == "1"


async def run(mail: Mail, core: Core, done: Any, **settings: Any) -> MailboxSource:
    """Until `done()`."""
    greeting = settings.pop("greeting", b"* OK hi\r\n")
    async with line_server(greeting, mail) as port:
        source = MailboxSource(config(port=port, max_failures=100, **settings), "mail")
        running = asyncio.create_task(source.start(core.emit))
        async with asyncio.timeout(5):
            while not done():
                await asyncio.sleep(0.002)
            with pytest.raises(RuntimeError):
                await source.start(core.emit)
        await source.stop()
        await running
    return source


async def test_what_the_core_blocks_is_done() -> None:
    mail, core = Mail(), Core(InboundResult(None, True, "hook"))
    await run(mail, core, lambda: not mail.unseen)
    assert len(core.messages) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        UnavailableError("full"),
        RuntimeError("broken"),
        InboundResult(None, True, "process_timeout"),
        InboundResult(None, error=RuntimeError("x")),
    ],
)
async def test_what_is_not_taken_is_offered_again(refusal: InboundResult | Exception) -> None:
    mail, core = Mail(), Core(refusal, InboundResult(None, duplicate=True))
    source = await run(mail, core, lambda: not mail.unseen)
    assert len(core.messages) == 2
    assert (await source.healthcheck()).metadata["retries"] == "1"


async def test_a_flag_that_could_not_be_set_is_set_later() -> None:
    mail, core = Mail(store=None), Core()

    def done() -> bool:
        if core.messages:
            mail.answers.clear()
        return not mail.unseen

    await run(mail, core, done)
    assert len(core.messages) == 1


async def test_new_numbers_mean_new_messages() -> None:
    mail, core = Mail(store=None), Core()

    def done() -> bool:
        if len(core.messages) == 1:
            mail.validity = 2
        if len(core.messages) == 2:
            mail.answers.clear()
        return not mail.unseen

    await run(mail, core, done)
    assert len(core.messages) == 2
    assert [m.raw_payload["uid_validity"] for m in core.messages] == [1, 2]


async def test_a_message_that_is_gone_is_no_error() -> None:
    mail, core = Mail(fetch=b"* 2 FETCH (UID 2 BODY[] {0}\r\n)\r\n* 1 X\r\nTAG OK\r\n"), Core()
    source = await run(mail, core, lambda: sum(b"FETCH" in line for line in mail.lines) > 1)
    assert not core.messages
    assert (await source.healthcheck()).metadata["unfinished"] == "0"


async def test_no_message_ends_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **named: Any) -> InboundMessage:
        raise RecursionError

    monkeypatch.setattr("salon.providers.email.mailbox.parse_email", broken)
    mail, core = Mail(), Core()
    source = await run(mail, core, lambda: sum(b"SEARCH" in line for line in mail.lines) > 2)
    assert (await source.healthcheck()).metadata["unreadable"] == "1"
    assert mail.unseen
    assert not core.messages


async def test_a_server_that_knows_who_we_are() -> None:
    mail = Mail()
    await run(mail, Core(), lambda: not mail.unseen, greeting=b"* PREAUTH hi\r\n")
    assert not any(b"LOGIN" in line for line in mail.lines)


async def test_idle_refused_and_news_before_it() -> None:
    capable = b"* CAPABILITY IDLE\r\nTAG OK\r\n"
    mail = Mail(capability=capable, idle=b"TAG NO idle\r\n")
    source = await run(mail, Core(), lambda: sum(b"IDLE" in line for line in mail.lines) > 1)
    assert (await source.healthcheck()).metadata["reconnects"] != "0"
    mail = Mail(capability=capable)
    mail.news = b"* 1 FETCH ()\r\n* 2 EXISTS\r\n"
    core = Core()
    await run(mail, core, lambda: sum(b"SEARCH" in line for line in mail.lines) > 1)
    assert sum(b"IDLE" in line for line in mail.lines) <= 1
    assert len(core.messages) == 1


async def test_starttls_with_words_behind_it_is_refused() -> None:
    failure = await failing(Mail(starttls=b"TAG OK go\r\n* INJECTED\r\n"), tls="starttls")
    assert failure.permanent


async def test_cancelling_ends_a_source() -> None:
    mail, core = Mail(), Core()
    async with line_server(b"* OK hi\r\n", mail) as port:
        source = MailboxSource(config(port=port), "mail")
        running = asyncio.create_task(source.start(core.emit))
        await core.changed.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert source.status is SourceStatus.STOPPED
        await source.stop()


def test_items_of_a_fetch() -> None:
    line = rb'* 1 FETCH (FLAGS (\Seen (x y)) UID 7 X "a \"b\"" BODY[HEADER.FIELDS (A)]<0> {2}) Z'
    items = fetched(Response(line, [b"hi"]))
    assert items[b"UID"] == b"7"
    assert items[b"FLAGS"] == rb"\Seen x y"
    assert items[b"X"] == b'a "b"'
    assert items[b"BODY[HEADER.FIELDS (A)]<0>"] == b"hi"
    assert fetched(Response(b"* 1 FETCH (UID {3}", [])) == {b"UID": b""}
    assert Response(b"*").status == b""
    assert Response(b"* OK").text == ""


@given(st.binary(max_size=100))
def test_no_fetch_fails(rest: bytes) -> None:
    fetched(Response(b"* 1 FETCH (" + rest, [b"x"]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "mail.example"},
        {"mailbox": "a\r\nb"},
        {"mailbox": "Entwürfe"},
        {"username": ""},
        {"idle_renewal": 1800},
        {"unknown": 1},
    ],
)
def test_settings_that_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**wrong)


def test_settings() -> None:
    assert config().real_port == 143
    assert config(tls="implicit", host="mail.example").real_port == 993
    assert "hidden" not in repr(config())
    source = MailboxSource(config(port=1), "mail")
    assert source.name == "imap:127.0.0.1:1/INBOX"
    assert source.status is SourceStatus.STOPPED
    with pytest.raises(ConfigurationError):
        MailboxSource(config(tls="implicit", ca_file=Path("/nowhere")), "mail")
