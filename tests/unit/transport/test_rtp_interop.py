"""Our RTP and RTCP against aiortc's, an implementation of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.transport.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_bye,
    build_report,
    parse_rtcp,
)
from salon.transport.rtp import build_rtp, parse_rtp

theirs = pytest.importorskip("aiortc.rtp")

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
LOST = st.integers(-0x800000, 0x7FFFFF)
BLOCKS = st.builds(ReportBlock, U32, st.integers(0, 255), LOST, U32, U32, U32, U32)


@given(st.integers(0, 127), U16, U32, U32, st.binary(max_size=40), st.booleans())
def test_they_read_our_packets(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool
) -> None:
    data = build_rtp(payload_type, sequence, timestamp, ssrc, payload, marker)
    packet = theirs.RtpPacket.parse(data)
    assert (packet.payload_type, packet.sequence_number) == (payload_type, sequence)
    assert (packet.timestamp, packet.ssrc, packet.marker) == (timestamp, ssrc, int(marker))
    assert packet.payload == payload
    assert packet.serialize() == data


@given(
    U16, U32, st.binary(max_size=40), st.lists(U32, max_size=15), st.integers(0, 255), st.booleans()
)
def test_we_read_their_packets(
    sequence: int, ssrc: int, payload: bytes, csrc: list[int], padding: int, extended: bool
) -> None:
    packet = theirs.RtpPacket(111, 1, sequence, 77, ssrc, payload)
    packet.csrc = csrc
    packet.padding_size = padding
    data = packet.serialize(extensions() if extended else theirs.HeaderExtensionsMap())
    read = parse_rtp(data, 0.0)
    assert (read.payload, read.sequence, read.timestamp) == (payload, sequence, 77)
    assert (read.ssrc, read.payload_type, read.marker) == (ssrc, 111, True)


def test_we_skip_their_header_extensions() -> None:
    packet = theirs.RtpPacket(111, 0, 1, 2, 3, b"opus")
    packet.extensions.mid = "0"
    packet.extensions.abs_send_time = 15846540
    packet.extensions.audio_level = (False, 40)
    data = packet.serialize(extensions())
    assert data[0] == 0x90
    assert parse_rtp(data, 0.0).payload == b"opus"


def extensions() -> object:
    parameters = pytest.importorskip("aiortc.rtcrtpparameters")
    known = theirs.HeaderExtensionsMap()
    uris = (
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    )
    known.configure(
        parameters.RTCRtpParameters(
            headerExtensions=[
                parameters.RTCRtpHeaderExtensionParameters(id=number, uri=uri)
                for number, uri in enumerate(uris, 1)
            ]
        )
    )
    return known


def same_block(ours: ReportBlock, other: object) -> None:
    expected = theirs.RtcpReceiverInfo(
        ssrc=ours.ssrc,
        fraction_lost=ours.fraction_lost,
        packets_lost=ours.lost,
        highest_sequence=ours.highest_sequence,
        jitter=ours.jitter,
        lsr=ours.last_sr,
        dlsr=ours.delay,
    )
    assert other == expected


@given(U32, st.integers(0, (1 << 64) - 1), U32, U32, U32, st.lists(BLOCKS, max_size=3))
def test_sender_reports_both_ways(
    ssrc: int, ntp: int, timestamp: int, packets: int, octets: int, blocks: list[ReportBlock]
) -> None:
    ours = SenderReport(ssrc, ntp, timestamp, packets, octets, tuple(blocks))
    report, names = theirs.RtcpPacket.parse(build_report(ours, "somebody"))
    assert (report.ssrc, report.sender_info.ntp_timestamp) == (ssrc, ntp)
    assert report.sender_info.rtp_timestamp == timestamp
    assert report.sender_info.packet_count == packets
    assert report.sender_info.octet_count == octets
    for block, other in zip(blocks, report.reports, strict=True):
        same_block(block, other)
    assert names.chunks[0].items == [(1, b"somebody")]
    assert parse_rtcp(bytes(report) + bytes(names)) == [
        ours,
        SourceDescription(((ssrc, "somebody"),)),
    ]


@given(U32, st.lists(BLOCKS, max_size=3), st.text(max_size=30))
def test_receiver_reports_both_ways(ssrc: int, blocks: list[ReportBlock], cname: str) -> None:
    ours = ReceiverReport(ssrc, tuple(blocks))
    report, names = theirs.RtcpPacket.parse(build_report(ours, cname))
    for block, other in zip(blocks, report.reports, strict=True):
        same_block(block, other)
    assert parse_rtcp(bytes(report) + bytes(names)) == [ours, SourceDescription(((ssrc, cname),))]


def test_goodbye_and_feedback_both_ways() -> None:
    report, names, bye = theirs.RtcpPacket.parse(build_bye(5, "a", "done"))
    assert (report.ssrc, names.chunks[0].ssrc, bye.sources) == (5, 5, [5])
    nack = theirs.RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=[3, 4])
    pli = theirs.RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2)
    assert parse_rtcp(bytes(nack) + bytes(pli) + bytes(bye)) == [Goodbye((5,))]
