"""`SileroVADProvider`: both ways of running it, its segments and its settings."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from salon.base import ConfigurationError, MissingExtraError
from salon.media.frame import AudioFrame, Samples
from salon.media.resample import resample
from salon.testing.speech import speak
from salon.testing.vad import ScriptedVad
from salon.voice.pipeline.vad import SileroVADProvider, VADConfig, VADEvent, VADEventType
from salon.voice.pipeline.vad import silero as silero_module
from salon.voice.vad import BatchedVad, SileroModel, VADSettings

START, END = VADEventType.SPEECH_START, VADEventType.SPEECH_END
SILENCE, LEVEL = VADEventType.SILENCE, VADEventType.AUDIO_LEVEL
MODEL = SileroModel.load()


def frames(sound: Samples, size: int = 320, rate: int = 16_000) -> list[AudioFrame]:
    return [AudioFrame.of(sound[at : at + size], rate) for at in range(0, len(sound), size)]


def numbered(count: int) -> Samples:
    """Sound in which each sample tells where it is."""
    return (np.arange(count) % 30_000).astype(np.int16)


def scripted(
    script: list[tuple[float, int]], **settings: float
) -> tuple[SileroVADProvider, ScriptedVad]:
    model = ScriptedVad()
    for probability, windows in script:
        model.add(probability, windows)
    chosen: dict[str, float] = {"levels_per_second": 0, **settings}
    return SileroVADProvider(model=model, **chosen), model  # type: ignore[arg-type]


def told(stage: SileroVADProvider, sound: Samples, size: int = 512) -> list[tuple[int, VADEvent]]:
    """Events with the number of the frame that brought them."""
    found = ((at, stage.process(frame, "a")) for at, frame in enumerate(frames(sound, size)))
    return [(at, event) for at, event in found if event is not None]


def words() -> Samples:
    gap = np.zeros(20_000, dtype=np.int16)
    one = speak("Good morning, how can I help you today?", "en", "espeak")
    two = speak("Yes.", "en-us+f3", "espeak")
    return np.concatenate([gap, one, gap, two, gap])


def test_V42_streams_may_come_from_several_threads() -> None:
    stage = SileroVADProvider(model=MODEL)
    sound = words()
    keys = ("a", "b", "c", "d")
    expected = [stage.process(frame, "alone") for frame in frames(sound)]
    found: dict[str, list[VADEvent | None]] = {}

    def hear(key: str) -> None:
        found[key] = [stage.process(frame, key) for frame in frames(sound)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=hear, args=(key,)) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [found[key] == expected for key in keys] == [True] * 4


def test_V75_both_ways_of_running_it_tell_the_same() -> None:
    alone = SileroVADProvider(model=MODEL, speech_pad_ms=120)
    vad = BatchedVad(MODEL)
    together = alone.batched(vad)
    assert together.settings == alone.settings
    sounds = {"a": words(), "b": words()[7_777:], "c": words()[::-1].copy()}
    expected: dict[str, list[VADEvent | None]] = {key: [] for key in sounds}
    found: dict[str, list[VADEvent | None]] = {key: [] for key in sounds}
    for at in range(0, len(words()) - 8_000, 320):
        for key, sound in sounds.items():
            expected[key].append(alone.process(AudioFrame.of(sound[at : at + 320]), key))
            early = together.process(AudioFrame.of(sound[at : at + 320]), key)
            found[key].append(early)
        vad.run()
        for key in sounds:
            if found[key][-1] is None:
                found[key][-1] = together.take(key)
    for key in sounds:
        assert _kinds(found[key]) == _kinds(expected[key])
        pairs = zip(_edges(found[key]), _edges(expected[key]), strict=True)
        assert all(one.audio_bytes == two.audio_bytes for one, two in pairs)
    assert _kinds(expected["a"]).count(END) == 2
    assert vad.statistics().mean_batch > 2
    together.close()
    assert vad.statistics().streams == 0
    assert together.take("a") is None


def _edges(events: list[VADEvent | None]) -> list[VADEvent]:
    return [event for event in events if event is not None and event.type is not LEVEL]


def _kinds(events: list[VADEvent | None]) -> list[VADEventType]:
    return [event.type for event in _edges(events)]


def test_V73_speech_starts_after_its_least_length_with_what_came_before() -> None:
    stage, _ = scripted([(0, 20), (0.9, 30), (0, 30)])
    sound = numbered(80 * 512)
    events = told(stage, sound)
    assert [(at, event.type) for at, event in events] == [
        (15, SILENCE),  # 500 ms after the stream began
        (27, START),  # 8 windows of speech: 256 ms
        (65, END),  # 16 windows of quiet: 512 ms
        (66, SILENCE),
    ]
    (_, quiet), (_, start), (_, end), (_, again) = events
    assert quiet.duration_ms == 512
    assert again.duration_ms == 512
    begin = 20 * 512 - 300 * 16
    assert start.audio_bytes == sound[begin : 28 * 512].tobytes()
    assert end.audio_bytes == sound[begin : 66 * 512].tobytes()
    assert end.duration_ms == 46 * 32
    assert start.confidence == pytest.approx(0.9)
    assert end.confidence == pytest.approx(0.9)


def test_V73_noises_are_no_speech() -> None:
    stage, _ = scripted([(0.9, 5), (0, 8)] * 20, silence_threshold_ms=5_000)
    assert told(stage, numbered(260 * 512)) == []


def test_V73_a_short_gap_is_part_of_the_word() -> None:
    stage, _ = scripted([(0, 10), (0.9, 5), (0, 3), (0.9, 5), (0, 30)])
    kinds = [event.type for _, event in told(stage, numbered(53 * 512))]
    assert kinds == [START, END, SILENCE]


def test_V73_segments_do_not_overlap() -> None:
    stage, _ = scripted([(0.9, 10), (0, 4), (0.9, 10), (0, 30)], silence_threshold_ms=100)
    sound = numbered(54 * 512)
    ends = [event for _, event in told(stage, sound) if event.type is END]
    assert [len(event.audio_bytes or b"") // 2 for event in ends] == [14 * 512, 14 * 512]
    assert b"".join(event.audio_bytes or b"" for event in ends) == sound[: 28 * 512].tobytes()


def test_endless_speech_is_cut() -> None:
    stage, model = scripted([], max_speech_duration_ms=2_000)
    model.rest = 1.0
    events = told(stage, numbered(200 * 512))
    kinds = [event.type for _, event in events]
    assert kinds[:4] == [START, END, START, END]
    sounds = [len(event.audio_bytes or b"") // 512 / 2 for _, event in events]
    assert sounds[1::2] == [63.0] * (len(events) // 2)
    assert stage.is_speaking("a")
    assert not stage.is_speaking("b")


def test_a_long_frame_tells_its_events_one_by_one() -> None:
    stage, _ = scripted([(0, 2), (0.9, 10), (0, 20), (0.9, 10), (0, 40)])
    sound = numbered(82 * 512)
    first = stage.process(AudioFrame.of(sound[: 50 * 512]), "a")
    assert first is not None
    assert first.type is START
    following = [stage.process(frame, "a") for frame in frames(sound[50 * 512 :], 512)]
    events = [event for event in following if event is not None]
    assert [event.type for event in events] == [END, SILENCE, START, END, SILENCE]
    assert events[0].audio_bytes == sound[: 28 * 512].tobytes()
    begin = 28 * 512  # not what the segment before had
    assert events[2].audio_bytes == sound[begin : 53 * 512].tobytes()  # until it was told
    assert events[3].audio_bytes == sound[begin : 58 * 512].tobytes()


def test_nothing_is_kept_for_ever_where_the_shared_detector_never_runs() -> None:
    stage = SileroVADProvider(batched=BatchedVad(MODEL), max_speech_duration_ms=1_000)
    frame = AudioFrame(bytes(640))
    for _ in range(1_000):
        stage.process(frame, "a")
    store = stage._streams["a"].cutter.store
    assert len(store.cut(0, store.end)) <= 32 * 6_000


def test_V73_levels() -> None:
    stage, _ = scripted([], silence_threshold_ms=60_000, levels_per_second=10)
    sound = np.full(16_000, 3_277, dtype=np.int16)
    events = told(stage, sound, 320)
    assert [at for at, _ in events] == [4, 9, 14, 19, 24, 29, 34, 39, 44, 49]
    assert {event.type for _, event in events} == {LEVEL}
    assert events[0][1].level_db == pytest.approx(-20, abs=0.01)


@pytest.mark.parametrize(("rate", "width", "channels"), [(8_000, 2, 1), (48_000, 2, 2)])
def test_V38_segments_hold_the_sound_as_it_came(rate: int, width: int, channels: int) -> None:
    sound = np.repeat(resample(words(), 16_000, rate), channels)
    stage = SileroVADProvider(model=MODEL)
    data = sound.tobytes()
    step = rate // 50 * width * channels
    events = [
        stage.process(AudioFrame(data[at : at + step], rate, channels, width), "a")
        for at in range(0, len(data), step)
    ]
    ends = [event for event in _edges(events) if event.type is END]
    assert len(ends) == 2
    for end in ends:
        assert end.audio_bytes is not None
        assert end.duration_ms is not None
        assert end.audio_bytes in data
        length = len(end.audio_bytes) / (rate * width * channels) * 1_000
        assert length == pytest.approx(end.duration_ms + 300, abs=1)


def test_V239_settings_and_what_was_set() -> None:
    stage = SileroVADProvider(model=MODEL)
    assert stage.settings == VADSettings(500, 300, 250, 0.5)
    assert stage.config.is_empty
    stage = SileroVADProvider(model=MODEL, silence_threshold_ms=700)
    stage.configure(VADConfig(speech_pad_ms=100, extra={"voice_threshold": 0.6}))
    assert stage.settings == VADSettings(700, 100, 250, 0.6)
    assert stage.config == VADConfig(700, 100, None, {"voice_threshold": 0.6})
    assert stage.batched(BatchedVad(MODEL)).config == stage.config
    with pytest.raises(ConfigurationError, match="voice_threshold"):
        stage.configure(VADConfig(900, extra={"voice_threshold": 2}))
    assert stage.config.silence_threshold_ms == 700  # nothing of it applies


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("voice_threshold", 1.5),
        ("voice_threshold", "high"),
        ("voice_threshold", True),
        ("silence_threshold_ms", -1),
        ("max_speech_duration_ms", 0),
        ("levels_per_second", 11),
    ],
)
def test_V239_settings_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name) as refused:
        SileroVADProvider(model=MODEL, **{name: value})  # type: ignore[arg-type]
    assert isinstance(refused.value, ValueError)


def test_without_the_network_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero_module, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="voice"):
        SileroVADProvider()


def test_it_loads_the_network_when_it_is_first_needed() -> None:
    stage = SileroVADProvider()
    assert stage.process(AudioFrame(bytes(640)), "a") is None
    assert stage.stream_count == 1
    assert stage.name == "SileroVADProvider"
