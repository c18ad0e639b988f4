"""The rows of chapter 18 that need two events, parts, or a transcoder of one's own (R183-R187)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, staged, text

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
    EventType,
    LocationContent,
    MediaContent,
    RichContent,
    TemplateContent,
    TextContent,
    VideoContent,
)

M = ChannelMediaType
URL = "https://example.org/file"


def target(name: str = "target", **capabilities: Any) -> RecordingTransport:
    return RecordingTransport(name, capabilities=ChannelCapabilities(**capabilities))


async def sent(stage: Stage, content: EventContent, **capabilities: Any) -> EventContent:
    """What a target of these capabilities gets of `content`."""
    web = target(**capabilities)
    await stage.room(RecordingTransport("sms"), web)
    await stage.inbound("sms", content=content)
    return web.got[-1].content


async def changed(stage: Stage, new: EventContent | None, **capabilities: Any) -> Any:
    """What a target gets of an edit to `new`, or of a delete."""
    web = target(**capabilities)
    await stage.room(RecordingTransport("sms"), web)
    event = (await stage.inbound("sms", "first")).event
    assert event is not None
    content: Any = DeleteContent(target_event_id=event.id)
    if new is not None:
        content = EditContent(target_event_id=event.id, new_content=new)
    kind = EventType.DELETE if new is None else EventType.EDIT
    await stage.inbound("sms", content=content, event_type=kind)
    stored = (await stage.timeline())[-1]
    assert stored.content == content, "the stored event is untouched (R184)"
    return web.got[-1].content


# -- edits and deletes ----------------------------------------------------------------------------


async def test_R183_an_edit_goes_native_with_the_flag(stage: Stage) -> None:
    got = await changed(stage, text("second"), supports_edit=True)
    assert isinstance(got, EditContent)
    assert got.new_content == text("second")


async def test_R187_an_edit_is_a_correction_without_it(stage: Stage) -> None:
    assert await changed(stage, text("second")) == text("Correction: second")


async def test_R183_an_edit_to_something_else_is_that_thing_without_a_prefix(stage: Stage) -> None:
    new = MediaContent(url=URL, mime_type="image/png", caption="a cat")
    got = await changed(stage, new)
    assert isinstance(got, TextContent)
    assert "a cat" in got.body
    assert not got.body.startswith("Correction")


async def test_R183_the_new_content_of_a_native_edit_fits_the_target(stage: Stage) -> None:
    new = RichContent(body="**b**", plain_text="b")
    got = await changed(stage, new, supports_edit=True)
    assert isinstance(got, EditContent)
    assert got.new_content == text("b")


async def test_R183_a_delete_goes_native_with_the_flag(stage: Stage) -> None:
    assert isinstance(await changed(stage, None, supports_delete=True), DeleteContent)


async def test_R187_a_delete_is_a_note_without_it(stage: Stage) -> None:
    assert await changed(stage, None) == text("[Message deleted]")


@pytest.mark.parametrize(("edit", "flag"), [(True, "delete"), (False, "edit")])
async def test_R183_each_change_needs_its_own_flag(stage: Stage, edit: bool, flag: str) -> None:
    got = await changed(stage, text("second") if edit else None, **{f"supports_{flag}": True})
    assert isinstance(got, TextContent)


# -- the other rows -------------------------------------------------------------------------------

PICTURE = MediaContent(url=URL, mime_type="image/png", caption="a cat")
COMPOSITES: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "all text is flattened": ([text("one"), text("two")], {}, text("one\ntwo")),
    "all text after fallback": (
        [text("look"), AudioContent(url=URL, transcript="spoken")], {}, text("look\nspoken")
    ),
    "nested": (
        [text("one"), CompositeContent(parts=[text("two"), text("three")])],
        {},
        text("one\ntwo\nthree"),
    ),
    "some fit": (
        [text("look"), PICTURE, VideoContent(url=URL)],
        {"media_types": [M.TEXT, M.MEDIA]},
        ["text", "media", "text"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", COMPOSITES, ids=[n.replace(" ", "-") for n in COMPOSITES])
async def test_R183_parts_of_a_composite_are_fitted_one_by_one(stage: Stage, row: str) -> None:
    parts, capabilities, expected = COMPOSITES[row]
    got = await sent(stage, CompositeContent(parts=parts), **capabilities)
    if isinstance(expected, list):
        assert isinstance(got, CompositeContent)
        assert [part.type for part in got.parts] == expected
    else:
        assert got == expected


@pytest.mark.parametrize("address", [None, "1 Main Street"])
async def test_R187_a_location_says_where(stage: Stage, address: str | None) -> None:
    got = await sent(stage, LocationContent(latitude=1.5, longitude=2.5, address=address))
    assert isinstance(got, TextContent)
    for value in ("1.5", "2.5", *([address] if address else [])):
        assert value in got.body


async def test_R187_html_does_not_reach_a_plain_target(stage: Stage) -> None:
    content = RichContent(body="<b>bold</b> &amp; more", format="html")
    got = await sent(stage, content)
    assert isinstance(got, TextContent)
    assert got.body == "bold & more"


@pytest.mark.parametrize(
    "content",
    [
        AudioContent(url="data:audio/ogg;base64,AAAA"),
        VideoContent(url="data:video/mp4;base64,AAAA"),
        MediaContent(url="data:image/png;base64,AAAA", mime_type="image/png"),
        RichContent(body="see data:image/png;base64,AAAA there"),
    ],
    ids=["audio", "video", "media", "rich"],
)
async def test_R187_no_data_uri_is_shown_to_anybody(stage: Stage, content: Any) -> None:
    got = await sent(stage, content)
    assert isinstance(got, TextContent)
    assert "AAAA" not in got.body


async def test_R183_a_template_without_words_says_its_id(stage: Stage) -> None:
    got = await sent(stage, TemplateContent(template_id="welcome"))
    assert isinstance(got, TextContent)
    assert "welcome" in got.body


# -- length ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2])
async def test_R185_a_limit_below_three_is_three(stage: Stage, limit: int) -> None:
    got = await sent(stage, text("abcdef"), max_length=limit)
    assert got == text("...")


async def test_R185_rich_text_that_passes_is_not_cut(stage: Stage) -> None:
    content = RichContent(body="x" * 100)
    got = await sent(stage, content, media_types=[M.TEXT, M.RICH], max_length=10)
    assert got == content


async def test_R185_each_target_has_its_own_length(stage: Stage) -> None:
    short, long = target("short", max_length=10), target("long", max_length=20)
    free = target("free")
    await stage.room(RecordingTransport("sms"), short, long, free)
    await stage.inbound("sms", "x" * 30)
    assert [len(str(web.got[0].text)) for web in (short, long, free)] == [10, 20, 30]
    assert len(str((await stage.messages())[0].text)) == 30


# -- a transcoder of one's own --------------------------------------------------------------------


class Picky(ContentTranscoder):
    """Cannot say anything to `never`; sees both bindings."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def transcode(
        self, content: EventContent, source_binding: ChannelBinding, target_binding: ChannelBinding
    ) -> EventContent | None:
        self.asked.append((source_binding.channel_id, target_binding.channel_id))
        return None if target_binding.channel_id == "never" else content


async def test_R186_null_means_that_one_target_cannot_be_told() -> None:
    transcoder = Picky()
    async with staged(transcoder=transcoder) as stage:
        never, web = RecordingTransport("never"), RecordingTransport("web")
        await stage.room(RecordingTransport("sms"), never, web)
        result = await stage.inbound("sms", "hello", room_id=ROOM)
        error = result.delivery_results["never"].error
        assert error is not None
        assert error.code == "transcoding_failed"
        assert (never.bodies, web.bodies) == ([], ["hello"])
        assert ("sms", "never") in transcoder.asked


async def test_R184_one_targets_copy_is_not_anothers(stage: Stage) -> None:
    plain = target("plain")
    rich = target("rich", media_types=[M.TEXT, M.RICH])
    await stage.room(RecordingTransport("sms"), plain, rich)
    content = RichContent(body="**b**", plain_text="b", quick_replies=["yes", "no"])
    await stage.inbound("sms", content=content)
    assert plain.got[0].content == text("b")
    assert rich.got[0].content == content
    assert (await stage.messages())[0].content == content
    assert plain.got[0].source == rich.got[0].source
