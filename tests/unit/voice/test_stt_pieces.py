"""What PocketSphinx makes of a sound depends on the sound, not on how it arrived."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pocketsphinx")

from salon.testing.speech import add_noise, speak
from salon.voice.stt.sphinx_model import Decoder, ModelStore

TEXT = "how much does it cost"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder: Path = tmp_path_factory.mktemp("model")
    (folder / "k.json").write_text(json.dumps([TEXT, "what are your opening hours"]))
    return ModelStore(folder).decoder("k")


def heard(decoder: Decoder, sound: bytes, pieces: list[int]) -> object:
    decoder.begin()
    at = 0
    for piece in pieces:
        decoder.hear(sound[at : at + piece])
        at += piece
    assert at >= len(sound)
    decoder.finish()
    return decoder.result()


@pytest.mark.parametrize("seconds", [0.5, 1.3, 2.2])
def test_how_sound_is_cut_into_pieces_makes_no_difference(decoder: Decoder, seconds: float) -> None:
    """As under load, when the worker finds more than a frame in its pipe."""
    said = speak(TEXT, "rms")
    whole = np.concatenate((np.zeros(3200, np.int16), said, np.zeros(16_000, np.int16)))
    sound = add_noise(whole, 40.0)[: int(seconds * 16_000)].tobytes()
    rng = random.Random(1)
    ways = [[640] * (len(sound) // 640 + 1), [3200] * (len(sound) // 3200 + 1), [len(sound)]]
    ways.append([640 * rng.randrange(1, 6) for _ in range(len(sound) // 640 + 1)])
    for pieces in ways:
        # what the decoder heard before shows in the third decimal of its confidence
        heard(decoder, sound, ways[0])
        reference = heard(decoder, sound, ways[0])
        assert heard(decoder, sound, pieces) == reference
