"""G.711 by table, against the standard's own figures and the standard library's codec."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from hypothesis import given

from salon.media import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw

from .signals import int16_arrays, snr_db, speechlike

EVERY = np.arange(-32768, 32768).astype(np.int16)

# Decoder outputs at the top of each segment, positive half, from tables 2a and 1a of G.711.
ULAW_SEGMENT_TOPS = [32124, 15996, 7932, 3900, 1884, 876, 372, 120]
ALAW_SEGMENT_TOPS = [32256, 16128, 8064, 4032, 2016, 1008, 504]


def test_G42_ulaw_decodes_the_values_of_the_standard() -> None:
    tops = decode_ulaw(bytes([0x80 + 16 * i for i in range(8)]))
    assert tops.tolist() == ULAW_SEGMENT_TOPS
    assert decode_ulaw(bytes([16 * i for i in range(8)])).tolist() == [-v for v in tops.tolist()]
    assert decode_ulaw(b"\xff\x7f").tolist() == [0, 0]


def test_G42_alaw_decodes_the_values_of_the_standard() -> None:
    codes = bytes([(0x80 | (7 - i) << 4 | 0x0F) ^ 0x55 for i in range(7)])
    assert decode_alaw(codes).tolist() == ALAW_SEGMENT_TOPS
    assert decode_alaw(b"\xd5\x55").tolist() == [8, -8]


def _reference_ulaw(value: int) -> int:
    """One sample by the text of the standard: sign, segment search, four bits."""
    level = value >> 2
    sign = 0x7F if level < 0 else 0xFF
    magnitude = min(abs(level), 8158) + 33
    segment = magnitude.bit_length() - 6
    return ((segment << 4) | (magnitude >> (segment + 1)) & 15) ^ sign


def _reference_alaw(value: int) -> int:
    level = value >> 3
    sign = 0x55 if level < 0 else 0xD5
    magnitude = ~level if level < 0 else level
    segment = max(0, magnitude.bit_length() - 5)
    return ((segment << 4) | (magnitude >> max(segment, 1)) & 15) ^ sign


def test_G42_every_sample_encodes_as_the_reference_does() -> None:
    assert encode_ulaw(EVERY) == bytes(_reference_ulaw(int(v)) for v in EVERY)
    assert encode_alaw(EVERY) == bytes(_reference_alaw(int(v)) for v in EVERY)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="audioop left Python with 3.13")
def test_G42_every_sample_agrees_with_audioop() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    raw, codes = EVERY.tobytes(), bytes(range(256))
    assert encode_ulaw(EVERY) == audioop.lin2ulaw(raw, 2)
    assert encode_alaw(EVERY) == audioop.lin2alaw(raw, 2)
    assert decode_ulaw(codes).tobytes() == audioop.ulaw2lin(codes, 2)
    assert decode_alaw(codes).tobytes() == audioop.alaw2lin(codes, 2)


def test_decoded_codes_encode_to_themselves() -> None:
    codes = bytes(range(256))
    assert encode_alaw(decode_alaw(codes)) == codes
    # Mu-law has two zeros; both come back as the positive one.
    assert encode_ulaw(decode_ulaw(codes)) == codes.replace(b"\x7f", b"\xff")


@given(int16_arrays)
def test_error_stays_within_the_step_of_the_segment(samples: np.ndarray) -> None:
    for encode, decode in ((encode_ulaw, decode_ulaw), (encode_alaw, decode_alaw)):
        back = decode(encode(samples)).astype(int)
        assert len(back) == len(samples)
        wide = samples.astype(int)
        assert (np.abs(back - wide) <= np.abs(wide) // 16 + 650 * (np.abs(wide) > 32000) + 16).all()


def test_speech_keeps_35_db() -> None:
    speech = speechlike(32000)
    assert snr_db(speech, decode_ulaw(encode_ulaw(speech))) > 35
    assert snr_db(speech, decode_alaw(encode_alaw(speech))) > 35


def test_views_with_gaps_and_memoryviews_work() -> None:
    assert encode_ulaw(EVERY[::2]) == encode_ulaw(EVERY[::2].copy())
    assert decode_ulaw(memoryview(b"\x00\x80")).tolist() == [-32124, 32124]
