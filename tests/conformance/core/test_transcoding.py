"""Transcoding (chapter 18; R183-R187)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, staged, text

from salon.models import (
    AudioContent,
    ChannelCapabilities,
    ChannelMediaType,
    CompositeContent,
    EventContent,
    LocationContent,
    MediaContent,
    RichContent,
    SystemContent,
    TemplateContent,
    TextContent,
    VideoContent,
)

URL = "https://example.org/file"
M = ChannelMediaType
# content, the media type that carries it, what its fallback must show
ROWS: dict[str, tuple[Any, ChannelMediaType | None, str]] = {
    "text": (TextContent(body="words"), None, "words"),
    "rich": (RichContent(body="**words**", plain_text="words"), M.RICH, "words"),
    "rich without plain text": (RichContent(body="words"), M.RICH, "words"),
    "media": (MediaContent(url=URL, mime_type="image/png", caption="a cat"), M.MEDIA, "a cat"),
    "media file": (
        MediaContent(url=URL, mime_type="image/png", filename="c.png"),
        M.MEDIA,
        "c.png",
    ),
    "audio": (AudioContent(url=URL, transcript="spoken"), M.AUDIO, "spoken"),
    "audio unheard": (AudioContent(url=URL), M.AUDIO, "Voice message"),
    "video": (VideoContent(url=URL), M.VIDEO, "Video"),
    "location": (LocationContent(latitude=1.5, longitude=2.5, label="Home"), M.LOCATION, "Home"),
    "template": (TemplateContent(template_id="welcome", body="Hello"), M.TEMPLATE, "Hello"),
    "template by id": (TemplateContent(template_id="welcome"), M.TEMPLATE, "welcome"),
}
rows = pytest.mark.parametrize("row", ROWS, ids=[name.replace(" ", "-") for name in ROWS])


async def delivered(
    stage: Stage, content: EventContent, capabilities: ChannelCapabilities
) -> EventContent:
    target = RecordingTransport("target", capabilities=capabilities)
    await stage.room(RecordingTransport("sms"), target)
    await stage.inbound("sms", content=content)
    (event,) = target.got
    (stored,) = await stage.messages()
    assert stored.content == content
    assert (event.id, event.index, event.source) == (stored.id, stored.index, stored.source)
    return event.content


@rows
async def test_R183_R184_what_is_supported_passes_unchanged(stage: Stage, row: str) -> None:
    content, needed, _ = ROWS[row]
    types = [M.TEXT, *([needed] if needed else [])]
    assert await delivered(stage, content, ChannelCapabilities(media_types=types)) == content


@rows
async def test_R183_R187_else_a_text_with_the_salient_value(stage: Stage, row: str) -> None:
    content, _, shown = ROWS[row]
    got = await delivered(stage, content, ChannelCapabilities())
    assert isinstance(got, TextContent)
    assert shown in got.body


async def test_R187_a_data_uri_is_never_shown(stage: Stage) -> None:
    content = MediaContent(url="data:image/png;base64,AAAA", mime_type="image/png")
    got = await delivered(stage, content, ChannelCapabilities())
    assert isinstance(got, TextContent)
    assert "AAAA" not in got.body


async def test_R183_system_content_passes(stage: Stage) -> None:
    content = SystemContent(body="note", code="note")
    assert await delivered(stage, content, ChannelCapabilities()) == content


async def test_R183_a_composite_keeps_what_the_target_takes(stage: Stage) -> None:
    picture = MediaContent(url=URL, mime_type="image/png", caption="a cat")
    content = CompositeContent(
        parts=[text("look"), picture, LocationContent(latitude=1, longitude=2)]
    )
    some = ChannelCapabilities(media_types=[M.TEXT, M.MEDIA])
    got = await delivered(stage, content, some)
    assert isinstance(got, CompositeContent)
    assert [part.type for part in got.parts] == ["text", "media", "text"]


@pytest.mark.parametrize("limit", [3, 10, 26, 27])
async def test_R185_a_text_is_cut_to_the_targets_length(stage: Stage, limit: int) -> None:
    words = "abcdefghijklmnopqrstuvwxyz!"
    got = await delivered(stage, text(words), ChannelCapabilities(max_length=limit))
    assert isinstance(got, TextContent)
    assert len(got.body) <= limit
    if len(words) <= limit:
        assert got.body == words
    else:
        assert got.body == words[: limit - 3] + "..."


async def test_R185_a_fallback_is_cut_too(stage: Stage) -> None:
    content = RichContent(body="-", plain_text="a" * 100)
    got = await delivered(stage, content, ChannelCapabilities(max_length=20))
    assert isinstance(got, TextContent)
    assert len(got.body) == 20


async def test_R186_the_transcoder_is_replaceable() -> None:
    class Shouting:
        async def transcode(self, content: Any, source: Any, target: Any) -> Any:
            return text(content.body.upper())

    async with staged(transcoder=Shouting()) as stage:
        web = RecordingTransport("web")
        await stage.room(RecordingTransport("sms"), web)
        await stage.inbound("sms", "hello", room_id=ROOM)
        assert web.bodies == ["HELLO"]
