"""The server track: G36, G73-G82, G111, G113-G116, G313; T9-T17, T37-T40, T43."""

from __future__ import annotations

import asyncio
import base64
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.gateway.house import House, house, server

from salon.base import ConfigurationError
from salon.gateway.commands import TtsCommand
from salon.gateway.options import SynthesisOption
from salon.gateway.spoken_text import SpokenText
from salon.gateway.voices import Voices
from salon.media import write_wav
from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing import CallPair, MockTextToSpeech, silence, tone, virtual_time
from salon.voice.errors import SpeechError
from salon.voice.events import Dtmf
from salon.voice.playback import Playback
from salon.voice.tts.base import TextToSpeech, VoiceSettings

CHARACTER_MS = 60
"""What the scripted voice takes for one."""


def tts(text: str = "ten words", **fields: Any) -> dict[str, Any]:
    return {"command": "tts", "text": text, **fields}


def piece(text: str, **fields: Any) -> dict[str, Any]:
    return tts(text, playId="s", streaming=True, **fields)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    write_wav(tmp_path / "bell.wav", tone(400), 16_000)
    write_wav(tmp_path / "long.wav", tone(3000), 16_000)
    return tmp_path


# -- pace and identity ------------------------------------------------------------------------


@virtual_time
async def test_T9_speech_is_told_and_leaves_a_packet_each_20_ms() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts(playId="p1"))
        end = await call.expect("trackEnd", playId="p1")
        assert server(call) == [("trackStart", "p1"), ("trackEnd", "p1")]
        steps = np.diff([frame.at for frame in call.audio])
        assert np.mean(steps) == pytest.approx(0.02, abs=0.001)
        assert min(steps) >= 0.005
        assert end["ssrc"] >= 0


@virtual_time
async def test_T10_another_play_id_replaces_what_plays() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts("words that are never all heard", playId="p1"))
        await asyncio.sleep(0.5)
        call.send(tts(playId="p2"))
        cut = await call.expect("interruption", playId="p1")
        assert 0 < cut["current"] <= cut["totalDuration"]
        await call.expect("trackEnd", playId="p2")
        assert server(call)[1:] == [
            ("interruption", "p1"),
            ("trackEnd", "p1"),
            ("trackStart", "p2"),
            ("trackEnd", "p2"),
        ]


@virtual_time
async def test_T43_the_url_is_the_identity_of_a_sound(sounds: Path) -> None:
    async with house(media=sounds) as at:
        call = await at.call()
        for _ in range(2):
            call.send({"command": "play", "url": "bell.wav"})
            await asyncio.sleep(0.1)
        await call.expect("trackEnd")
        await call.expect("trackEnd")
        ends = call.of("trackEnd")
        assert [end["playId"] for end in ends] == ["bell.wav", "bell.wav"]
        assert ends[0]["ssrc"] != ends[1]["ssrc"]
        assert not call.of("interruption")


@virtual_time
async def test_G115_a_track_is_told_before_its_first_packet() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts(playId="p"))
        await call.expect("trackEnd")
        assert (
            call.order.index("audio")
            > [index for index, name in enumerate(call.order) if name == "trackStart"][-1]
        )


# -- several texts in one track (G75) ---------------------------------------------------------


@virtual_time
async def test_T11_G313_pieces_of_one_play_id_are_all_spoken_in_order() -> None:
    async with house() as at:
        call = await at.call()
        texts = ["first piece", "second piece", "third piece"]
        for number, text in enumerate(texts):
            call.send(tts(text, playId="p", endOfStream=number == 2))
            await asyncio.sleep(0.2)
        await call.expect("trackEnd", playId="p")
        assert [text for text, _ in at.voice.spoken] == texts
        assert not call.of("interruption")
        assert len(call.audio) == sum(map(len, texts)) * CHARACTER_MS // 20


@virtual_time
async def test_T12_a_streamed_text_is_one_track() -> None:
    async with house() as at:
        call = await at.call()
        call.send(piece("The weather is"))
        call.send(piece(" fine today."))
        call.send(piece(" Good", waitInputTimeout=8000))
        call.send(piece("bye.", endOfStream=True))
        await call.expect("trackEnd", playId="s")
        assert server(call) == [("trackStart", "s"), ("trackEnd", "s")]
        assert [text for text, _ in at.voice.spoken] == ["The weather is fine today.", "Goodbye."]
        silence_event = await call.expect("silence")
        assert silence_event["duration"] == 8000


