"""Voices an engine offers, and dialogues of several of them (V248, V249)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, Field


class VoiceInfo(BaseModel):
    """One voice. `language` is a BCP-47 tag or ``multilingual``; None is unknown (V248)."""

    id: str
    name: str | None = None
    language: str | None = None
    gender: str | None = None
    accent: str | None = None
    description: str | None = None
    deprecated: bool = False
    attributes: dict[str, str] = Field(default_factory=dict)


class DialogueTurn(BaseModel):
    """What one speaker says. `style` is refused where it cannot be applied (V249)."""

    speaker: str
    text: str
    style: str | None = None


def filter_voices(
    voices: Iterable[VoiceInfo],
    *,
    language: str | None = None,
    gender: str | None = None,
    query: str | None = None,
) -> list[VoiceInfo]:
    """The voices that match all that is asked (V248).

    `language` matches itself and its regions (``en`` matches ``en-GB``), `gender` exactly, `query`
    any part of the name or description; all without regard to case. What is unknown of a voice
    matches nothing.
    """
    return [
        voice
        for voice in voices
        if (not language or _speaks(voice.language, language))
        and (not gender or (voice.gender or "").casefold() == gender.casefold())
        and (not query or _mentions(voice, query))
    ]


def _speaks(tag: str | None, wanted: str) -> bool:
    have, want = (tag or "").casefold(), wanted.casefold()
    return have == want or have.startswith(f"{want}-")


def _mentions(voice: VoiceInfo, query: str) -> bool:
    wanted = query.casefold()
    return any(wanted in (text or "").casefold() for text in (voice.name, voice.description))


def check_dialogue(
    turns: Sequence[DialogueTurn],
    voices: Mapping[str, str],
    *,
    max_speakers: int,
    provider: str,
) -> list[str]:
    """The speakers in the order of their first turn (V249).

    `NotImplementedError` if the provider makes no dialogues; `ValueError` without turns, with too
    many speakers, and for a speaker without a voice.
    """
    if max_speakers < 1:
        raise NotImplementedError(f"{provider} makes no dialogues")
    if not turns:
        raise ValueError("a dialogue has at least one turn")
    speakers = list(dict.fromkeys(turn.speaker for turn in turns))
    if len(speakers) > max_speakers:
        raise ValueError(
            f"{provider} takes {max_speakers} speakers in one dialogue; these are {len(speakers)}"
        )
    for speaker in speakers:
        if speaker not in voices:
            raise ValueError(f"no voice is given for the speaker {speaker!r}")
    return speakers


def refuse_styles(turns: Sequence[DialogueTurn], provider: str) -> None:
    """`ValueError` if a turn has a style, for providers that can apply none (V249)."""
    for turn in turns:
        if turn.style:
            raise ValueError(f"{provider} cannot speak in the style {turn.style!r}")


def dialogue_transcript(turns: Sequence[DialogueTurn]) -> str:
    """The dialogue as text: one line a turn, its speaker before it."""
    return "\n".join(f"{turn.speaker}: {turn.text}" for turn in turns)
