"""What a call may not do is left out and named; the rest of what it asked for stays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from salon.gateway.commands import TtsCommand
from salon.gateway.options import CallOption, SynthesisOption, masked_data
from salon.gateway.rights import ALL_RIGHTS, CallRights, permitted, permitted_voice
from salon.gateway.server_track import ServerTrack
from salon.gateway.voices import Voices
from salon.testing.engine import scripted_engine
from salon.voice.engine import VoiceEngine


@pytest.fixture
async def engine() -> AsyncIterator[VoiceEngine]:
    async with scripted_engine() as scripted:
        yield scripted


def test_all_rights_change_nothing() -> None:
    option = CallOption.model_validate({"tts": {"provider": "deepgram", "secretKey": "k"}})
    assert permitted(option, ALL_RIGHTS) == (option, [])


def test_G294_without_keys_no_service_is_chosen_that_the_server_would_pay_for() -> None:
    option = CallOption.model_validate(
        {"tts": {"provider": "deepgram", "speaker": "anna"}, "asr": {"provider": "deepgram"}}
    )
    allowed, refused = permitted(option, CallRights(keys=False))
    assert allowed.tts is not None
    assert allowed.asr is not None
    assert (allowed.tts.provider, allowed.tts.speaker) == (None, "anna")
    assert allowed.asr.provider is None
    assert refused == ["keys in asr", "keys in tts"]


def test_G65_of_one_command_neither() -> None:
    option = SynthesisOption.model_validate({"provider": "openai", "speed": 1.5})
    allowed = permitted_voice(option, CallRights(keys=False))
    assert (allowed.provider, allowed.speed) == (None, 1.5)


@pytest.mark.parametrize(("files", "kept"), [(True, "greeting"), (False, None)])
async def test_G219_without_files_nothing_is_kept_under_a_name(
    engine: VoiceEngine, files: bool, kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    real = Voices.voice

    def noted(self: Voices, option: SynthesisOption | None, command: TtsCommand) -> object:
        seen.append(command.cache_key)
        return real(self, option, command)

    monkeypatch.setattr(Voices, "voice", noted)
    track = object.__new__(ServerTrack)
    track.option = None
    track.answered = True
    track._rights = CallRights(files=files)
    track._voices = Voices(engine)
    track._choose(TtsCommand(text="hi", cache_key="greeting"))
    assert seen == [kept]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sip:ann:secret@example.com", "sip:ann:***@example.com"),
        ("<SIPS:ann:secret@example.com>", "<SIPS:ann:***@example.com>"),
        ("sip:ann@example.com:5060", "sip:ann@example.com:5060"),
    ],
)
def test_G20_a_password_in_an_address_is_masked(text: str, shown: str) -> None:
    assert masked_data({"caller": [text]}) == {"caller": [shown]}


@pytest.mark.parametrize("key", ["caller", "callee"])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ann:secret@example.com", "ann:***@example.com"),
        ('"Ann" <ann:secret@example.com>', '"Ann" <ann:***@example.com>'),
        ("sip:ann:secret@example.com", "sip:ann:***@example.com"),
        ("sip:ann@example.com:5060", "sip:ann@example.com:5060"),
        ("tel:+4930", "tel:+4930"),
        ("1001", "1001"),
    ],
)
def test_G200_a_bare_address_is_one_of_sip(key: str, text: str, shown: str) -> None:
    assert masked_data({"option": {key: text}}) == {"option": {key: shown}}
