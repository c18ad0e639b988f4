"""Enumerations, what a hook may decide, and speech hints."""

from __future__ import annotations

import pytest

from salon.models import Access, HookResult, HookTrigger, RoomStatus, SpeechHints
from salon.models.enums import ChannelType, EventType


@pytest.mark.parametrize(
    ("access", "reads", "writes"),
    [
        (Access.READ_WRITE, True, True),
        (Access.READ_ONLY, True, False),
        (Access.WRITE_ONLY, False, True),
        (Access.NONE, False, False),
    ],
)
def test_R70_R71_access(access: Access, reads: bool, writes: bool) -> None:
    assert (access.can_read, access.can_write) == (reads, writes)


@pytest.mark.parametrize(
    ("status", "accepts"),
    [
        (RoomStatus.ACTIVE, True),
        (RoomStatus.PAUSED, True),
        (RoomStatus.CLOSED, False),
        (RoomStatus.ARCHIVED, False),
    ],
)
def test_R21_which_rooms_accept_events(status: RoomStatus, accepts: bool) -> None:
    assert status.accepts_events is accepts


@pytest.mark.parametrize("enumeration", [Access, RoomStatus, ChannelType, EventType, HookTrigger])
def test_on_the_wire_a_member_is_its_name_in_lower_case(enumeration: type) -> None:
    assert all(member.value == member.name.lower() for member in enumeration)  # type: ignore[attr-defined]


def test_R160_the_triggers_that_fail_closed_decide() -> None:
    closed = {trigger for trigger in HookTrigger if trigger.fails_closed}
    assert closed == {
        HookTrigger.BEFORE_TTS,
        HookTrigger.ON_TRANSCRIPTION,
        HookTrigger.BEFORE_TOOL_USE,  # AMB-24
    }
    deciding = {trigger for trigger in HookTrigger if not trigger.is_async}
    assert deciding == closed | {
        HookTrigger.BEFORE_BROADCAST,
        HookTrigger.ON_IDENTITY_AMBIGUOUS,
        HookTrigger.ON_IDENTITY_UNKNOWN,
        HookTrigger.BEFORE_DELIVER,
        HookTrigger.BEFORE_AI_CONTEXT_BUILD,
        HookTrigger.BEFORE_AI_GENERATION,
        HookTrigger.ON_TOOL_CALL,
        HookTrigger.ON_USER_INPUT_REQUIRED,
        HookTrigger.BEFORE_BRIDGE_AUDIO,
        HookTrigger.BEFORE_BRIDGE_VIDEO,
    }


def test_a_block_needs_a_reason_and_a_modification_a_replacement() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        HookResult("block")
    with pytest.raises(ValueError, match="needs a reason"):
        HookResult.block("")
    with pytest.raises(ValueError, match="needs its replacement"):
        HookResult("modify")


def test_R157_a_falsy_replacement_is_one() -> None:
    assert HookResult.modify("").event == ""
    assert HookResult.allow() == HookResult()


def test_speech_hints_with_the_same_words_have_the_same_key() -> None:
    one, same = SpeechHints(("a b", "c")), SpeechHints(("a b", "c"))
    assert (one.key, one) == (same.key, same)
    others = [SpeechHints(("a", "b c")), SpeechHints(("a b", "c"), "fr"), SpeechHints(("c", "a b"))]
    assert len({one.key, *(hints.key for hints in others)}) == 4
    assert SpeechHints(("a b",), key="mine").key == "mine"
