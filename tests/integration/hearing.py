"""What a recogniser of our own hears in returned sound."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pocketsphinx

from salon.media import Samples

_MODEL = Path(pocketsphinx.get_model_path()) / "en-us"


def heard(sound: Samples, sentences: tuple[str, ...]) -> str:
    """Which words are heard in ``int16[n]`` 16 kHz, out of those of `sentences`, in the order of
    one of them. Other sentences are there to be mistaken for it."""
    decoder = _decoder(sentences)
    # the decoder wants something before and after
    margin = np.random.default_rng(7).integers(-20, 20, 4800).astype(np.int16)
    decoder.start_utt()
    decoder.process_raw(np.concatenate([margin, sound, margin]).tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return "" if found is None else found.hypstr


@cache
def _decoder(sentences: tuple[str, ...]) -> pocketsphinx.Decoder:
    decoder = pocketsphinx.Decoder(
        hmm=str(_MODEL / "en-us"),
        dict=str(_MODEL / "cmudict-en-us.dict"),
        lm=None,
        loglevel="FATAL",
    )
    grammar = f"#JSGF V1.0;\ngrammar said;\npublic <said> = {' | '.join(sentences)};\n"
    decoder.add_jsgf_string("said", grammar)
    decoder.activate_search("said")
    return decoder