@virtual_time
async def test_G75_streamed_text_does_not_wait_for_its_end() -> None:
    async with house() as at:
        call = await at.call()
        call.send(piece("no mark ends this"))
        await asyncio.sleep(0.25)
        assert not at.voice.spoken
        await asyncio.sleep(0.25)
        assert [text for text, _ in at.voice.spoken] == ["no mark ends this"]
        assert call.audio
        await asyncio.sleep(30)  # dry, but open
        assert not call.of("trackEnd")
        call.send(piece("", endOfStream=True))
        await call.expect("trackEnd", playId="s")


@virtual_time
async def test_G75_a_voice_speaks_what_was_given_to_it_before_another_does() -> None:
    async with house() as at:
        call = await at.call(tts={"speed": 1.0})
        call.send(piece("slow and"))
        call.send(piece(" fast", option={"speed": 2.0}))
        call.send(piece("", endOfStream=True))
        await call.expect("trackEnd")
        assert [(text, how.speed) for text, how in at.voice.spoken] == [
            ("slow and", 1.0),
            ("fast", 2.0),
        ]


@virtual_time
async def test_G75_sound_and_whole_texts_keep_their_place_among_pieces() -> None:
    async with house() as at:
        call = await at.call()
        call.send(piece("before"))
        call.send(piece(base64.b64encode(tone(100).tobytes()).decode(), base64=True))
        call.send(piece("after"))
        call.send(tts("and whole", playId="s"))
        await call.expect("trackEnd", playId="s")
        assert [text for text, _ in at.voice.spoken] == ["before", "after", "and whole"]
        quiet_part = call.sound[len("before") * CHARACTER_MS * 16 :][: len(tone(100))]
        assert np.array_equal(quiet_part, tone(100))


@virtual_time
async def test_G75_what_is_kept_of_a_text_that_is_cut_is_never_spoken() -> None:
    async with house() as at:
        call = await at.call()
        call.send(piece("The first sentence. The second"))
        await asyncio.sleep(0.2)
        call.send({"command": "interrupt"})
        await call.expect("trackEnd", playId="s")
        call.send(tts("next", playId="n"))
        await call.expect("trackEnd", playId="n")
        await asyncio.sleep(5)
        assert [text for text, _ in at.voice.spoken] == ["The first sentence.", "next"]


@virtual_time
async def test_G75_after_the_drain_the_same_play_id_is_a_new_track() -> None:
    async with house() as at:
        call = await at.call()
        for _ in range(2):
            call.send(tts(playId="p"))
            await call.expect("trackEnd", playId="p")
        starts = call.of("trackStart", playId="p")
        assert len(starts) == 2
        first, second = call.of("trackEnd", playId="p")
        assert first["ssrc"] != second["ssrc"]


@virtual_time
async def test_spoken_text_that_is_dropped_waits_for_nothing() -> None:
    said: list[str] = []
    text = SpokenText(said.append)
    text.feed("words")
    text.drop()
    await asyncio.sleep(1)
    assert not said
    text.flush()
    assert said == ["words"]


# -- the end of a track -----------------------------------------------------------------------


@virtual_time
async def test_T13_G79_auto_hangup_ends_the_call_unless_interrupted() -> None:
    async with house() as at:
        call = await at.call("/ws?id=a")
        call.send(tts(autoHangup=True, playId="bye"))
        end = await call.expect("hangup")
        assert end["reason"] == "system"
        assert call.of("trackEnd", playId="bye")
        kept = await at.call("/ws?id=b")
        kept.send(tts(autoHangup=True))
        await asyncio.sleep(0.2)
        kept.send({"command": "interrupt"})
        await asyncio.sleep(5)
        assert not kept.of("hangup")


@virtual_time
async def test_T39_an_empty_text_only_signals() -> None:
    async with house(parts={"synthesis": False}) as at:  # no voice is needed for it
        call = await at.call()
        call.send(tts("", endOfStream=True, autoHangup=True, playId="e"))
        await call.expect("hangup")
        assert server(call) == [("trackStart", "e"), ("trackEnd", "e")]
        assert not call.audio
        assert not call.of("error")


@virtual_time
async def test_T14_G78_silence_is_told_after_the_wait() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts(waitInputTimeout=300))
        await call.expect("trackEnd")
        ended = call.times[-1]
        event = await call.expect("silence")
        assert event["trackId"] == "server-side-track"
        assert 0.299 <= call.times[-1] - ended <= 0.45
        assert (event["duration"], event["refer"]) == (300, False)
        assert event["timestamp"] - event["startTime"] == pytest.approx(300, abs=20)
        await asyncio.sleep(5)
        assert len(call.of("silence")) == 1


