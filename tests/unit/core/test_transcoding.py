"""What a target gets that cannot carry a content (chapter 18). Strings as R187 asks: the salient
value, exact only where the rules are."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.core.kit import RoomKit
from salon.core.transcoding import DefaultContentTranscoder, transcode
from salon.models import (
    AudioContent,
    ChannelBinding,
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
    long = ALL.model_copy(update={"max_length": 500})
    assert all(transcode(content, target) is content for target in (ALL, long))


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
        (RichContent(body="<p>salt &amp; oil</p>", format="html"), "salt & oil"),
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
    "content",
    [
        image(url=DATA),
        AudioContent(url=DATA),
        VideoContent(url=DATA),
        RichContent(body=f"see ![this]({DATA})"),
        RichContent(body=f"see <img src='{DATA}'> {DATA} ok", format="html"),
        CompositeContent(parts=[text("a"), image(url=DATA)]),
        EditContent(target_event_id="e", new_content=image(url=DATA)),
    ],
    ids=lambda content: content.type,
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
    limit = max(limit, 3)
    if len(words) <= limit:
        assert made == words
    else:
        assert len(made) <= limit
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


async def test_R186_the_default_transcoder_goes_by_the_target() -> None:
    def side(**more: Any) -> ChannelBinding:
        capabilities = ChannelCapabilities(**more)
        return ChannelBinding(
            channel_id="x", room_id=ROOM, channel_type="sms", capabilities=capabilities
        )

    transcoder = DefaultContentTranscoder()
    content = text("long text")
    assert await transcoder.transcode(content, side(max_length=5), side()) is content
    assert await transcoder.transcode(content, side(), side(max_length=5)) == text("lo...")


def test_R184_nothing_is_done_to_the_content_itself() -> None:
    content = CompositeContent(parts=[text("x" * 20), image(caption="a cat")])
    before = content.model_dump()
    transcode(content, ChannelCapabilities(max_length=5))
    assert content.model_dump() == before


def test_R185_texts_inside_are_cut_as_well() -> None:
    rich = ChannelCapabilities(
        media_types=[ChannelMediaType.TEXT, ChannelMediaType.MEDIA],
        supports_edit=True,
        max_length=5,
    )
    composite = transcode(CompositeContent(parts=[text("123456"), image()]), rich)
    assert composite == CompositeContent(parts=[text("12..."), image()])
    edit = EditContent(target_event_id="e", new_content=text("123456"))
    assert transcode(edit, rich) == edit.model_copy(update={"new_content": text("12...")})


def test_R183_a_native_edit_carries_what_the_target_takes() -> None:
    capabilities = ChannelCapabilities(supports_edit=True)
    edit = EditContent(target_event_id="e", new_content=image(caption="a cat"))
    made = transcode(edit, capabilities)
    assert isinstance(made, EditContent)
    assert made.target_event_id == "e"
    assert isinstance(made.new_content, TextContent)
    assert "a cat" in made.new_content.body
    empty = CompositeContent.model_construct(parts=[])
    gone = EditContent.model_construct(target_event_id="e", new_content=empty)
    assert transcode(gone, capabilities) is None


def test_R183_composites_of_five_levels_keep_their_shape() -> None:
    content = CompositeContent(parts=[image()])
    for _ in range(4):
        content = CompositeContent(parts=[content, text("x"), VideoContent(url=URL)])
    made = transcode(content, ALL)
    assert made is content
    assert len(body(content).splitlines()) == 9
    media = ALL.model_copy(update={"media_types": [ChannelMediaType.TEXT, ChannelMediaType.MEDIA]})
    kept: Any = transcode(content, media)
    for _ in range(5):
        assert isinstance(kept, CompositeContent)
        kept = kept.parts[0]
    assert kept == image()


@pytest.mark.parametrize(
    ("types", "most", "size", "taken"),
    [
        ([], None, None, True),
        (["image/png"], None, None, True),
        (["IMAGE/PNG; q=1"], None, None, True),
        (["image/*"], None, None, True),
        (["image/jpeg", "video/*"], None, None, False),
        ([], 10, 10, True),
        ([], 10, 11, False),
        ([], 10, None, True),
    ],
)
def test_R183_a_file_that_the_target_would_refuse_becomes_words(
    types: list[str], most: int | None, size: int | None, taken: bool
) -> None:
    capabilities = ChannelCapabilities(
        media_types=[ChannelMediaType.MEDIA],
        supported_media_types=types,
        max_media_size_bytes=most,
    )
    content = image(caption="a cat", size_bytes=size)
    made = transcode(content, capabilities)
    assert (made is content) == taken
    assert taken or "a cat" in body(content, capabilities)


@pytest.mark.parametrize("piece", ["<", "<a", "&", "data:a/", "<>", "data:"])
def test_the_words_of_hostile_markup_take_linear_time(piece: str) -> None:
    content = RichContent(body=piece * 50_000, format="html")
    began = time.process_time()
    body(content)
    assert time.process_time() - began < 0.5
