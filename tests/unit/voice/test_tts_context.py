"""What a voice may know of the conversation."""

from __future__ import annotations

from itertools import count

import pytest

from salon.media.frame import AudioChunk
from salon.voice.tts import TTSContextConfig, TTSContextLevel, TTSContextStore

SECOND = b"\1\0" * 16_000
AUDIO = TTSContextLevel.AUDIO


def store(level: TTSContextLevel = AUDIO, **options: object) -> TTSContextStore:
    options.setdefault("include_audio", True)
    ids = count(1)
    made = TTSContextStore(
        TTSContextConfig(**options),  # type: ignore[arg-type]
        level,
        make_id=lambda: f"t{next(ids)}",
    )
    made.open("s")
    return made


def answer(kept: TTSContextStore, text: str = "answer", played_ms: int = 50) -> None:
    _, recorder = kept.begin_assistant_turn("s")
    recorder.add(AudioChunk(SECOND[:3200]))
    kept.commit_assistant_turn(recorder, "bot", text, played_ms=played_ms, interrupted=True)


def sizes(kept: TTSContextStore) -> list[int | None]:
    return [len(turn.audio.data) if turn.audio else None for turn in kept.turns("s")]


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        (TTSContextLevel.NONE, []),
        (TTSContextLevel.SELF, ["answer"]),
        (TTSContextLevel.TEXT, ["hello", "answer"]),
        (TTSContextLevel.AUDIO, ["hello", "answer"]),
    ],
)
def test_V237_a_level_sees_its_part(level: TTSContextLevel, seen: list[str]) -> None:
    kept = store(level)
    kept.add_user_turn("s", "u", "hello", audio=SECOND)
    answer(kept)
    context, recorder = kept.begin_assistant_turn("s")
    assert [turn.text for turn in context.turns] == seen
    assert (context.context_id, context.next_turn_id) == ("s", recorder.turn_id)
    has_audio = any(turn.audio for turn in context.turns)
    assert has_audio == kept.keeps_audio == (level is AUDIO)


def test_V238_sound_needs_the_option_too() -> None:
    kept = store(include_audio=False)
    kept.add_user_turn("s", "u", "hello", audio=SECOND)
    answer(kept)
    assert sizes(kept) == [None, None]


@pytest.mark.parametrize("reason", ["text_changed", "dtmf_seen"])
def test_V238_a_changed_turn_and_one_with_keys_keep_no_sound(reason: str) -> None:
    kept = store()
    kept.add_user_turn("s", "u", "hello", audio=SECOND, **{reason: True})
    assert sizes(kept) == [None]


def test_V238_an_answer_is_kept_as_far_as_it_was_heard() -> None:
    kept = store()
    answer(kept, played_ms=50)
    (turn,) = kept.turns("s")
    assert (turn.role, turn.participant_id, turn.played_ms, turn.interrupted) == (
        "assistant", "bot", 50, True,
    )  # fmt: skip
    assert turn.audio is not None
    assert turn.audio.duration_ms == 50
    assert turn.turn_id == "t1"


@pytest.mark.parametrize(("text", "played_ms"), [("answer", 0), ("", 10)])
def test_V238_an_answer_nobody_heard_leaves_nothing(text: str, played_ms: int) -> None:
    kept = store()
    answer(kept, text, played_ms)
    assert kept.turns("s") == ()


def test_turns_and_sound_are_bounded_oldest_first() -> None:
    kept = store(max_turns=3, max_audio_seconds=2.0)
    for text in "abcd":
        kept.add_user_turn("s", "u", text, audio=SECOND)
    assert [turn.text for turn in kept.turns("s")] == ["b", "c", "d"]
    assert sizes(kept) == [None, 32_000, 32_000]
    assert kept.audio_seconds("s") == 2.0
    kept.add_user_turn("s", "u", "long", audio=SECOND * 3)
    assert sizes(kept) == [None, None, None]


def test_a_recorder_gives_up_mixed_and_endless_sound() -> None:
    kept = store(max_audio_seconds=1.0)
    _, recorder = kept.begin_assistant_turn("s")
    assert recorder.audio_until(100) is None
    recorder.add(AudioChunk(b""))
    recorder.add(AudioChunk(SECOND))
    assert recorder.audio_until(0) is None
    recorder.add(AudioChunk(SECOND[:2]))
    assert recorder.audio_until(100) is None
    _, recorder = kept.begin_assistant_turn("s")
    recorder.add(AudioChunk(SECOND[:640]))
    recorder.add(AudioChunk(SECOND[:640], 8000))
    assert recorder.audio_until(100) is None


def test_V238_release_leaves_nothing_and_late_turns_go_nowhere() -> None:
    kept = store()
    kept.add_user_turn("s", "u", "hello")
    _, recorder = kept.begin_assistant_turn("s")
    kept.note_dtmf("s")
    kept.release("s")
    kept.release("s")
    kept.commit_assistant_turn(recorder, "bot", "late", played_ms=9, interrupted=False)
    kept.note_dtmf("s")
    assert kept.sessions() == []
    assert kept.turns("s") == ()
    assert kept.audio_seconds("s") == 0
    assert not kept.take_dtmf("s")


def test_keys_are_noted_once() -> None:
    kept = store()
    kept.open("s")
    kept.note_dtmf("s")
    assert kept.take_dtmf("s")
    assert not kept.take_dtmf("s")


@pytest.mark.parametrize("options", [{"max_turns": 0}, {"max_audio_seconds": -1.0}])
def test_bounds_that_are_none_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="max_"):
        TTSContextConfig(**options)  # type: ignore[arg-type]
