"""What a target gets that cannot carry a content (chapter 18). Strings as R187 asks: the salient
value, exact only where the rules are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.core.kit import RoomKit
from salon.core.transcoding import transcode
from salon.models import (
    AudioContent,
    ChannelCapabilities,
    ChannelMediaType,
    CompositeContent,
    DeleteContent,
    EditContent,
    LocationContent,
    MediaContent,
    RichContent,
    SystemContent,
    TemplateContent,
    TextContent,
    VideoContent,
)

from .helpers import ROOM, Transport, room_with, text, timeline

TEXT_ONLY = ChannelCapabilities()
ALL = ChannelCapabilities(
    media_types=list(ChannelMediaType), supports_edit=True, supports_delete=True
)
URL = "https://example.org/x"
DATA = "data:image/png;base64,AAAA"


def image(**more: Any) -> MediaContent:
    return MediaContent(**{"url": URL, "mime_type": "image/png"} | more)


def body(content: Any, capabilities: ChannelCapabilities = TEXT_ONLY) -> str:
    made = transcode(content, capabilities)
    assert isinstance(made, TextContent)
    return made.body


@pytest.mark.parametrize(
    "content",
    [
        text("hi"),
        RichContent(body="*hi*"),
        image(),
        AudioContent(url=URL),
        VideoContent(url=URL),
        LocationContent(latitude=1, longitude=2),
        TemplateContent(template_id="t"),
        SystemContent(body="x"),
        EditContent(target_event_id="e", new_content=text("new")),
        DeleteContent(target_event_id="e"),
        CompositeContent(parts=[text("a"), image()]),
    ],
    ids=lambda content: content.type,
)
def test_R183_what_is_supported_passes_unchanged(content: Any) -> None:
    assert transcode(content, ALL) == content


@pytest.mark.parametrize("content", [text("hi"), SystemContent(body="x")])
def test_text_and_system_contents_need_nothing(content: Any) -> None:
    assert transcode(content, ChannelCapabilities(media_types=[])) is content


@pytest.mark.parametrize(
    ("content", "salient"),
    [
        (RichContent(body="*hi*", plain_text="hi"), "hi"),
        (RichContent(body="*hi*"), "*hi*"),
        (RichContent(body="<b>hi</b> <a href='x'>you</a>", format="html"), "hi you"),
        (RichContent(body="<b>hi</b>", plain_text="", format="html"), ""),
        (AudioContent(url=URL, transcript="spoken"), "spoken"),
        (TemplateContent(template_id="t", body="Welcome"), "Welcome"),
    ],
)
def test_R183_words_that_a_content_brings_along(content: Any, salient: str) -> None:
    assert body(content) == salient


@pytest.mark.parametrize(
    ("content", "salient"),
    [
        (image(caption="a cat", filename="c.png"), ["a cat"]),
        (image(filename="c.png"), ["c.png"]),
        (image(), [URL]),
        (AudioContent(url=URL), ["Voice message", URL]),
        (VideoContent(url=URL), ["Video", URL]),
        (LocationContent(latitude=1.5, longitude=-2, label="pier"), ["pier", "1.5", "-2"]),
        (LocationContent(latitude=1.5, longitude=-2, address="Main St 1"), ["Main St 1"]),
        (LocationContent(latitude=1.5, longitude=-2), ["1.5", "-2"]),
        (TemplateContent(template_id="welcome"), ["welcome"]),
    ],
)
def test_R183_R187_the_fallback_has_the_salient_value(content: Any, salient: list[str]) -> None:
    made = body(content)
    assert made.startswith("[")
    assert all(value in made for value in salient)


@pytest.mark.parametrize(
    "content", [image(url=DATA), AudioContent(url=DATA), VideoContent(url=DATA)]
)
def test_AMB8_a_data_url_is_never_shown(content: Any) -> None:
    assert "base64" not in body(content)


def test_R113_edits_and_deletes_for_those_who_cannot() -> None:
    assert body(EditContent(target_event_id="e", new_content=text("new"))) == "Correction: new"
    assert body(DeleteContent(target_event_id="e")) == "[Message deleted]"
    picture = EditContent(target_event_id="e", new_content=image(caption="a cat"))
    assert "a cat" in body(picture)
    assert "Correction" not in body(picture)
    media = ChannelCapabilities(media_types=[ChannelMediaType.TEXT, ChannelMediaType.MEDIA])
    assert transcode(picture, media) == picture.new_content


def test_R183_a_composite_is_carried_part_by_part() -> None:
    parts = CompositeContent(
        parts=[text("look"), image(caption="a cat"), VideoContent(url=URL)],
    )
    assert body(parts).splitlines()[0] == "look"
    assert "a cat" in body(parts)
    media = ChannelCapabilities(media_types=[ChannelMediaType.TEXT, ChannelMediaType.MEDIA])
    kept = transcode(parts, media)
    assert isinstance(kept, CompositeContent)
    assert [part.type for part in kept.parts] == ["text", "media", "text"]


def test_R183_nested_composites_flatten_too() -> None:
    inner = CompositeContent(parts=[text("b"), text("c")])
    assert body(CompositeContent(parts=[text("a"), inner])) == "a\nb\nc"


def test_R186_a_composite_without_parts_cannot_be_represented() -> None:
    empty = CompositeContent.model_construct(parts=[])
    assert transcode(empty, TEXT_ONLY) is None
    edit = EditContent.model_construct(target_event_id="e", new_content=empty)
    assert transcode(edit, TEXT_ONLY) is None


@given(words=st.text(max_size=40), limit=st.integers(1, 50))
def test_R185_text_is_cut_to_the_limit(words: str, limit: int) -> None:
    made = body(text(words), ChannelCapabilities(max_length=limit))
    if len(words) <= limit:
        assert made == words
    else:
        assert len(made) <= max(limit, 3)
        assert made.endswith("...")
        assert words.startswith(made[:-3])


def test_R185_the_fallback_is_cut_too_and_keeps_its_language() -> None:
    short = ChannelCapabilities(max_length=10)
    assert len(body(image(caption="a very long caption"), short)) == 10
    made = transcode(TextContent(body="a" * 20, language="fr"), short)
    assert isinstance(made, TextContent)
    assert made.language == "fr"


def test_R185_only_text_is_cut() -> None:
    rich = ChannelCapabilities(media_types=[ChannelMediaType.RICH], max_length=3)
    assert transcode(RichContent(body="long enough"), rich) == RichContent(body="long enough")


async def test_R52_the_snapshot_of_the_binding_decides(kit: RoomKit) -> None:
    web = Transport("web", capabilities=ChannelCapabilities(max_length=5))
    await room_with(kit, Transport("sms"), web)
    web._capabilities = ChannelCapabilities()
    await kit.send_event(ROOM, "sms", text("a long text"))
    assert web.bodies == ["a ..."]
    await kit.attach_channel(ROOM, "web")
    await kit.send_event(ROOM, "sms", text("a long text"))
    assert web.bodies[1:] == ["a long text"]
    assert [event.text for event in await timeline(kit) if event.text] == ["a long text"] * 2


@pytest.mark.parametrize(("words", "cut"), [("12345", "12345"), ("123456", "12...")])
def test_R185_text_of_just_the_limit_is_whole(words: str, cut: str) -> None:
    assert body(text(words), ChannelCapabilities(max_length=5)) == cut
