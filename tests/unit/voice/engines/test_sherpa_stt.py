"""Recognition by the real sherpa-onnx with tiny models."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.engines import sherpa_models

from salon.base import ConfigurationError, MissingExtraError
from salon.media.frame import AudioChunk, Samples
from salon.testing.contracts.voice_stt import SpeechToTextContract, hear, pushes
from salon.voice import sherpa
from salon.voice.errors import SpeechError
from salon.voice.stt.base import SpeechToText, Transcription
from salon.voice.stt.sherpa_onnx import SherpaOnnxSTTConfig, SherpaOnnxSTTProvider
from salon.voice.stt.sherpa_onnx_words import segment_of

pytest.importorskip("sherpa_onnx")
LA = "la la la"


def bursts(count: int = 3, ms: int = 400) -> Samples:
    """Noise and silence in turn; silence first and last."""
    noise = (np.random.default_rng(1).standard_normal(ms * 16) * 3_000).astype(np.int16)
    quiet = np.zeros(ms * 16, dtype=np.int16)
    return np.concatenate([quiet, *[noise, quiet] * count])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    made = {}
    for kind in ("zipformer_ctc", "transducer", "whole_ctc"):
        directory = tmp_path_factory.mktemp(kind)
        made[kind] = getattr(sherpa_models, kind)(directory)
    return made


def provider(files: dict[str, str], **settings: Any) -> SherpaOnnxSTTProvider:
    return SherpaOnnxSTTProvider(SherpaOnnxSTTConfig(**files, num_threads=1, **settings))  # type: ignore[arg-type]


class TestStreaming(SpeechToTextContract):
    heard = LA

    @pytest.fixture
    def sound(self) -> Samples:
        return bursts()

    @pytest.fixture
    def engine(self, files: dict[str, dict[str, str]]) -> SpeechToText:
        return provider(files["zipformer_ctc"])


class TestWhole(SpeechToTextContract):
    heard = LA

    @pytest.fixture
    def sound(self) -> Samples:
        return bursts()

    @pytest.fixture
    def engine(self, files: dict[str, dict[str, str]]) -> SpeechToText:
        return provider(files["whole_ctc"])


async def test_interim_results_grow(files: dict[str, dict[str, str]]) -> None:
    engine = provider(files["zipformer_ctc"])
    assert engine.supports_partials
    assert engine.supports_streaming
    await engine.start()
    partials: list[Transcription] = []
    utterance = engine.recognize(on_partial=partials.append)
    for frame in pushes(bursts()):
        utterance.push(frame)
        if len(partials) < 2:
            await asyncio.sleep(0.002)
    final = await utterance.finish()
    assert [partial.text for partial in partials[:2]] == ["la", "la la"]
    assert final.text == LA
    starts = [word.start_ms for word in final.words]
    assert starts == pytest.approx([400, 1200, 2000], abs=80)
    assert [word.offset for word in final.words] == [0, 3, 6]
    assert engine.utterances == 0
    await engine.close()


async def test_a_transducer_of_three_files_tells_how_sure_it_is(
    files: dict[str, dict[str, str]],
) -> None:
    engine = provider(files["transducer"])
    await engine.start()
    result = await hear(engine, bursts(1))
    assert set(result.text.split()) == {"la"}
    assert result.confidence is not None
    assert 0 < result.confidence < 1
    assert len(result.words) == len(result.text.split())
    await engine.close()


async def test_an_endpoint_begins_the_search_anew_and_loses_no_word(
    files: dict[str, dict[str, str]],
) -> None:
    engine = provider(files["zipformer_ctc"], rule2_min_trailing_silence=0.3)
    await engine.start()
    result = await hear(engine, bursts(5, 600))
    assert result.text == "la la la la la"
    starts = [word.start_ms for word in result.words]
    assert starts == pytest.approx([600 + 1200 * at for at in range(5)], abs=80)
    await engine.close()


async def test_utterances_are_decoded_together(files: dict[str, dict[str, str]]) -> None:
    engine = provider(files["zipformer_ctc"])
    await engine.start()
    utterances = [engine.recognize() for _ in range(20)]
    for utterance in utterances:
        utterance.push(bursts())
    texts = await asyncio.gather(*(utterance.finish() for utterance in utterances))
    assert {text.text for text in texts} == {LA}
    decoder = engine._decoder
    assert decoder is not None
    assert decoder.decoded > 2 * decoder.batches
    async with asyncio.timeout(10):
        while decoder.lines:  # the thread lets go of them after the answers
            await asyncio.sleep(0.01)
    await engine.close()


async def test_the_event_loop_never_waits(files: dict[str, dict[str, str]]) -> None:
    engine = provider(files["whole_ctc"])
    await engine.start()
    decoder = engine._decoder
    assert decoder is not None
    slow, release = threading.Event(), threading.Event()
    decode = decoder._recognizer.decode_stream

    def waits(stream: object) -> None:
        slow.set()
        release.wait(10)
        decode(stream)

    decoder._recognizer.decode_stream = waits
    utterance = engine.recognize()
    utterance.push(bursts())
    asked = asyncio.create_task(utterance.finish())
    await asyncio.to_thread(slow.wait, 10)
    begun = time.monotonic()
    other = engine.recognize()
    other.push(bursts())
    other.cancel()
    assert time.monotonic() - begun < 0.05
    release.set()
    assert (await asked).text == LA
    await engine.close()


async def test_a_decoder_that_hangs_is_given_up(files: dict[str, dict[str, str]]) -> None:
    config = SherpaOnnxSTTConfig(**files["whole_ctc"])  # type: ignore[arg-type]
    engine = SherpaOnnxSTTProvider(config, finish_seconds=0.05)
    await engine.start()
    release = threading.Event()
    decoder = engine._decoder
    assert decoder is not None
    decode = decoder._recognizer.decode_stream
    decoder._recognizer.decode_stream = lambda stream: release.wait(10)
    with pytest.raises(SpeechError, match=r"0\.05 s"):
        await hear(engine, bursts())
    release.set()
    decoder._recognizer.decode_stream = decode
    engine.finish_seconds = 10.0
    assert (await hear(engine, bursts())).text == LA
    await engine.close()


async def test_closing_does_not_wait_for_ever(
    files: dict[str, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    engine = provider(files["whole_ctc"])
    await engine.start()
    decoder = engine._decoder
    assert decoder is not None
    begun, release = threading.Event(), threading.Event()

    def hangs(stream: object) -> None:
        begun.set()
        release.wait(10)

    decoder._recognizer.decode_stream = hangs
    utterance = engine.recognize()
    utterance.push(bursts())
    asked = asyncio.create_task(utterance.finish())
    await asyncio.to_thread(begun.wait, 10)
    engine.close_seconds = 0.05
    await engine.close()
    assert "still decoding" in caplog.text
    with pytest.raises(SpeechError, match="closed"):
        await asked
    release.set()
    assert await asyncio.to_thread(decoder.close, 10.0)


async def test_a_loop_that_is_over_ends_the_utterance(files: dict[str, dict[str, str]]) -> None:
    engine = provider(files["whole_ctc"])

    def elsewhere() -> None:
        async def half() -> None:
            await engine.start()
            utterance = engine.recognize()
            utterance.push(bursts())
            assert engine._decoder is not None
            begun = threading.Event()
            decode = engine._decoder._recognizer.decode_stream

            def late(stream: object) -> None:
                begun.set()
                release.wait(10)
                decode(stream)

            engine._decoder._recognizer.decode_stream = late
            engine._decoder.finish(utterance._line)  # type: ignore[attr-defined]
            begun.wait(10)

        asyncio.run(half())

    release = threading.Event()
    await asyncio.to_thread(elsewhere)
    decoder = engine._decoder
    assert decoder is not None
    release.set()
    async with asyncio.timeout(10):
        while decoder.lines:
            await asyncio.sleep(0.005)
    await engine.close()


async def test_a_decoder_that_fails_ends_its_own_utterance(
    files: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, method in (("whole_ctc", "decode_stream"), ("zipformer_ctc", "decode_streams")):
        engine = provider(files[kind])
        await engine.start()
        assert engine._decoder is not None
        recognizer = engine._decoder._recognizer

        def fails(*given: object) -> None:
            raise RuntimeError("it broke")

        with monkeypatch.context() as patched:
            patched.setattr(recognizer, method, fails)
            with pytest.raises(SpeechError, match="decoding failed: RuntimeError"):
                await hear(engine, bursts())
        assert (await hear(engine, bursts())).text == LA
        assert engine.utterances == 0
        await engine.close()


async def test_sound_and_utterances_are_bounded(files: dict[str, dict[str, str]]) -> None:
    config = SherpaOnnxSTTConfig(**files["zipformer_ctc"])  # type: ignore[arg-type]
    engine = SherpaOnnxSTTProvider(config, max_seconds=1.0, max_utterances=1)
    await engine.start()
    utterance = engine.recognize()
    with pytest.raises(SpeechError, match="1 utterances"):
        engine.recognize()
    utterance.push(bursts())
    assert engine.dropped_samples == len(bursts()) - 16_000
    assert (await utterance.finish()).text == "la"
    empty = await engine.recognize().finish()
    assert (empty.text, empty.is_final) == ("", True)
    await engine.close()


async def test_V231_a_language_is_for_models_that_are_told_one(
    files: dict[str, dict[str, str]],
) -> None:
    engine = provider(files["zipformer_ctc"])
    assert not engine.supports_language_override
    await engine.close()
    told = provider(files["zipformer_ctc"], stream_language="auto")
    assert told.supports_language_override
    result = await told.transcribe(AudioChunk(bursts().tobytes()), language="fr")
    assert (result.text, result.language) == (LA, None)
    await told.close()


def test_modes_stream_or_hear_the_whole(files: dict[str, dict[str, str]]) -> None:
    assert SherpaOnnxSTTConfig().streams
    assert SherpaOnnxSTTConfig(mode="paraformer").streams
    assert not SherpaOnnxSTTConfig(model_type="nemo_transducer").streams
    assert not SherpaOnnxSTTConfig(mode="whisper").streams
    assert not provider(files["whole_ctc"]).supports_partials


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mode": "magic"}, "magic"),
        ({"task": "sing"}, "sing"),
        ({"sample_rate": 5}, "sample_rate"),
        ({"tail_padding_s": float("nan")}, "tail_padding_s"),
        ({"num_threads": 0}, "num_threads"),
        ({"provider": "abacus"}, "abacus"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SherpaOnnxSTTConfig(**settings)


def test_files_that_are_missing_or_wrong_are_told(
    files: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    good = files["transducer"]
    pointer = tmp_path / "pointer.onnx"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    short = tmp_path / "short.onnx"
    short.write_bytes(Path(good["encoder"]).read_bytes()[:900])
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"\x08\x08")
    binary = tmp_path / "tokens.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    for part, path, said in (
        ("encoder", "", "encoder is not set"),
        ("encoder", str(tmp_path), "a directory"),
        ("joiner", str(tmp_path / "nothing.onnx"), "no such file"),
        ("encoder", str(pointer), "no ONNX model"),
        ("encoder", str(short), "no ONNX model: it is not whole"),
        ("encoder", str(empty), "no graph"),
        ("encoder", good["joiner"], "another kind: it does not tell model_type"),
        ("decoder", good["joiner"], "does not tell vocab_size, context_size"),
        ("tokens", good["joiner"], "tokens"),
        ("tokens", str(binary), "no text"),
        ("tokens", str(pointer), "no list of tokens"),
    ):
        config = SherpaOnnxSTTConfig(**{**good, part: path})  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=said):
            SherpaOnnxSTTProvider(config)
    sherpa.onnx_file(good["encoder"], "encoder", ("T",))
    ort = tmp_path / "model.ort"
    ort.write_bytes(b"anything")
    assert sherpa.onnx_file(str(ort), "encoder", ("T",)) == {}
    with pytest.raises(ConfigurationError, match="no such directory"):
        sherpa.model_directory(str(ort), "data_dir")


@pytest.mark.parametrize("data", [b"\x0b", b"\x72\x02\x08\x01", b"\x72\x01\xff", b"\xff" * 12])
def test_bytes_that_are_no_model_are_told(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match="no ONNX model"):
        sherpa.onnx_file(str(path), "model")


def test_fields_of_other_forms_are_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    # A 64-bit and a 32-bit number, a graph, an entry a = b.
    numbers = b"\x09" + bytes(8) + b"\x0d" + bytes(4)
    path.write_bytes(numbers + b"\x3a\x00" + b"\x72\x06\x0a\x01a\x12\x01b")
    assert sherpa.onnx_file(str(path), "model") == {"a": "b"}


def test_without_the_library_the_extra_is_named(
    files: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sherpa_onnx", None)
    with pytest.raises(MissingExtraError, match=r"salon\[sherpa\]"):
        provider(files["transducer"])


async def test_a_model_that_fails_to_load_is_told(
    files: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = provider(files["zipformer_ctc"])

    def fails(self: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(SherpaOnnxSTTConfig, "load", fails)
    with pytest.raises(SpeechError, match="no memory"):
        await engine.start()
    monkeypatch.undo()
    await engine.start()
    assert (await hear(engine, bursts())).text == LA
    await engine.close()


@pytest.mark.parametrize(
    ("mode", "made", "parts"),
    [
        ("whisper", "from_whisper", {"encoder", "decoder", "tokens", "language", "task"}),
        ("moonshine", "from_moonshine_v2", {"encoder", "decoder", "tokens"}),
        ("sense_voice", "from_sense_voice", {"model", "tokens", "language"}),
        ("offline_paraformer", "from_paraformer", {"paraformer", "tokens"}),
        ("transducer", "from_transducer", {"encoder", "decoder", "joiner", "tokens", "model_type"}),
    ],
)
def test_each_kind_is_loaded_as_the_library_wants_it(
    mode: str, made: str, parts: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import inspect

    sherpa_onnx = importlib.import_module("sherpa_onnx")

    original = getattr(sherpa_onnx.OfflineRecognizer, made)
    seen: dict[str, Any] = {}

    def make(**given: Any) -> str:
        inspect.signature(original).bind(**given)
        seen.update(given)
        return "recognizer"

    monkeypatch.setattr(sherpa_onnx.OfflineRecognizer, made, make)
    config = SherpaOnnxSTTConfig(mode=mode, model_type="nemo_transducer", tokens="t.txt")
    assert config.load() == "recognizer"
    assert parts <= set(seen)


class Result:
    def __init__(self, text: str, tokens: list[str], timestamps: list[float]) -> None:
        self.text = text
        self.tokens = tokens
        self.timestamps = timestamps


def test_words_lie_where_their_letters_do() -> None:
    tokens = ["\u2581the", "\u2581co", "de", "\u2581w", "or", "d"]
    result = Result("the code word", tokens, [0.1, 0.4, 0.5, 1.0, 1.1, 1.2])
    words = segment_of(result, 1_000.0).words
    assert [(word.text, word.start_ms, word.end_ms) for word in words] == [
        ("the", 1_100, 1_180),
        ("code", 1_400, 1_580),
        ("word", 2_000, 2_280),
    ]
    assert segment_of(Result("in 1999", [" in", " nineteen"], [0.0, 0.3]), 0.0).words == ()
    assert segment_of(Result("la", ["la"], []), 0.0).words == ()
    assert segment_of(Result("in the", ["in"], [0.0]), 0.0).words == ()
