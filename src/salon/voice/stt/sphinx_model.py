"""PocketSphinx decoders from model files; used in the worker processes only."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pocketsphinx

from salon.media.frame import SAMPLE_RATE, Samples
from salon.voice.noise import NoiseReducer
from salon.voice.stt.language_model import General, build_language_model
from salon.voice.stt.narrowband import Folding, is_narrow

BACKGROUND_WORDS: Final = 800
GENERIC: Final = "generic"
"""The key of the model that comes with PocketSphinx, for free speech."""
CEPSTRAL_MEAN: Final = "60.5,-7.5,1.4,10,2,-0.8,2.3,-2.3,-4,-2.8,-0.1,-1,-1.7"
"""Where the estimate of the mean begins: ordinary speech in a quiet room."""
_BYTES_PER_SECOND: Final = 32_000
AGAIN_AT: Final = (
    round(0.6 * _BYTES_PER_SECOND),
    round(1.4 * _BYTES_PER_SECOND),
    2 * _BYTES_PER_SECOND,
)
"""After how much sound decoding begins, and begins again."""
SHORT: Final = round(1.5 * _BYTES_PER_SECOND)
"""Up to this much sound is decoded again at its end."""
PIECE_SAMPLES: Final = SAMPLE_RATE // 50
LANGUAGE_WEIGHT: Final = 8.0
EVEN_POSTERIOR: Final = 0.13
NOISE_DBFS: Final = -60.0
"""RMS of the noise added before decoding; the model does badly on digital silence."""
_LOG_BASE: Final = 1.0001
_FRAME_MS: Final = 10


class Dither:
    """Adds the same second of low white noise over and over: equal sound decodes equally."""

    def __init__(self, dbfs: float = NOISE_DBFS) -> None:
        level = 32768 * 10 ** (dbfs / 20)
        self._noise = np.rint(np.random.default_rng(0).normal(0, level, SAMPLE_RATE))
        self._at = 0

    def reset(self) -> None:
        """Begin again."""
        self._at = 0

    def add(self, samples: Samples) -> Samples:
        """`samples` with noise, clamped to int16."""
        places = (self._at + np.arange(len(samples))) % len(self._noise)
        self._at = (self._at + len(samples)) % len(self._noise)
        return np.clip(samples + self._noise[places], -32768, 32767).astype(np.int16)


class Decoder:
    """One decoder with its model; `begin`, `hear` any number of times, `end`, `result`.

    The acoustic model wants its input free of the microphone's and the speaker's colour, which is
    the mean of the cepstra. A running mean is wrong for most of a short utterance. So decoding
    begins with the mean of the first 0.6 s and begins again, from the start, with better ones
    while the person still speaks; a short utterance once more at its end. Decoding takes a
    twentieth of the speech's time, so beginning again does too. It wants no noise either: what is
    steady is taken out, learnt anew at each beginning. Telephone sound gets an upper half.
    """

    def __init__(self, language_model: Path, dictionary: Path) -> None:
        self._decoder = pocketsphinx.Decoder(
            hmm=pocketsphinx.get_model_path("en-us/en-us"),
            lm=str(language_model),
            dict=str(dictionary),
            loglevel="FATAL",
            lw=LANGUAGE_WEIGHT,
            fwdflat=False,
            bestpath=True,
        )
        self._reducer = NoiseReducer()
        self._dither = Dither()
        self._folding = Folding()
        self._narrow = False
        self._running = False
        self._heard = bytearray()
        self._known = False
        self._again_at = list(AGAIN_AT)
        self._rest: Samples = np.zeros(0, dtype=np.int16)

    def begin(self) -> None:
        """Start an utterance; nothing of the one before colours it."""
        self.end()
        self._heard.clear()
        self._known = False
        self._again_at = list(AGAIN_AT)

    def hear(self, sound: bytes) -> None:
        """int16 samples, 16 kHz mono. How they are cut into pieces makes no difference."""
        while self._again_at:
            missing = self._again_at[0] - len(self._heard)
            self._heard += sound[:missing]
            self._hear_on(sound[:missing])
            if len(sound) < missing:
                return
            sound = sound[missing:]
            del self._again_at[0]
            self._again()
        self._hear_on(sound)

    def _hear_on(self, sound: bytes) -> None:
        if self._running and sound:
            heard: Samples = np.frombuffer(sound, dtype="<i2")
            self._decode(self._reducer.reduce(self._folding.add(heard) if self._narrow else heard))

    def end(self) -> None:
        """No more sound; idempotent."""
        if self._running:
            self._running = False
            self._decoder.end_utt()

    def finish(self) -> None:
        """No more sound, and the best of it."""
        if self._heard and (not self._running or len(self._heard) <= SHORT):
            self._again()
        if self._running:
            self._decode(self._reducer.flush(), last=True)
        self.end()

    def _again(self) -> None:
        self.end()
        heard = np.frombuffer(bytes(self._heard), dtype="<i2")
        self._narrow = is_narrow(heard)
        if self._narrow:
            self._folding.reset()
            heard = self._folding.add(heard)
        self._reducer.begin()
        self._reducer.learn(heard)
        self._dither.reset()
        self._rest = np.zeros(0, dtype=np.int16)
        sound = self._dither.add(self._reducer.reduce(heard)).tobytes() or bytes(2)
        self._decoder.set_cmn(CEPSTRAL_MEAN)
        self._decoder.start_utt()
        self._decoder.process_raw(sound, True, False)
        self._decoder.end_utt()
        self._decoder.set_cmn(self._decoder.get_cmn(True))
        self._decoder.start_utt()
        self._running = True
        self._known = True
        self._decoder.process_raw(sound, False, False)

    def _decode(self, sound: Samples, *, last: bool = False) -> None:
        """In pieces of one length: the decoder hears a little differently where it is cut."""
        self._rest = np.concatenate((self._rest, sound))
        whole = len(self._rest) - (0 if last else len(self._rest) % PIECE_SAMPLES)
        for at in range(0, whole, PIECE_SAMPLES):
            piece = self._rest[at : min(at + PIECE_SAMPLES, whole)]
            self._decoder.process_raw(self._dither.add(piece).tobytes(), False, False)
        self._rest = self._rest[whole:]

    def text(self) -> str:
        """The hypothesis so far."""
        if not self._running:
            return ""
        found = self._decoder.hyp()
        return found.hypstr if found is not None else ""

    def result(self) -> dict[str, Any]:
        """`text`, `confidence` and `words` as [word, start ms, end ms], after `finish`."""
        words: list[tuple[str, int, int]] = []
        for segment in (self._decoder.seg() if self._known else None) or ():
            word = segment.word.partition("(")[0]
            if word and word[0] not in "<[+":
                start, end = segment.start_frame, segment.end_frame + 1
                words.append((word, start * _FRAME_MS, end * _FRAME_MS))
        text = " ".join(word for word, _, _ in words)
        confidence = self._confidence(len(words)) if words else None
        return {"text": text, "confidence": confidence, "words": words}

    def _confidence(self, words: int) -> float:
        """The posterior probability as a mean per word, bent so that 0.5 parts what is mostly
        right from what is mostly wrong."""
        mean = max(0.0, min(1.0, self._decoder.get_prob())) ** (1 / words)
        return round(float(mean / (mean + EVEN_POSTERIOR)), 3)


class ModelStore:
    """Builds models in `directory`, which all workers share; a file is complete once it exists."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pronunciations: dict[str, list[str]] = {}

    def decoder(self, key: str) -> Decoder:
        """A new decoder for `key`. Raises `OSError` or `ValueError` if its phrases can't be read,
        `RuntimeError` if the decoder refuses the model."""
        if key == GENERIC:
            return Decoder(
                _carried("en-us/en-us.lm.bin"),
                _carried("en-us/cmudict-en-us.dict"),
            )
        model = self._directory / f"{key}.lm"
        dictionary = self._directory / f"{key}.dict"
        if not model.exists():
            phrases = json.loads((self._directory / f"{key}.json").read_text("utf-8"))
            built = build_language_model(
                phrases, self._background(), self._dictionary(), self._general()
            )
            _write(dictionary, built.dictionary)
            _write(model, built.arpa)
        return Decoder(model, dictionary)

    def _background(self) -> dict[str, float]:
        """The commonest words and how common they are, by the model PocketSphinx carries."""
        kept = self._directory / "background.json"
        if kept.exists():
            found: dict[str, float] = json.loads(kept.read_text("utf-8"))
            return found
        likely = self._general()
        weights = {word: likely((word,)) for word in self._dictionary()}
        common = sorted(weights, key=lambda word: -weights[word])[:BACKGROUND_WORDS]
        found = {word: weights[word] for word in common}
        _write(kept, json.dumps(found))
        return found

    def _general(self) -> General:
        """The model PocketSphinx carries; it wants the words backwards."""
        carried = pocketsphinx.NGramModel(
            pocketsphinx.Config(),
            pocketsphinx.LogMath(_LOG_BASE),
            str(_carried("en-us/en-us.lm.bin")),
        )

        def probability(words: Sequence[str]) -> float:
            return float(_LOG_BASE ** carried.prob(list(reversed(words))))

        return probability

    def _dictionary(self) -> dict[str, list[str]]:
        if not self._pronunciations:
            with _carried("en-us/cmudict-en-us.dict").open(encoding="utf-8") as lines:
                for line in lines:
                    word, _, sounds = line.rstrip("\n").partition(" ")
                    self._pronunciations.setdefault(word.partition("(")[0], []).append(sounds)
        return self._pronunciations


def _carried(name: str) -> Path:
    """A file of the model in the PocketSphinx package. Raises `FileNotFoundError`."""
    path = Path(pocketsphinx.get_model_path(name))
    if not path.exists():
        raise FileNotFoundError(f"PocketSphinx carries no {name}")
    return path


def _write(path: Path, text: str) -> None:
    """All or nothing: two workers may build the same model."""
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)
