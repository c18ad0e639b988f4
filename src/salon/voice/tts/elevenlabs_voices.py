"""The voices of an ElevenLabs account as `VoiceInfo`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from salon.voice.errors import SpeechError
from salon.voice.tts.elevenlabs_wire import ENGINE
from salon.voice.voices import VoiceInfo

Ask = Callable[[str, dict[str, str]], Awaitable[tuple[int, dict[str, Any]]]]
"""A path and a query to a status and what was answered."""

_PAGE: Final = 100
_PAGES: Final = 20
_ATTRIBUTES: Final = ("age", "use_case", "descriptive")


async def read_voices(ask: Ask) -> list[VoiceInfo]:
    """All of them, at most 2,000; from the older list where there is no newer one. Raises
    `SpeechError`."""
    found: list[VoiceInfo] = []
    asked = {"page_size": str(_PAGE)}
    for _ in range(_PAGES):
        status, page = await ask("/v2/voices", asked)
        if status == 404:
            status, page = await ask("/v1/voices", {})
        if status == 404:
            raise SpeechError(ENGINE, "HTTP 404: the service lists no voices")
        voices = page.get("voices")
        if not isinstance(voices, list):
            raise SpeechError(ENGINE, "the service sent no list of voices")
        found += [voice_info(voice) for voice in voices]
        token = page.get("next_page_token")
        if not page.get("has_more") or not token:
            break
        asked = {"page_size": str(_PAGE), "next_page_token": str(token)}
    return found


def voice_info(voice: Any) -> VoiceInfo:
    """One voice; `SpeechError` if it is none."""
    if not isinstance(voice, dict) or not isinstance(voice.get("voice_id"), str):
        raise SpeechError(ENGINE, "the service sent a voice without an id")
    labels = voice.get("labels")
    labels = labels if isinstance(labels, dict) else {}
    attributes = {name: str(labels[name]) for name in _ATTRIBUTES if labels.get(name)}
    for name in ("category", "preview_url"):
        if voice.get(name):
            attributes[name] = str(voice[name])
    return VoiceInfo(
        id=voice["voice_id"],
        name=_text(voice.get("name")),
        language=_language(voice, labels),
        gender=_text(labels.get("gender")),
        accent=_text(labels.get("accent")),
        description=_text(voice.get("description")) or _text(labels.get("description")),
        deprecated=voice.get("is_legacy") is True,
        attributes=attributes,
    )


def _language(voice: dict[str, Any], labels: dict[str, Any]) -> str | None:
    """What it was verified in: one language with its region, or several."""
    verified = voice.get("verified_languages")
    told = [one for one in verified if isinstance(one, dict)] if isinstance(verified, list) else []
    languages = {_text(one.get("language")) for one in told} - {None}
    if len(languages) > 1:
        return "multilingual"
    locales = {_text(one.get("locale")) for one in told} - {None}
    if len(locales) == 1:
        return locales.pop()
    return languages.pop() if languages else _text(labels.get("language"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
