"""Messages from outside, whole and as JSON."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.models import CompositeContent, InboundMessage, MediaContent, TextContent
from salon.providers.email import (
    EmailLimits,
    EmailWebhook,
    InvalidEmailError,
    parse_email,
    parse_email_webhook,
)
from salon.providers.webhooks import (
    WebhookPayloadError,
    WebhookSignatureError,
    WebhookSigner,
    WebhookVerifier,
)
from salon.testing import VirtualClock

MIXED = b"""From: =?utf-8?q?=C3=84nne?= <Ann@Example.org>\r
To: bot@salon.example, "Bob" <BOB@e.org>, broken\r
Cc: c@e.org\r
Subject: =?utf-8?b?R3LDtsOfZQ==?=\r\n of things\r
Message-ID: <m@e.org>\r
In-Reply-To: <b@e.org>\r
References: <root@e.org>\r\n <b@e.org>\r
Date: Mon, 05 Jan 2026 08:00:00 +0000\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=x\r
\r
--x\r
Content-Type: multipart/alternative; boundary=y\r
\r
--y\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: quoted-printable\r
\r
Gr=FC=DFe\r
\r
On Monday, Bob wrote:\r
> Hi\r
--y\r
Content-Type: text/html\r
\r
<p>other</p>\r
--y--\r
--x\r
Content-Type: image/png\r
Content-Disposition: attachment; filename="../a.png"\r
Content-Transfer-Encoding: base64\r
\r
AAAA\r
--x\r
Content-Type: message/rfc822\r
\r
From: inner@e.org\r
\r
inner\r
--x--\r
"""


def plain(text: str = "Hi", **headers: str) -> bytes:
    lines = {"From": "a@e.org"} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{head}\r\n{text}".encode()


def body(message: InboundMessage) -> str:
    assert isinstance(message.content, TextContent)
    return message.content.body


def test_a_whole_message() -> None:
    found = parse_email(MIXED, "mail", source={"uid": 7})
    assert (found.sender_id, body(found)) == ("ann@example.org", "Grüße")
    assert found.idempotency_key == found.provider_message_id == found.external_id == "<m@e.org>"
    assert found.thread_id == "<root@e.org>"
    assert found.metadata == {
        "subject": "Größe of things",
        "from_name": "Änne",
        "to": ["bot@salon.example", "bob@e.org"],
        "cc": ["c@e.org"],
        "message_id": "<m@e.org>",
        "in_reply_to": "<b@e.org>",
        "references": ["<root@e.org>", "<b@e.org>", "<m@e.org>"],
        "date": "2026-01-05T08:00:00+00:00",
        "quoted": "On Monday, Bob wrote:\n> Hi",
        "attachments": [
            {"filename": ".._a.png", "mime_type": "image/png", "size": 3},
            {"filename": "attachment", "mime_type": "message/rfc822", "size": 24},
        ],
        "attachment_count": 2,
    }
    assert found.raw_payload["uid"] == 7
    assert found.raw_payload["size"] == len(MIXED)
    assert found.raw_payload["headers"].startswith("From: =?utf-8?q?")


def test_small_attachments_become_content_if_wanted() -> None:
    found = parse_email(MIXED, "mail", limits=EmailLimits(inline_bytes=3, max_attachments=1))
    assert isinstance(found.content, CompositeContent)
    media = found.content.parts[1]
    assert isinstance(media, MediaContent)
    assert (media.url, media.size_bytes) == ("data:image/png;base64,AAAA", 3)
    assert found.metadata["attachment_count"] == 2
    assert found.metadata["truncated"] is True


def test_html_only() -> None:
    raw = plain("<p>Hi</p><blockquote>old</blockquote>", Content_Type="text/html")
    found = parse_email(raw, "mail")
    assert body(found) == "Hi"
    assert found.metadata["quoted"] == "> old"


def test_without_a_message_id_the_key_is_a_digest() -> None:
    one, other = parse_email(plain("1"), "mail"), parse_email(plain("2"), "mail")
    assert one.idempotency_key == parse_email(plain("1"), "mail").idempotency_key
    assert one.idempotency_key != other.idempotency_key
    assert one.thread_id is None
    long = parse_email(plain(Message_ID=f"<{'a' * 240}@e.org>"), "mail")
    assert (long.idempotency_key or "").startswith("sha256:")


def test_limits() -> None:
    found = parse_email(plain("x" * 50), "mail", limits=EmailLimits(max_text=10))
    assert (body(found), found.metadata["truncated"]) == ("x" * 10, True)
    found = parse_email(plain("x" * 5000), "mail", limits=EmailLimits(max_bytes=1024))
    assert found.metadata["truncated"] is True
    found = parse_email(plain(), "mail", size=99_999)
    assert (found.raw_payload["size"], found.metadata["truncated"]) == (99_999, True)
    parts = b"--x\r\n\r\nhi\r\n" * 300
    many = plain(Content_Type="multipart/mixed; boundary=x") + b"\r\n" + parts
    assert parse_email(many, "mail").metadata["truncated"] is True
    for wrong in ({"max_bytes": 1}, {"max_text": 0}, {"max_attachments": -1}, {"inline_bytes": -1}):
        with pytest.raises(ValueError, match=r"must be at least|negative"):
            EmailLimits(**wrong)


@pytest.mark.parametrize(
    ("headers", "automatic"),
    [
        ({}, None),
        ({"Auto_Submitted": "no"}, None),
        ({"Auto_Submitted": "auto-replied; x=y"}, "auto-submitted"),
        ({"Content_Type": "multipart/report; boundary=x"}, "report"),
        ({"Return_Path": "<>"}, "bounce"),
        ({"Return_Path": "<a@e.org>"}, None),
        ({"Precedence": "Bulk"}, "bulk"),
        ({"List_Id": "<l.e.org>"}, "list"),
    ],
)
def test_mail_from_programs_is_marked(headers: dict[str, str], automatic: str | None) -> None:
    assert parse_email(plain(**headers), "mail").metadata.get("automatic") == automatic


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Subject: x\r\n\r\n",
        b"From: a@e.org, b@e.org\r\n\r\n",
        b"From: a@e.org\r\nFrom: b@e.org\r\n\r\n",
        b"From: not an address\r\n\r\n",
        b"From: undisclosed:;\r\n\r\n",
        b"From: " + b"(" * 16_000 + b"\r\n\r\n",
        b"From: a@e.org\r\n" + b"X: y\r\n" * 10_001 + b"\r\n",
        b"From: a@e.org\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 3000,
    ],
)
def test_the_sender_must_be_one(raw: bytes) -> None:
    with pytest.raises(InvalidEmailError):
        parse_email(raw, "mail")


@pytest.mark.parametrize(
    "raw",
    [
        plain(Subject="=?no-such?q?x?="),
        plain(Subject="=?utf-8?b?!!!?="),
        plain(Subject="=?utf-8?b?a?="),
        plain(Date="no"),
        plain("\xff", Content_Type="text/plain; charset=no-such"),
        plain("x", Content_Type="text/plain; charset*=''''"),
        plain("x", Content_Type="text/plain; name*=no-such''%FF"),
        plain("!", Content_Transfer_Encoding="base64"),
        plain("x", Content_Transfer_Encoding="x-uuencode"),
        plain("x", Content_Type="multipart/mixed"),
        plain("x", Content_Type="message/rfc822"),
        plain("x", Content_Type="image/png"),
        plain("", Content_Disposition="attachment; filename*0*=x"),
        plain(Date="Mon, 99 Jan 2026 99:99:99 +9999"),
        b"From: a@e.org\r\nSubject: \xff\xe4\r\n\r\n\xff",
        b"From: a@e.org\r\n" + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" * 400,
    ],
)
def test_defects_are_read_past(raw: bytes) -> None:
    assert parse_email(raw, "mail").sender_id == "a@e.org"


@pytest.mark.parametrize(
    "raw",
    [
        plain("x", Content_Type="text/plain" + ";a*0*=b" * 500_000),
        plain("--x\r\n\r\n" * 400_000, Content_Type="multipart/mixed; boundary=x"),
        plain("> a\n" * 500_000),
        plain("x", X="a\r\n " * 500_000),
    ],
    ids=["parameters", "parts", "lines", "folds"],
)
def test_no_message_takes_long(raw: bytes) -> None:
    began = time.process_time()
    parse_email(raw, "mail")
    assert time.process_time() - began < 5.0


def test_attached_messages_without_sense() -> None:
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(600)
    )
    raw = b"From: a@e.org\r\nContent-Type: message/rfc822\r\n\r\n" + nested
    assert parse_email(raw, "mail").metadata["attachment_count"] == 1


@given(st.binary(max_size=300))
def test_no_bytes_fail_otherwise(rest: bytes) -> None:
    for raw in (
        rest,
        b"From: a@e.org\r\n" + rest,
        b"From: a@e.org\r\nContent-Type: multipart/" + rest,
    ):
        with contextlib.suppress(InvalidEmailError):
            parse_email(raw, "mail")


# -- webhooks -------------------------------------------------------------------------------------

PAYLOAD: dict[str, Any] = {
    "from": "Ann <ANN@e.org>",
    "to": ["bot@salon.example"],
    "cc": "c@e.org",
    "subject": "S",
    "text": "Yes\r\n> No?",
    "message_id": "<m@e.org>",
    "in_reply_to": "<b@e.org>",
    "references": "<root@e.org> <b@e.org>",
    "attachments": [
        {"filename": "a.csv", "content_type": "text/csv", "content": "YSxi"},
        {"size": 7},
    ],
}


def test_a_payload() -> None:
    found = parse_email_webhook(PAYLOAD, "mail", webhook_id="w")
    assert (found.sender_id, body(found)) == ("ann@e.org", "Yes")
    assert found.idempotency_key == "<m@e.org>"
    assert found.thread_id == "<root@e.org>"
    assert found.raw_payload == PAYLOAD
    assert found.metadata["quoted"] == "> No?"
    assert found.metadata["attachments"] == [
        {"filename": "a.csv", "mime_type": "text/csv", "size": 3},
        {"filename": "attachment", "mime_type": "application/octet-stream", "size": 7},
    ]
    inline = parse_email_webhook(PAYLOAD, "mail", limits=EmailLimits(inline_bytes=10))
    assert isinstance(inline.content, CompositeContent)


def test_other_payloads() -> None:
    html = {"from": "a@e.org", "html": "<b>Hi</b>"}
    assert body(parse_email_webhook(html, "mail")) == "Hi"
    assert parse_email_webhook(html, "mail", webhook_id="w").idempotency_key == "w"
    key = parse_email_webhook(html, "mail").idempotency_key
    assert (key or "").startswith("sha256:")
    assert body(parse_email_webhook({"from": "a@e.org"}, "mail")) == ""
    whole = {"raw": base64.b64encode(MIXED).decode()}
    found = parse_email_webhook(whole, "mail")
    assert (found.idempotency_key, found.raw_payload) == ("<m@e.org>", whole)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"from": 7},
        {"from": "no"},
        {"from": "a@e.org\r\nBcc: x"},
        {"from": "a@e.org", "text": 7},
        {"from": "a@e.org", "subject": "x" * 999},
        {"from": "a@e.org", "to": [7]},
        {"from": "a@e.org", "to": "no"},
        {"from": "a@e.org", "attachments": {"a": 1}},
        {"from": "a@e.org", "attachments": [7]},
        {"from": "a@e.org", "attachments": [{"content": "*"}]},
        {"raw": 7},
        {"raw": "*"},
        {"raw": ""},
    ],
)
def test_payloads_that_are_no_mail(payload: dict[str, Any]) -> None:
    with pytest.raises(WebhookPayloadError):
        parse_email_webhook(payload, "mail")


def test_R216_a_request_is_proven_before_it_is_read() -> None:
    clock = VirtualClock()
    signer = WebhookSigner("secret", clock=clock)
    door = EmailWebhook(WebhookVerifier("secret", clock=clock), "mail")
    request = json.dumps(PAYLOAD).encode()
    headers = signer.headers("msg_1", request)
    assert door.receive(headers, request).idempotency_key == "<m@e.org>"
    with pytest.raises(WebhookSignatureError):
        door.receive(headers, request + b" ")
    with pytest.raises(WebhookSignatureError):
        door.receive({}, b"not JSON either")
    for wrong in (b"no", b"[]"):
        with pytest.raises(WebhookPayloadError):
            door.receive(signer.headers("msg_2", wrong), wrong)
    small = EmailWebhook(
        WebhookVerifier("secret", clock=clock), "mail", limits=EmailLimits(max_bytes=1024)
    )
    with pytest.raises(WebhookPayloadError):
        small.receive({}, b"x" * 1025)
