"""What a target that cannot carry a content gets instead (chapter 18)."""

from __future__ import annotations

import re

from salon.models import (
    AudioContent,
    ChannelCapabilities,
    ChannelMediaType,
    CompositeContent,
    DeleteContent,
    EditContent,
    EventContent,
    LocationContent,
    MediaContent,
    RichContent,
    TemplateContent,
    TextContent,
    VideoContent,
)

ELLIPSIS = "..."
_NEEDS = (
    (RichContent, ChannelMediaType.RICH),
    (MediaContent, ChannelMediaType.MEDIA),
    (AudioContent, ChannelMediaType.AUDIO),
    (VideoContent, ChannelMediaType.VIDEO),
    (LocationContent, ChannelMediaType.LOCATION),
    (TemplateContent, ChannelMediaType.TEMPLATE),
)
_TAG = re.compile(r"<[^>]*>")


def transcode(content: EventContent, capabilities: ChannelCapabilities) -> EventContent | None:
    """`content` in a form the target takes, cut to its `max_length`; None if there is none
    (R183-R186)."""
    fitting = _convert(content, capabilities)
    limit = capabilities.max_length
    if isinstance(fitting, TextContent) and limit is not None and len(fitting.body) > limit:
        limit = max(limit, len(ELLIPSIS))
        body = fitting.body[: limit - len(ELLIPSIS)] + ELLIPSIS
        return fitting.model_copy(update={"body": body})
    return fitting


def _convert(content: EventContent, capabilities: ChannelCapabilities) -> EventContent | None:
    if isinstance(content, CompositeContent):
        return _composite(content, capabilities)
    if isinstance(content, EditContent):
        return _edit(content, capabilities)
    if isinstance(content, DeleteContent):
        return content if capabilities.supports_delete else TextContent(body="[Message deleted]")
    for kind, needed in _NEEDS:
        if isinstance(content, kind) and needed not in capabilities.media_types:
            return TextContent(body=_fallback(content))
    return content


def _edit(content: EditContent, capabilities: ChannelCapabilities) -> EventContent | None:
    if capabilities.supports_edit:
        return content
    if isinstance(content.new_content, TextContent):
        return TextContent(body=f"Correction: {content.new_content.body}")
    return _convert(content.new_content, capabilities)


def _composite(content: CompositeContent, capabilities: ChannelCapabilities) -> EventContent | None:
    parts = [made for part in content.parts if (made := _convert(part, capabilities)) is not None]
    if not parts:
        return None
    texts = [part.body for part in parts if isinstance(part, TextContent)]
    if len(texts) == len(parts):
        return TextContent(body="\n".join(texts))
    return CompositeContent(parts=parts)


def _link(url: str) -> str:
    """A URL as people may see it: never a whole data: URI."""
    return url if url.startswith(("http://", "https://")) else "attached file"


def _fallback(content: EventContent) -> str:
    match content:
        case RichContent():
            if content.plain_text is not None:
                return content.plain_text
            return _TAG.sub("", content.body) if content.format == "html" else content.body
        case MediaContent():
            return f"[Media: {content.caption or content.filename or _link(content.url)}]"
        case AudioContent():
            return content.transcript or f"[Voice message: {_link(content.url)}]"
        case VideoContent():
            return f"[Video: {_link(content.url)}]"
        case LocationContent():
            place = content.label or content.address or "here"
            return f"[Location: {place} ({content.latitude}, {content.longitude})]"
        case TemplateContent():
            return content.body or f"[Template: {content.template_id}]"
        case _:
            return ""
