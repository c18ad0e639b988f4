"""What an event may carry (R15, R16), and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from salon.models import (
    AudioContent,
    CompositeContent,
    DeleteContent,
    DeleteType,
    EditContent,
    EventContent,
    LocationContent,
    MediaContent,
    RichContent,
    SystemContent,
    TemplateContent,
    TextContent,
    VideoContent,
)
from salon.models.content import MAX_COMPOSITE_DEPTH, ToolCallContent

ANY: TypeAdapter[Any] = TypeAdapter(EventContent)
URL = "https://example.org/x"

EVERY = [
    TextContent(body="hi", language="en"),
    RichContent(body="*hi*", plain_text="hi", buttons=[{"label": "ok"}], quick_replies=["yes"]),
    MediaContent(url=URL, mime_type="image/png", filename="x.png", caption="x", size_bytes=0),
    LocationContent(latitude=-90, longitude=180, label="corner"),
    AudioContent(url="data:audio/ogg;base64,AA==", transcript="hi", duration_seconds=0.5),
    VideoContent(url=URL, thumbnail_url=URL),
    CompositeContent(
        parts=[TextContent(body="a"), CompositeContent(parts=[TextContent(body="b")])]
    ),
    SystemContent(body="closed", code="room_closed", data={"by": "owner"}),
    TemplateContent(template_id="welcome", parameters={"name": "Ann"}, body="Welcome, Ann"),
    EditContent(target_event_id="e", new_content=TextContent(body="better")),
    DeleteContent(target_event_id="e", delete_type=DeleteType.ADMIN, reason="spam"),
    ToolCallContent(tool_name="clock", tool_id="1", arguments={"zone": "UTC"}, result=[1]),
]


@pytest.mark.parametrize("content", EVERY, ids=lambda content: content.type)
def test_R15_every_content_survives_json_and_is_told_apart_by_its_type(content: Any) -> None:
    again = ANY.validate_json(ANY.dump_json(content))
    assert type(again) is type(content)
    assert again == content


@pytest.mark.parametrize("content", EVERY, ids=lambda content: content.type)
def test_R7_content_is_frozen_and_takes_no_unknown_fields(content: Any) -> None:
    with pytest.raises(ValidationError):
        content.type = "other"
    with pytest.raises(ValidationError, match="extra"):
        ANY.validate_python(content.model_dump() | {"surprise": 1})


def test_R15_a_content_without_a_known_type_is_refused() -> None:
    for data in ({"body": "hi"}, {"type": "hologram", "body": "hi"}):
        with pytest.raises(ValidationError):
            ANY.validate_python(data)


def nested(levels: int) -> dict[str, Any]:
    content: dict[str, Any] = {"type": "text", "body": "core"}
    for _ in range(levels):
        content = {"type": "composite", "parts": [{"type": "text", "body": "side"}, content]}
    return content


@given(levels=st.integers(1, 9))
def test_R16_composites_nest_five_levels_and_no_more(levels: int) -> None:
    if levels <= MAX_COMPOSITE_DEPTH == 5:
        assert ANY.validate_python(nested(levels)).type == "composite"
    else:
        with pytest.raises(ValidationError, match="nested deeper than 5"):
            ANY.validate_python(nested(levels))


def test_R16_an_empty_composite_is_refused() -> None:
    with pytest.raises(ValidationError):
        CompositeContent(parts=[])


@pytest.mark.parametrize("kind", ["media", "audio", "video"])
@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("http://a/b", True),
        ("https://a/b", True),
        ("data:,x", True),
        ("file:///etc/passwd", False),
        ("javascript:alert(1)", False),
        ("ftp://a/b", False),
        ("/etc/passwd", False),
        ("", False),
    ],
)
def test_R266_only_web_and_data_urls_are_taken(kind: str, url: str, good: bool) -> None:
    data = {"type": kind, "url": url, "mime_type": "a/b"}
    if good:
        assert ANY.validate_python(data).url == url
    else:
        with pytest.raises(ValidationError, match="url must start with"):
            ANY.validate_python(data)


@pytest.mark.parametrize(
    "data",
    [
        {"type": "location", "latitude": 90.1, "longitude": 0},
        {"type": "location", "latitude": 0, "longitude": -180.1},
        {"type": "media", "url": URL, "mime_type": "a/b", "size_bytes": -1},
        {"type": "audio", "url": URL, "duration_seconds": -0.1},
        {"type": "video", "url": URL, "size_bytes": -1},
        {"type": "delete", "target_event_id": "e", "delete_type": "whoever"},
        {"type": "tool_call", "tool_name": "t", "tool_id": "1", "status": "dreaming"},
        {"type": "rich", "body": "x", "format": "rtf"},
    ],
    ids=lambda data: "-".join(data),
)
def test_values_out_of_range_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ANY.validate_python(data)


def test_defaults_are_those_of_the_rules() -> None:
    assert RichContent(body="x").format == "markdown"
    assert AudioContent(url=URL).mime_type == "audio/ogg"
    assert TemplateContent(template_id="t").language == "en"
    assert DeleteContent(target_event_id="e").delete_type is DeleteType.SENDER
