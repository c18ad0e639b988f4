"""From an event to an e-mail."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest

from salon.models import (
    AudioContent,
    ChannelData,
    ChannelType,
    CompositeContent,
    EventContent,
    EventSource,
    LocationContent,
    MediaContent,
    RichContent,
    RoomEvent,
    SystemContent,
    TemplateContent,
    TextContent,
    VideoContent,
)
from salon.providers.email import InvalidEmailError, Mailbox, MockEmailProvider, message_id_for
from salon.providers.email.compose import OutgoingEmail, compose
from salon.providers.email.thread import MAX_REFERENCES, bounded, message_ids
from salon.providers.webhooks import ProviderResult

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)


def event(content: EventContent | str = "Hi", **fields: Any) -> RoomEvent:
    found = TextContent(body=content) if isinstance(content, str) else content
    source = EventSource(channel_id="ws", channel_type=ChannelType.WEBSOCKET)
    return RoomEvent(room_id="r", source=source, content=found, **fields)


def made(item: RoomEvent, subject: str = "S", limit: int = 100) -> OutgoingEmail:
    return compose(
        item,
        sender=Mailbox("bot@salon.example", "Bot"),
        recipient=Mailbox("ann@e.org"),
        subject=subject,
        now=NOW,
        max_attachment_bytes=limit,
    )


def read(outgoing: OutgoingEmail) -> EmailMessage:
    found = email.message_from_bytes(outgoing.data, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def words(content: EventContent) -> str:
    body = read(made(event(content))).get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n").rstrip("\n")


def test_the_message_id_is_that_of_event_and_recipient() -> None:
    item = event()
    assert (
        made(item).message_id
        == made(item).message_id
        == message_id_for(item.id, "ANN@e.org", "salon.example")
    )
    assert made(item).message_id != made(event()).message_id
    assert message_id_for("a", "b", "c") != message_id_for("a", "d", "c")


def test_a_person_is_not_automatic() -> None:
    message = read(made(event()))
    assert "Auto-Submitted" not in message
    assert message["In-Reply-To"] is None
    assert message["Date"].datetime == NOW


def test_threads_follow_what_came_in() -> None:
    data = ChannelData(
        thread_id="<root@e.org>",
        extra={"references": ["<root@e.org>", "<b@e.org>", 7], "message_id": "<c@e.org>"},
    )
    message = read(made(event(channel_data=data)))
    assert message["In-Reply-To"] == "<c@e.org>"
    assert message["References"].split() == ["<root@e.org>", "<b@e.org>", "<c@e.org>"]


def test_threads_follow_events() -> None:
    message = read(
        made(event(parent_event_id="p", responds_to="q", channel_data=ChannelData(thread_id="7")))
    )
    ids = [message_id_for(one, "ann@e.org", "salon.example") for one in "pq"]
    assert message["References"].split() == ids
    assert message["In-Reply-To"] == ids[1]


def test_foreign_ids_stay_ids() -> None:
    assert message_ids("<a@b>\r\nBcc: x <c@d> <a@b> <nope> <e f@g> <ä@b>") == ["<a@b>", "<c@d>"]
    assert message_ids(None) == []
    many = [f"<{n}@e>" for n in range(50)]
    assert bounded(many) == ["<0@e>", *many[-MAX_REFERENCES + 1 :]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (SystemContent(body="S"), "S"),
        (TemplateContent(template_id="t", body="T"), "T"),
        (AudioContent(url="https://e.org/a.ogg", transcript="said"), "said\n\nhttps://e.org/a.ogg"),
        (VideoContent(url="https://e.org/v.mp4"), "https://e.org/v.mp4"),
        (
            MediaContent(url="https://e.org/f", mime_type="a/b", filename="f.txt", caption="C"),
            "C\n\nf.txt: https://e.org/f",
        ),
        (RichContent(body="<p>Hi</p>", format="html"), "Hi"),
        (
            RichContent(
                body="Hi",
                buttons=[{"label": "Go", "url": "https://e.org"}, {"label": "Say", "url": "x:y"}],
                cards=[{"title": "T", "description": "D"}],
                quick_replies=["Yes", "No"],
            ),
            "Hi\n\nT - D\n\nGo: https://e.org\n\nSay\n\n- Yes\n- No",
        ),
        (TextContent(body="a\r\nb\rc\x00\ud800"), "a\nb\nc\ufffd?"),
    ],
)
def test_words_of_contents(content: EventContent, text: str) -> None:
    assert words(content) == text


def test_files_in_data_uris_are_attached() -> None:
    files = [
        MediaContent(
            url="data:,a%20b", mime_type="Text/Plain; charset=x", filename='a"\r\n/=?b.txt'
        ),
        MediaContent(url="data:image/png;base64,AAA%3D", mime_type="x"),
        AudioContent(url="data:;base64,AA=="),
        VideoContent(url="data:multipart/mixed,x"),
    ]
    message = read(made(event(CompositeContent(parts=list(files)))))
    attached = list(message.iter_attachments())
    assert [(a.get_filename(), a.get_content_type()) for a in attached] == [
        ("a_b.txt", "text/plain"),
        ("attachment-2.png", "image/png"),
        ("attachment-3.ogg", "audio/ogg"),
        ("attachment-4.octet", "application/octet-stream"),
    ]
    assert attached[0].get_payload(decode=True) == b"a b"
    assert attached[1].get_payload(decode=True) == b"\0\0"


@pytest.mark.parametrize(
    ("content", "subject", "error"),
    [
        ("", "S", "empty_message"),
        (" \n", "S", "empty_message"),
        (LocationContent(latitude=1, longitude=2), "S", "empty_message"),
        ("x", "a\tb", "invalid_subject"),
        ("x", "a" * 999, "invalid_subject"),
        (MediaContent(url="data:x", mime_type="a/b"), "S", "invalid_attachment"),
        (MediaContent(url="data:a/b;base64,*", mime_type="a/b"), "S", "invalid_attachment"),
        (MediaContent(url="data:," + "x" * 101, mime_type="a/b"), "S", "attachments_too_large"),
        (
            MediaContent(url="data:;base64," + "A" * 200, mime_type="a/b"),
            "S",
            "attachments_too_large",
        ),
        (
            CompositeContent(parts=[MediaContent(url="data:," + "x" * 60, mime_type="a/b")] * 2),
            "S",
            "attachments_too_large",
        ),
    ],
)
def test_refused_before_anything_is_sent(
    content: EventContent | str, subject: str, error: str
) -> None:
    with pytest.raises(InvalidEmailError) as refusal:
        made(event(content), subject)
    assert refusal.value.error == error


async def test_the_mock_keeps_what_it_should_send() -> None:
    refusal = ProviderResult(success=False, error="no")
    mock = MockEmailProvider(refusal)
    item = event()
    assert await mock.send(item, "a@e.org") is refusal
    assert (await mock.send(item, "a@e.org", "b@e.org", "S")).provider_message_id == "mock-2"
    assert mock.sent == [
        {"event": item, "to": "a@e.org", "from": "", "subject": ""},
        {"event": item, "to": "a@e.org", "from": "b@e.org", "subject": "S"},
    ]
    await mock.close()
    assert mock.closed
    assert mock.parse_inbound({"from": "a@e.org", "text": "x"}, "mail").sender_id == "a@e.org"
