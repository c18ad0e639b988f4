"""What an event carries: exactly one content, told apart by `type` (R15)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from salon.models.base import Fact
from salon.models.enums import DeleteType

MAX_COMPOSITE_DEPTH = 5


def _check_url(value: str) -> str:
    if not value.startswith(("http://", "https://", "data:")):
        raise ValueError("url must start with http://, https:// or data:")
    return value


class TextContent(Fact):
    """Plain text."""

    type: Literal["text"] = "text"
    body: str
    language: str | None = None


class RichContent(Fact):
    """Formatted text with buttons, cards and quick replies."""

    type: Literal["rich"] = "rich"
    body: str
    format: Literal["markdown", "html"] = "markdown"
    plain_text: str | None = None
    buttons: list[dict[str, Any]] = Field(default_factory=list)
    cards: list[dict[str, Any]] = Field(default_factory=list)
    quick_replies: list[str] = Field(default_factory=list)


class MediaContent(Fact):
    """A file by URL."""

    type: Literal["media"] = "media"
    url: str
    mime_type: str
    filename: str | None = None
    caption: str | None = None
    size_bytes: int | None = Field(default=None, ge=0)

    _url = field_validator("url")(_check_url)


class LocationContent(Fact):
    """A place on earth, degrees."""

    type: Literal["location"] = "location"
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    label: str | None = None
    address: str | None = None


class AudioContent(Fact):
    """Sound by URL, with its words if they are known."""

    type: Literal["audio"] = "audio"
    url: str
    duration_seconds: float | None = Field(default=None, ge=0)
    mime_type: str = "audio/ogg"
    size_bytes: int | None = Field(default=None, ge=0)
    transcript: str | None = None

    _url = field_validator("url")(_check_url)


class VideoContent(Fact):
    """Moving pictures by URL."""

    type: Literal["video"] = "video"
    url: str
    duration_seconds: float | None = Field(default=None, ge=0)
    mime_type: str = "video/mp4"
    size_bytes: int | None = Field(default=None, ge=0)
    thumbnail_url: str | None = None

    _url = field_validator("url")(_check_url)


class CompositeContent(Fact):
    """Several contents in one message, nested at most five levels deep (R16)."""

    type: Literal["composite"] = "composite"
    parts: list[EventContent] = Field(min_length=1)

    @model_validator(mode="after")
    def _not_too_deep(self) -> CompositeContent:
        if _depth(self) > MAX_COMPOSITE_DEPTH:
            raise ValueError(f"composite content is nested deeper than {MAX_COMPOSITE_DEPTH}")
        return self


def _depth(content: object) -> int:
    if not isinstance(content, CompositeContent):
        return 0
    return 1 + max(_depth(part) for part in content.parts)


class SystemContent(Fact):
    """Something the framework says; `code` is for programs, `body` for people."""

    type: Literal["system"] = "system"
    body: str
    code: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class TemplateContent(Fact):
    """A message that its provider knows by id."""

    type: Literal["template"] = "template"
    template_id: str
    language: str = "en"
    parameters: dict[str, Any] = Field(default_factory=dict)
    body: str | None = None


class EditContent(Fact):
    """New content for an earlier event."""

    type: Literal["edit"] = "edit"
    target_event_id: str
    new_content: EventContent
    edit_source: str | None = None

    @field_validator("new_content")
    @classmethod
    def _is_content(cls, value: EventContent) -> EventContent:
        if isinstance(value, EditContent | DeleteContent):
            raise ValueError("the new content of an edit cannot be an edit or a delete itself")
        return value


class DeleteContent(Fact):
    """An earlier event is withdrawn."""

    type: Literal["delete"] = "delete"
    target_event_id: str
    delete_type: DeleteType = DeleteType.SENDER
    reason: str | None = None


class ToolCallContent(Fact):
    """A tool at work."""

    type: Literal["tool_call"] = "tool_call"
    tool_name: str
    tool_id: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    result: Any = None
    status: Literal["pending", "completed", "failed"] = "pending"
    duration_ms: int | None = None
    error: str | None = None
    structured_content: dict[str, Any] | None = None


EventContent = Annotated[
    TextContent
    | RichContent
    | MediaContent
    | LocationContent
    | AudioContent
    | VideoContent
    | CompositeContent
    | SystemContent
    | TemplateContent
    | EditContent
    | DeleteContent
    | ToolCallContent,
    Field(discriminator="type"),
]

CompositeContent.model_rebuild()
EditContent.model_rebuild()
