"""A streamer hears only what its description agreed to hear (O46)."""

from __future__ import annotations

import pytest
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
    RTCRtpReceiveParameters,
)

from salon.transport.video_hook import formats_of


def _codec(kind: int, name: str, feedback: list[RTCRtcpFeedback]) -> RTCRtpCodecParameters:
    return RTCRtpCodecParameters(f"video/{name}", 90_000, None, kind, feedback)


@pytest.mark.parametrize("nack", [True, False])
@pytest.mark.parametrize("pli", [True, False])
def test_O46_each_kind_of_feedback_is_agreed_on_alone(nack: bool, pli: bool) -> None:
    feedback = [RTCRtcpFeedback("goog-remb")]
    feedback += [RTCRtcpFeedback("nack")] * nack + [RTCRtcpFeedback("nack", "pli")] * pli
    agreed = RTCRtpReceiveParameters(codecs=[_codec(97, "VP8", feedback)])
    formats = formats_of(agreed)
    assert (formats.nack, formats.pli) == (nack, pli)
    assert list(formats.codecs) == [97]


def test_O46_a_repair_of_what_cannot_be_read_is_no_repair() -> None:
    known, other = _codec(98, "rtx", []), _codec(100, "rtx", [])
    known.parameters, other.parameters = {"apt": 97}, {"apt": 99}
    codecs = [_codec(97, "VP8", []), known, _codec(99, "AV1", []), other]
    formats = formats_of(RTCRtpReceiveParameters(codecs=codecs))
    assert list(formats.codecs) == [97]
    assert dict(formats.rtx) == {98: 97}
