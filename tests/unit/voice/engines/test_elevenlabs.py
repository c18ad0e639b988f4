"""ElevenLabs without a network: settings, word times, messages, voices."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from salon.base import ConfigurationError, MissingExtraError
from salon.voice.errors import SpeechError
from salon.voice.tts import VoiceSettings
from salon.voice.tts.elevenlabs import ElevenLabsConfig, ElevenLabsTTSProvider
from salon.voice.tts.elevenlabs_voices import read_voices, voice_info
from salon.voice.tts.elevenlabs_wire import (
    MAX_PIECE_S,
    Sound,
    body,
    harmless,
    message,
    opening,
    query,
    refusal,
    socket_url,
    sound_in,
)
from salon.voice.tts.elevenlabs_words import WordTracker

KEY = "sk_0123456789abcdef"


def alignment(text: str, each: int = 50) -> dict[str, Any]:
    return {
        "chars": list(text),
        "charStartTimesMs": [at * each for at in range(len(text))],
        "charDurationsMs": [each] * len(text),
    }


def config(**settings: Any) -> ElevenLabsConfig:
    return ElevenLabsConfig(KEY, **settings)


# -- settings -------------------------------------------------------------------------------------


def test_the_defaults_are_those_users_know() -> None:
    made = config()
    assert made.voice_id == "21m00Tcm4TlvDq8ikWAM"
    assert made.model_id == "eleven_multilingual_v2"
    assert (made.stability, made.similarity_boost, made.style) == (0.5, 0.75, 0.0)
    assert made.output_format == "mp3_44100_128"
    assert (made.speech_format, made.speech_rate) == ("pcm_16000", 16_000)
    assert KEY not in repr(made)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "ftp://host"}, "http"),
        ({"base_url": "nonsense"}, "nonsense"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"stability": 2}, "stability"),
        ({"style": -1}, "style"),
        ({"chunk_length_schedule": (10,)}, "chunk_length_schedule"),
        ({"read_timeout": 0}, "timeouts"),
        ({"max_connections": 0}, "max_connections"),
        ({"output_format": "midi"}, "midi"),
        ({"output_format": "midi_1"}, "midi"),
        ({"output_format": "pcm_1"}, "8000, 16000"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as told:
        ElevenLabsConfig(**{"api_key": KEY, **settings})
    assert KEY not in str(told.value)


def test_models_have_a_socket_or_not() -> None:
    assert config().uses_socket
    assert not config(stream_input=False).uses_socket
    assert not config(model_id="eleven_v3", stream_input=True).uses_socket
    assert config(expressive=True).model_id == "eleven_v4_turbo"
    assert config(expressive=True, model_id="eleven_v3").model_id == "eleven_v3"
    assert config(base_url="https://host/v1/").base_url == "https://host"


async def test_without_its_libraries_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ElevenLabsTTSProvider(config())
    assert engine.default_voice == "21m00Tcm4TlvDq8ikWAM"
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"salon\[elevenlabs\]"):
        await engine.start()
    await engine.close()


async def test_too_long_a_text_and_a_closed_engine_are_told() -> None:
    engine = ElevenLabsTTSProvider(config())
    with pytest.raises(SpeechError, match="not started"):
        await anext(engine.speak("Hello."))
    await engine.start()
    with pytest.raises(SpeechError, match="50001"):
        await anext(engine.speak("a" * 50_001))
    await engine.close()


# -- what is sent ---------------------------------------------------------------------------------


def test_the_socket_is_asked_for_times_and_the_voice_is_one_segment() -> None:
    made = config(base_url="https://host", optimize_streaming_latency=3)
    url = urlsplit(socket_url(made, VoiceSettings("a/../b?")))
    assert (url.scheme, url.netloc) == ("wss", "host")
    assert url.path == "/v1/text-to-speech/a%2F..%2Fb%3F/stream-input"
    asked = parse_qs(url.query)
    assert asked["output_format"] == ["pcm_16000"]
    assert asked["sync_alignment"] == ["true"]
    assert asked["optimize_streaming_latency"] == ["3"]
    assert "language_code" not in asked
    assert KEY not in socket_url(made, VoiceSettings())


def test_a_model_is_told_only_what_it_takes() -> None:
    spoken = VoiceSettings(language="de_AT", speed=0.1)
    old = body(config(), "Hello.", spoken, "")
    new = body(config(model_id="eleven_turbo_v2_5"), "Hello.", spoken, "Before.")
    assert "language_code" not in old
    assert "previous_text" not in old
    assert (new["language_code"], new["previous_text"]) == ("de", "Before.")
    assert new["voice_settings"]["speed"] == 0.7
    v3 = config(model_id="eleven_v3", optimize_streaming_latency=1)
    assert query(v3, "pcm_16000") == {"output_format": "pcm_16000"}
    first = json.loads(opening(config(), VoiceSettings()))
    assert first["text"] == " "
    assert "speed" not in first["voice_settings"]


# -- what comes back ------------------------------------------------------------------------------


def test_words_are_timed_across_messages() -> None:
    text = 'Hello, "old" friend!'
    tracker = WordTracker(text)
    found = list(tracker.feed(alignment(" Hel"), 0.0))
    assert not found
    found += tracker.feed(alignment('lo, "old" '), 200.0)
    found += tracker.feed(alignment("friend!"), 700.0)
    complete = [tracker.complete]
    found += tracker.finish()
    assert [*complete, tracker.complete] == [False, True]
    assert [(word.text, word.offset, word.start_ms, word.end_ms) for word in found] == [
        ("Hello", 0, 50, 350),
        ("old", 8, 400, 650),
        ("friend", 13, 700, 1_050),
    ]
    assert tracker.finish() == ()


def test_what_is_said_otherwise_has_no_time() -> None:
    tracker = WordTracker("It costs 5 euros.")
    found = tracker.feed(alignment("It costs five euros. - "), 0.0)
    assert [word.text for word in found] == ["It", "costs", "euros"]
    assert found[-1].offset == 11


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {"chars": ["a"]},
        {"chars": ["a"], "charStartTimesMs": ["x"], "charDurationsMs": [1]},
        {"chars": ["a"], "charStartTimesMs": [1, 2], "charDurationsMs": [1]},
        {"chars": 5, "charStartTimesMs": [1], "charDurationsMs": [1]},
    ],
)
def test_an_alignment_that_is_none_is_refused(broken: Any) -> None:
    with pytest.raises(ValueError, match="alignment"):
        WordTracker("a").feed(broken, 0.0)


def test_the_other_spelling_of_durations_is_read() -> None:
    made = alignment("a ")
    made["charsDurationsMs"] = made.pop("charDurationsMs")
    assert WordTracker("a").feed(made, 0.0)[0].end_ms == 50


def test_sound_may_be_cut_inside_a_sample_but_not_go_on_for_ever() -> None:
    data = np.arange(1_000, dtype="<i2").tobytes()
    sound = Sound(16_000)
    parts = [sound.feed(data[at : at + 333]) for at in range(0, len(data), 333)]
    assert np.array_equal(np.concatenate([*parts, sound.finish()]), np.arange(1_000))
    assert sound.ms == 62.5
    sound._bytes = MAX_PIECE_S * 16_000 * 2
    with pytest.raises(SpeechError, match="900 s"):
        sound.feed(b"\0\0")


def test_messages_are_read_and_errors_told() -> None:
    sound = base64.b64encode(b"\1\0").decode()
    assert sound_in(message(json.dumps({"audio": sound, "isFinal": None}), KEY)) == b"\1\0"
    assert sound_in(message('{"isFinal": true, "audio": null}', KEY)) == b""
    for said, told in (
        ("<html>", "no JSON"),
        ("[" * 200_000, "no JSON"),
        ("5", "no message"),
        (json.dumps({"message": f"bad {KEY}", "code": 1008}), r"says: bad \*\*\*"),
        (json.dumps({"detail": {"status": "quota_exceeded", "message": "Too much."}}), "quota"),
    ):
        with pytest.raises(SpeechError, match=told) as error:
            message(said, KEY)
        assert KEY not in str(error.value)
    for audio in ("not base64!", 5):
        with pytest.raises(SpeechError, match="base64"):
            sound_in({"audio": audio})


def test_refusals_say_what_and_hide_keys() -> None:
    told = {"detail": {"status": "invalid_api_key", "message": f"Key {KEY} is wrong"}}
    assert str(refusal(401, json.dumps(told).encode(), KEY)) == (
        "ElevenLabsTTS: HTTP 401: invalid_api_key: Key *** is wrong"
    )
    assert "HTTP 502: Bad" in str(refusal(502, b"Bad\n gateway", KEY))
    assert "HTTP 422: [" in str(refusal(422, b'{"detail": [{"msg": "required"}]}', KEY))
    assert "HTTP 400: {" in str(refusal(400, b'{"other": 1}', KEY))
    assert "HTTP 400: [" in str(refusal(400, b"[" * 200_000, KEY))
    assert "HTTP 400: 5" in str(refusal(400, b"5", KEY))
    assert "sk_abcdef012345" not in harmless("the key sk_abcdef012345 is wrong", KEY)
    assert len(harmless("a b " * 1_000, KEY)) == 300


# -- voices ---------------------------------------------------------------------------------------


def test_V248_a_voice_says_as_much_as_is_known() -> None:
    bare = voice_info({"voice_id": "a", "labels": None})
    assert (bare.id, bare.name, bare.language, bare.gender) == ("a", None, None, None)
    one = {"voice_id": "b", "labels": {"language": "en", "description": "calm"}}
    assert (voice_info(one).language, voice_info(one).description) == ("en", "calm")
    told = one | {"verified_languages": [{"language": "pl"}]}
    assert voice_info(told).language == "pl"
    with pytest.raises(SpeechError, match="without an id"):
        voice_info([])


async def test_voices_without_end_are_not_read_without_end() -> None:
    asked = 0

    async def ask(path: str, said: dict[str, str]) -> tuple[int, dict[str, Any]]:
        nonlocal asked
        asked += 1
        return 200, {"voices": [{"voice_id": "a"}], "has_more": True, "next_page_token": "more"}

    assert len(await read_voices(ask)) == asked == 20