@virtual_time
@pytest.mark.parametrize("what", ["speaking", "dtmf", "trackStart", "words"])
async def test_T14_G78_input_disarms(what: str) -> None:
    async with house() as at:
        option: dict[str, Any] = {"vad": {}} if what == "speaking" else {}
        call = await at.call(asr={}, **option)
        call.send(tts(waitInputTimeout=3000))
        await call.expect("trackEnd")
        await asyncio.sleep(0.5)
        if what == "dtmf":
            at.session().media.events.post(Dtmf("5"))
            assert (await call.expect("dtmf"))["digit"] == "5"
        elif what == "trackStart":
            call.send(tts("more"))
        else:
            await call.send_audio(np.concatenate((tone(1000), silence(1000))))
        await asyncio.sleep(10)
        assert not call.of("silence", trackId="server-side-track")


@virtual_time
@pytest.mark.parametrize("fields", [{"autoHangup": True}, {"waitInputTimeout": 500}])
async def test_G79_a_sound_that_cannot_be_loaded_ends_like_any(fields: dict[str, Any]) -> None:
    async with house() as at:
        call = await at.call()
        call.send({"command": "play", "url": "gone.wav", **fields})
        await call.expect("trackEnd", playId="gone.wav")
        if "autoHangup" in fields:
            assert (await call.expect("hangup"))["reason"] == "system"
        else:
            assert (await call.expect("silence"))["duration"] == 500


# -- pause, interrupt -------------------------------------------------------------------------


@virtual_time
@pytest.mark.parametrize("kind", ["play", "tts"])
async def test_T15_a_pause_makes_the_track_longer_by_as_much(sounds: Path, kind: str) -> None:
    async with house(media=sounds) as at:
        call = await at.call()
        call.send({"command": "pause"})
        assert "track not found" in (await call.expect("error"))["error"]
        text = "x" * (3000 // CHARACTER_MS)
        call.send({"command": "play", "url": "long.wav"} if kind == "play" else tts(text))
        await asyncio.sleep(1)
        call.send({"command": "pause"})
        await asyncio.sleep(1)
        frames = len(call.audio)
        assert frames <= 52
        assert not call.of("trackEnd")
        call.send({"command": "resume"})
        end = await call.expect("trackEnd")
        assert end["duration"] == pytest.approx(4000, abs=60)
        assert len(call.audio) == 150


class _Line:
    """A live line."""

    pausable = False
    finished = False

    def next_frame(self, now: float) -> Samples | None:
        return None

    def close(self) -> None:
        pass


@virtual_time
async def test_G77_a_track_that_cannot_pause_is_an_error() -> None:
    async with house() as at:
        call = await at.call()
        at.session().media.play(Playback(_Line(), "line"))
        call.send({"command": "pause"})
        error = await call.expect("error")
        assert error["error"] == "track does not support pausing: line"
        assert error["sender"] == "command"


@virtual_time
async def test_T17_an_interrupt_with_nothing_playing_is_nothing() -> None:
    async with house() as at:
        call = await at.call()
        for fields in ({}, {"graceful": True}, {"fadeOutMs": 500}):
            call.send({"command": "interrupt", **fields})
        await asyncio.sleep(1)
        assert call.names == ["trackStart", "answer"]


@virtual_time
async def test_G76_a_fade_is_linear() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts("a text of enough words to fade"))
        await asyncio.sleep(0.4)
        heard = len(call.audio)
        call.send({"command": "interrupt", "fadeOutMs": 200})
        await call.expect("trackEnd")
        faded = call.sound[heard * FRAME_SAMPLES :].reshape(-1, FRAME_SAMPLES)
        assert len(faded) in (9, 10, 11)
        peaks = np.abs(faded.astype(np.int32)).max(axis=1)
        assert all(later < earlier for earlier, later in pairwise(peaks))


# -- sounds and voices ------------------------------------------------------------------------


@virtual_time
async def test_T16_G80_a_missing_file_is_told() -> None:
    async with house() as at:
        call = await at.call()
        call.send({"command": "play", "url": "gone.wav"})
        error = await call.expect("error")
        assert error["sender"] == "filetrack: gone.wav"
        assert error["trackId"] == "server-side-track"
        await call.expect("trackEnd", playId="gone.wav")


@virtual_time
@pytest.mark.parametrize("voices", [True, False])
async def test_T38_base64_sound_needs_no_voice(voices: bool) -> None:
    async with house(parts={"synthesis": voices}) as at:
        call = await at.call()
        sound = tone(1000)
        call.send(tts(base64.b64encode(sound.tobytes()).decode(), base64=True))
        await call.expect("trackEnd")
        assert len(call.audio) == 50
        assert np.array_equal(call.sound, sound)
        assert not call.of("error")


@virtual_time
async def test_G36_text_before_the_call_needs_a_tts_option() -> None:
    async with house() as at:
        call = at.connect()
        call.send(tts())
        assert (await call.expect("error"))["error"] == "no tts option available"
        call.send(tts(option={"speed": 1.0}))
        await call.expect("trackEnd")
        assert call.audio


