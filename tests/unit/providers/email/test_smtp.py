"""Sending against servers that answer unusually."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.providers.email.scripted import Answer, line_server

from salon.base import ConfigurationError
from salon.models import ChannelData, ChannelType, EventSource, RoomEvent, TextContent
from salon.providers.email import SMTPConfig, SMTPEmailProvider
from salon.providers.webhooks import ProviderResult, WebhookSigner, WebhookVerifier
from salon.testing import VirtualClock

FROM = "bot@salon.example"
EHLO = b"250 hi\r\n"


def event(**fields: Any) -> RoomEvent:
    source = EventSource(channel_id="ai", channel_type=ChannelType.AI)
    return RoomEvent(room_id="r", source=source, content=TextContent(body="Hi"), **fields)


def config(**settings: Any) -> SMTPConfig:
    known = {"host": "127.0.0.1", "tls": "none", "from_address": FROM, "timeout": 2.0}
    return SMTPConfig(**(known | settings))


def speaking(**answers: bytes | None) -> Answer:
    """A server that takes everything but what `answers` says, by the first word of a line."""
    in_data = False

    def answer(line: bytes) -> bytes | None:
        nonlocal in_data
        if in_data:
            in_data = line != b"."
            return b"" if in_data else answers.get("end", b"250 taken\r\n")
        verb = line[:4].decode("ascii", "replace").strip().lower()
        if verb in answers:
            return answers[verb]
        in_data = verb == "data"
        return b"354 go\r\n" if in_data else EHLO if verb == "ehlo" else b"250 ok\r\n"

    return answer


async def sent(answer: Answer, greeting: bytes = b"220 hi\r\n", **settings: Any) -> ProviderResult:
    async with line_server(greeting, answer) as port:
        provider = SMTPEmailProvider(config(port=port, **settings))
        result = await provider.send(event(), "ann@e.org")
        await provider.close()
        await provider.close()
    return result


@pytest.mark.parametrize(
    ("greeting", "answers", "error", "retryable", "unknown"),
    [
        (b"220 hi\r\n", {}, None, False, False),
        (b"421 busy\r\n", {}, "smtp_421", True, False),
        (b"554 go away\r\n", {}, "smtp_554", False, False),
        (b"nonsense\r\n", {}, "connection_failed", True, False),
        (b"220 hi\r\n", {"ehlo": b"502 no\r\n", "helo": b"550 no\r\n"}, "smtp_550", False, False),
        (b"220 hi\r\n", {"mail": b"421 4.3.2 bye\r\n"}, "smtp_421", True, False),
        (b"220 hi\r\n", {"mail": b"553 no\r\n", "rset": None}, "smtp_553", False, False),
        (b"220 hi\r\n", {"data": b"554 no\r\n"}, "smtp_554", False, False),
        (b"220 hi\r\n", {"data": None}, "connection_lost", True, False),
        (b"220 hi\r\n", {"end": None}, "connection_lost", True, True),
        (b"220 hi\r\n", {"end": b"garbage\r\n"}, "connection_lost", True, True),
        (b"220 hi\r\n", {"end": b"199 what\r\n"}, "connection_lost", True, True),
        (b"220 hi\r\n", {"end": b""}, "timeout", True, True),
        (b"220 hi\r\n", {"rcpt": b""}, "timeout", True, False),
    ],
)
async def test_answers(
    greeting: bytes,
    answers: dict[str, bytes | None],
    error: str | None,
    retryable: bool,
    unknown: bool,
) -> None:
    result = await sent(speaking(**answers), greeting, timeout=0.2)
    assert (result.error, result.retryable, result.outcome_unknown) == (error, retryable, unknown)
    assert result.success is (error is None)


@pytest.mark.parametrize(
    ("offered", "answers", "error", "retryable"),
    [
        ("", {}, "auth_unavailable", False),
        ("250-AUTH PLAIN\r\n", {"auth": b"535 5.7.8 no\r\n"}, "auth_error", False),
        ("250-AUTH PLAIN\r\n", {"auth": b"454 later\r\n"}, "auth_error", True),
        ("250-AUTH PLAIN\r\n", {"auth": None}, "connection_failed", True),
        ("250-AUTH PLAIN\r\n", {"auth": b"235 ok\r\n"}, None, False),
        ("250-AUTH LOGIN\r\n", {"auth": b"535 no\r\n"}, "auth_error", False),
        ("250-AUTH X\r\n", {}, "auth_unavailable", False),
    ],
)
async def test_logins(
    offered: str, answers: dict[str, bytes | None], error: str | None, retryable: bool
) -> None:
    hello = f"250-hi\r\n{offered}250 ok\r\n".encode()
    result = await sent(
        speaking(ehlo=hello, **answers), username="bot", password="hidden", timeout=0.5
    )
    assert (result.error, result.retryable) == (error, retryable)
    assert "hidden" not in str(result)


async def test_passwords_outside_ascii_need_a_server_that_takes_them() -> None:
    hello = b"250-hi\r\n250 AUTH LOGIN\r\n"
    result = await sent(speaking(ehlo=hello, auth=b"334 \r\n"), username="bot", password="ä")
    assert result.error == "auth_unavailable"


async def test_starttls_refused() -> None:
    answer = speaking(ehlo=b"250-hi\r\n250 STARTTLS\r\n", star=b"454 not now\r\n")
    assert (await sent(answer, tls="starttls")).error == "smtp_454"


async def test_a_slow_connection_counts_as_time() -> None:
    result = await sent(speaking(), b"", send_timeout=0.1)
    assert (result.error, result.retryable, result.outcome_unknown) == ("timeout", True, False)


async def test_old_connections_are_dropped() -> None:
    clock = VirtualClock()
    greeted: list[bytes] = []

    def answer(line: bytes) -> bytes | None:
        greeted.append(line)
        return taking(line)

    taking = speaking()
    async with line_server(b"220 hi\r\n", answer) as port:
        provider = SMTPEmailProvider(config(port=port, idle_timeout=30), clock=clock)
        assert (await provider.send(event(), "ann@e.org")).success
        clock.advance(31)
        assert (await provider.send(event(), "ann@e.org")).success
        assert provider.statistics().connections == 2
        assert provider.statistics().idle == 1
        await provider.close()
    assert greeted[-1].upper() == b"QUIT"


async def test_where_the_subject_comes_from() -> None:
    lines: list[bytes] = []
    taking = speaking()

    def answer(line: bytes) -> bytes | None:
        lines.append(line)
        return taking(line)

    data = ChannelData(extra={"subject": "Two"})
    async with line_server(b"220 hi\r\n", answer) as port:
        provider = SMTPEmailProvider(config(port=port, subject="Three"))
        await provider.send(event(metadata={"subject": "One"}, channel_data=data), "ann@e.org")
        await provider.send(event(channel_data=data), "ann@e.org", "Other <o@salon.example>")
        await provider.send(event(metadata={"subject": 7}), "ann@e.org")
        await provider.send(event(channel_data=data), "ann@e.org", None, "Given")
        await provider.close()
    subjects = [line for line in lines if line.startswith(b"Subject:")]
    assert subjects == [f"Subject: {name}".encode() for name in ("One", "Two", "Three", "Given")]
    assert b"MAIL FROM:<o@salon.example>" in lines


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "mail.example"},
        {"host": "mail.example", "tls": "ssl"},
        {"username": "bot"},
        {"password": "x"},
        {"from_address": "no"},
        {"from_address": "a@e.org\nBcc: x"},
        {"subject": "a\nb"},
        {"hello_name": "a\nb"},
        {"port": 0},
        {"max_connections": 0},
        {"unknown": 1},
    ],
)
def test_settings_that_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**wrong)


def test_settings() -> None:
    assert config().real_port == 25
    assert config(tls="starttls", host="mail.example").real_port == 587
    assert config(tls="implicit", host="mail.example", port=99).real_port == 99
    assert config(host="mail.example", allow_plaintext=True).hello == "salon.example"
    assert config(hello_name="me.example").hello == "me.example"
    assert "hidden" not in repr(config(username="u", password="hidden"))
    with pytest.raises(ConfigurationError):
        SMTPEmailProvider(config(tls="implicit", ca_file=Path("/nowhere")))
    assert repr(SMTPEmailProvider(config())) == "<SMTPEmailProvider 127.0.0.1:25>"


def test_R216_webhooks_are_proven() -> None:
    clock = VirtualClock()
    provider = SMTPEmailProvider(config(), verifier=WebhookVerifier("secret", clock=clock))
    headers = WebhookSigner("secret", clock=clock).headers("msg_1", b"x")
    assert provider.verify(headers, b"x").id == "msg_1"
    with pytest.raises(ConfigurationError):
        SMTPEmailProvider(config()).verify(headers, b"x")
