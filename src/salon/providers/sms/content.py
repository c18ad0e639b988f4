"""Between event contents and what a text message can hold."""

from __future__ import annotations

from collections.abc import Sequence

from salon.models import (
    AudioContent,
    CompositeContent,
    EventContent,
    MediaContent,
    RichContent,
    SystemContent,
    TemplateContent,
    TextContent,
    VideoContent,
)

MAX_MEDIA = 10


def outgoing(content: EventContent) -> tuple[str, list[str]]:
    """The words and the media URLs of a content, in their order; kinds without either give
    nothing, they are the transcoder's to replace."""
    texts: list[str] = []
    media: list[str] = []
    _collect(content, texts, media)
    return "\n".join(text for text in texts if text), media


def _collect(content: EventContent, texts: list[str], media: list[str]) -> None:
    match content:
        case CompositeContent():
            for part in content.parts:
                _collect(part, texts, media)
        case TextContent() | SystemContent():
            texts.append(content.body)
        case RichContent():
            texts.append(content.plain_text or content.body)
        case TemplateContent():
            texts.append(content.body or "")
        case MediaContent():
            texts.append(content.caption or "")
            media.append(content.url)
        case AudioContent() | VideoContent():
            media.append(content.url)
        case _:
            pass


def incoming(body: str, media: Sequence[tuple[str, str]]) -> EventContent:
    """One content of a text and its media, given as (URL, MIME type)."""
    files = [MediaContent(url=url, mime_type=kind) for url, kind in media]
    if not files:
        return TextContent(body=body)
    if len(files) == 1 and not body:
        return files[0]
    texts: list[EventContent] = [TextContent(body=body)] if body else []
    return CompositeContent(parts=[*texts, *files])