class _TwoVoices(Voices):
    """The engine's and another one, by name."""

    def __init__(self, at: House, other: TextToSpeech) -> None:
        super().__init__(at.engine)
        self._other = other

    def voice(
        self, option: SynthesisOption | None, command: TtsCommand
    ) -> tuple[TextToSpeech, VoiceSettings]:
        if option is not None and option.provider == "other":
            return self._other, VoiceSettings()
        return super().voice(option, command)


@virtual_time
async def test_T37_another_provider_speaks_its_track_only() -> None:
    async with house() as at:
        other = MockTextToSpeech(clock=at.engine.clock, name="other")
        await other.start()
        at.gateway.services.voices = _TwoVoices(at, other)
        call = await at.call()
        other_voice: dict[str, Any] = {"option": {"provider": "other"}}
        for fields in ({}, other_voice, {}):
            call.send(tts(**fields))
            await call.expect("trackEnd")
        keys = [event["key"] for event in call.of("metrics")]
        assert keys == ["completed.tts.mock", "completed.tts.other", "completed.tts.mock"]


@virtual_time
async def test_T40_G82_one_piece_of_three_fails() -> None:
    voice = MockTextToSpeech(failures={"two": "no such sound"})
    async with house(parts={"synthesizer": voice}) as at:
        call = await at.call()
        for text in ("one", "two", "three"):
            call.send(tts(text, playId="p"))
        error = await call.expect("error")
        assert (error["sender"], error["code"]) == ("tts", 500)
        await call.expect("trackEnd", playId="p")
        assert len(call.of("trackEnd")) == 1
        assert len(call.audio) == len("onethree") * CHARACTER_MS // 20


class _Refusing(Voices):
    error: Exception = SpeechError("stub", "out of voices")

    def voice(
        self, option: SynthesisOption | None, command: TtsCommand
    ) -> tuple[TextToSpeech, VoiceSettings]:
        raise self.error


@virtual_time
async def test_G82_an_engine_that_cannot_start_ends_its_track() -> None:
    async with house() as at:
        voices = _Refusing(at.engine)
        at.gateway.services.voices = voices
        call = await at.call()
        call.send(tts(playId="p"))
        await call.expect("trackEnd", playId="p")
        assert [name for name, _ in server(call)] == ["trackStart", "error", "trackEnd"]
        (error,) = call.of("error")
        assert (error["sender"], error["code"]) == ("tts", 500)
        assert "out of voices" in error["error"]
        voices.error = ConfigurationError("TTS type not found: x")
        call.send(tts(playId="q"))
        error = await call.expect("error", sender="command")
        assert error["error"] == "TTS type not found: x"
        assert not call.of("trackStart", playId="q")


# -- what is measured -------------------------------------------------------------------------


@virtual_time
async def test_G116_each_text_is_measured_with_its_number() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts("one", playId="p"))
        call.send(tts("three", playId="p"))
        await call.expect("trackEnd")
        call.send(piece("streamed", endOfStream=True))
        await call.expect("trackEnd")
        data = [event["data"] for event in call.of("metrics")]
        assert [(d["playId"], d.get("cmdSeq")) for d in data] == [
            ("p", 0),
            ("p", 1),
            ("s", None),
        ]
        assert [d["length"] for d in data] == [
            len(text) * CHARACTER_MS * 32 for text in ("one", "three", "streamed")
        ]
        assert all(d["cached"] is False and "speaker" not in d for d in data)


class _Cached(MockTextToSpeech):
    from_cache = True


@virtual_time
async def test_G116_a_text_from_the_cache_says_so() -> None:
    async with house() as at:
        voice = _Cached(clock=at.engine.clock)
        await voice.start()
        at.engine.synthesizers = {"": voice}
        call = await at.call()
        call.send(tts("one", speaker="mock"))
        data = (await call.expect("metrics"))["data"]
        assert data["cached"] is True
        assert data.get("speaker") == "mock"


@virtual_time
async def test_G113_a_call_that_ends_tells_what_was_cut() -> None:
    async with house() as at:
        call: CallPair = await at.call()
        call.send(tts("words that are never all heard", playId="p"))
        await asyncio.sleep(0.5)
        call.send({"command": "hangup"})
        await call.closed()
        names = [name for name in call.names if name != "metrics"]
        assert names[2:] == ["trackStart", "interruption", "trackEnd", "trackEnd", "hangup"]
        (cut,) = call.of("interruption")
        assert cut["subtitle"] == "words that are never all heard"
        assert cut["current"] == pytest.approx(500, abs=60)
        assert cut["subtitle"][cut["position"] :]
