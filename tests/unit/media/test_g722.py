"""G.722 through PyAV: streaming, any length, nothing held back."""

from __future__ import annotations

import sys

import numpy as np
import psutil
import pytest
from hypothesis import given, settings

from salon.base import MissingExtraError
from salon.media import G722Decoder, G722Encoder, Samples, make_codec
from salon.media.g722 import DELAY_SAMPLES

from .signals import cut, cut_sizes, fit, int16_arrays, snr_db, speechlike, tone


def round_trip(samples: Samples) -> Samples:
    encoder, decoder = G722Encoder(), G722Decoder()
    frames = samples.reshape(-1, 320)
    return np.concatenate([decoder.decode(encoder.encode(frame)) for frame in frames])


@pytest.mark.parametrize("frequency", [300, 1000, 3000, 5000, 6800])
def test_G42_tones_survive(frequency: int) -> None:
    back = round_trip(tone(frequency, 16000, 16000, 8000))[1600:]
    amplitude, clean = fit(back, frequency, 16000)
    assert amplitude == pytest.approx(8000, rel=0.06)
    assert clean > (20 if frequency < 4000 else 12)


def test_G42_speech_survives_with_a_delay_of_22_samples() -> None:
    speech = speechlike(32000)
    back = round_trip(speech)
    assert snr_db(speech[:-DELAY_SAMPLES], back[DELAY_SAMPLES:]) > 20


def test_G46_each_frame_comes_out_at_once() -> None:
    encoder, decoder = G722Encoder(), G722Decoder()
    for frame in speechlike(3200).reshape(-1, 320):
        payload = encoder.encode(frame)
        assert len(payload) == 160
        assert len(decoder.decode(payload)) == 320
        assert encoder.pending == 0


@settings(max_examples=20, deadline=None)
@given(int16_arrays, cut_sizes)
def test_encoding_does_not_depend_on_the_cuts(samples: Samples, sizes: list[int]) -> None:
    whole, pieces = G722Encoder(), G722Encoder()
    expected = whole.encode(samples) + whole.flush()
    heard = b"".join(pieces.encode(piece) for piece in cut(samples, sizes)) + pieces.flush()
    assert heard == expected
    assert len(heard) == (len(samples) + 1) // 2


@settings(max_examples=20, deadline=None)
@given(int16_arrays, cut_sizes)
def test_decoding_does_not_depend_on_the_cuts(samples: Samples, sizes: list[int]) -> None:
    payload = samples.view(np.uint8)
    whole, pieces = G722Decoder(), G722Decoder()
    expected = whole.decode(payload.tobytes())
    heard = [pieces.decode(piece.tobytes()) for piece in cut(payload, sizes)]
    assert np.array_equal(np.concatenate(heard), expected)
    assert len(expected) == 2 * len(payload)


def test_an_odd_sample_waits_for_the_next() -> None:
    speech = speechlike(321)
    encoder = G722Encoder()
    assert len(encoder.encode(speech)) == 160
    assert encoder.pending == 1
    assert encoder.encode(speech[:0]) == b""
    assert len(encoder.flush()) == 1
    assert encoder.pending == 0


def test_codecs_keep_no_threads() -> None:
    before = {thread.id for thread in psutil.Process().threads()}
    calls = [(G722Encoder(), G722Decoder()) for _ in range(5)]
    for encoder, decoder in calls:
        decoder.decode(encoder.encode(speechlike(320)))
    assert {thread.id for thread in psutil.Process().threads()} <= before


def test_flush_starts_anew() -> None:
    speech = speechlike(700)
    encoder = G722Encoder()
    first = encoder.encode(speech) + encoder.flush()
    assert encoder.encode(speech) + encoder.flush() == first


def test_encoder_keeps_no_reference_to_the_caller_s_array() -> None:
    speech = speechlike(480)
    scratch = speech.copy()
    encoder = G722Encoder()
    out = encoder.encode(scratch)
    scratch[:] = 0
    out += encoder.encode(speech[:160])
    again = G722Encoder()
    assert out == again.encode(np.concatenate([speech, speech[:160]]))


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "G722", None)
    with pytest.raises(MissingExtraError) as caught:
        make_codec("g722")
    assert caught.value.extra == "codecs"
