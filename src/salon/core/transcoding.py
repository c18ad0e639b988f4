"""What a target that cannot carry a content gets instead (chapter 18).

Texts for people have fixed forms (R187); a URL appears in them only if it is a link (AMB-8).
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any, Final

from salon.core.ports.transcoder import ContentTranscoder
from salon.models import (
    AudioContent,
    ChannelBinding,
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

ELLIPSIS: Final = "..."
DELETED: Final = "[Message deleted]"
CORRECTION: Final = "Correction: "
_FILE: Final = "attached file"
_TAG = re.compile(r"<[^<>]*>")
_DATA = re.compile(r"data:[\w.+-]+/[^\s()<>\"']*", re.IGNORECASE)


class DefaultContentTranscoder(ContentTranscoder):
    """Goes by the capabilities of the target's binding alone."""

    async def transcode(
        self,
        content: EventContent,
        source_binding: ChannelBinding,
        target_binding: ChannelBinding,
    ) -> EventContent | None:
        del source_binding
        return transcode(content, target_binding.capabilities)


def transcode(content: EventContent, capabilities: ChannelCapabilities) -> EventContent | None:
    """`content` in a form the target takes, its texts cut to `max_length`; the same object if
    nothing changes, None if no form is left (R183-R186)."""
    fitting = _convert(content, capabilities)
    if capabilities.max_length is None or fitting is None:
        return fitting
    return _cut(fitting, max(capabilities.max_length, len(ELLIPSIS)))


def _convert(content: EventContent, capabilities: ChannelCapabilities) -> EventContent | None:
    if type(content) is TextContent:
        return content
    known = _BY_TYPE.get(type(content))
    if known is not None:
        needed, fallback = known
        if needed in capabilities.media_types and _takes(content, capabilities):
            return content
        return TextContent(body=fallback(content))
    if isinstance(content, CompositeContent):
        return _composite(content, capabilities)
    if isinstance(content, EditContent):
        return _edit(content, capabilities)
    if isinstance(content, DeleteContent) and not capabilities.supports_delete:
        return TextContent(body=DELETED)
    return content


def _takes(content: EventContent, capabilities: ChannelCapabilities) -> bool:
    """Whether a target that carries this kind of content carries this file: of a type it names, if
    it names any, and not known to be too large."""
    if not isinstance(content, MediaContent):
        return True
    types, most = capabilities.supported_media_types, capabilities.max_media_size_bytes
    if types:
        kind = _bare(content.mime_type)
        if not any(_bare(one) in (kind, f"{kind.partition('/')[0]}/*", "*/*") for one in types):
            return False
    return most is None or content.size_bytes is None or content.size_bytes <= most


def _bare(mime_type: str) -> str:
    return mime_type.partition(";")[0].strip().lower()


def _edit(content: EditContent, capabilities: ChannelCapabilities) -> EventContent | None:
    new = _convert(content.new_content, capabilities)
    if new is not None and capabilities.supports_edit:
        if new is content.new_content:
            return content
        return content.model_copy(update={"new_content": new})
    if isinstance(content.new_content, TextContent):
        return TextContent(body=CORRECTION + content.new_content.body)
    return new


def _composite(content: CompositeContent, capabilities: ChannelCapabilities) -> EventContent | None:
    made = [_convert(part, capabilities) for part in content.parts]
    parts = [part for part in made if part is not None]
    texts = [part.body for part in parts if isinstance(part, TextContent)]
    if not parts:
        return None
    if len(texts) == len(parts):
        return TextContent(body="\n".join(texts))
    if all(new is old for new, old in zip(made, content.parts, strict=True)):
        return content
    return CompositeContent(parts=parts)


def _cut(content: EventContent, limit: int) -> EventContent:
    """Every text in `content` at most `limit` characters long (R185)."""
    if isinstance(content, TextContent):
        if len(content.body) <= limit:
            return content
        body = content.body[: limit - len(ELLIPSIS)] + ELLIPSIS
        return content.model_copy(update={"body": body})
    if isinstance(content, EditContent):
        new = _cut(content.new_content, limit)
        if new is not content.new_content:
            return content.model_copy(update={"new_content": new})
    elif isinstance(content, CompositeContent):
        parts = [_cut(part, limit) for part in content.parts]
        if any(new is not old for new, old in zip(parts, content.parts, strict=True)):
            return content.model_copy(update={"parts": parts})
    return content


# -- the words of a content -----------------------------------------------------------------------


def _link(url: str) -> str:
    """A URL as people may see it: never a data: URI, which is the file itself."""
    return url if url.startswith(("http://", "https://")) else _FILE


def _rich(content: RichContent) -> str:
    if content.plain_text is not None:
        return content.plain_text
    body = content.body
    if content.format == "html":
        body = html.unescape(_TAG.sub("", body))
    return _DATA.sub(_FILE, body)


def _media(content: MediaContent) -> str:
    return f"[Media: {content.caption or content.filename or _link(content.url)}]"


def _audio(content: AudioContent) -> str:
    return content.transcript or f"[Voice message: {_link(content.url)}]"


def _video(content: VideoContent) -> str:
    return f"[Video: {_link(content.url)}]"


def _location(content: LocationContent) -> str:
    place = content.label or content.address or "here"
    return f"[Location: {place} ({content.latitude}, {content.longitude})]"


def _template(content: TemplateContent) -> str:
    return content.body or f"[Template: {content.template_id}]"


_BY_TYPE: Final[dict[type, tuple[ChannelMediaType, Callable[[Any], str]]]] = {
    RichContent: (ChannelMediaType.RICH, _rich),
    MediaContent: (ChannelMediaType.MEDIA, _media),
    AudioContent: (ChannelMediaType.AUDIO, _audio),
    VideoContent: (ChannelMediaType.VIDEO, _video),
    LocationContent: (ChannelMediaType.LOCATION, _location),
    TemplateContent: (ChannelMediaType.TEMPLATE, _template),
}
