"""RTCP packets, what a peer's reports tell, and the session that sends ours."""

from __future__ import annotations

import contextlib
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from salon.transport.rtcp import (
    Goodbye,
    ReceiverReport,
    RemoteReports,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_bye,
    build_report,
    ntp_middle,
    ntp_time,
    parse_rtcp,
    unix_time,
)
from salon.transport.rtp import PacketError

U32 = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.builds(
    ReportBlock,
    U32,
    st.integers(0, 255),
    st.integers(-0x800000, 0x7FFFFF),
    U32,
    U32,
    U32,
    U32,
)
REPORTS = st.builds(
    SenderReport,
    U32,
    st.integers(0, (1 << 64) - 1),
    U32,
    U32,
    U32,
    st.lists(BLOCKS, max_size=31).map(tuple),
) | st.builds(ReceiverReport, U32, st.lists(BLOCKS, max_size=31).map(tuple))

BY_HAND = bytes.fromhex(
    "81 C8 000C 00000001 DD000000 80000000 00000010 00000002 00000140"  # SR, one block
    "00000009 40 FFFFFF 00010005 00000007 12345678 00010000"
    "81 CA 0003 00000001 01 03 61 62 63 00 0000"  # SDES, "abc"
    "81 CB 0002 00000001 02 68 69 00"  # BYE, "hi"
)


def test_a_compound_by_hand() -> None:
    sender, names, bye = parse_rtcp(BY_HAND)
    block = ReportBlock(9, 0x40, -1, 0x10005, 7, 0x12345678, 0x10000)
    assert sender == SenderReport(1, 0xDD00000080000000, 16, 2, 320, (block,))
    assert names == SourceDescription(((1, "abc"),))
    assert bye == Goodbye((1,), "hi")
    assert isinstance(sender, SenderReport)
    assert build_report(sender, "abc") == BY_HAND[: 52 + 16]


@given(REPORTS, st.text(max_size=60))
def test_reports_round_trip(report: SenderReport | ReceiverReport, cname: str) -> None:
    assert parse_rtcp(build_report(report, cname)) == [
        report,
        SourceDescription(((report.ssrc, cname),)),
    ]


@given(U32, st.text(max_size=60), st.text(max_size=60))
def test_goodbyes_round_trip(ssrc: int, cname: str, reason: str) -> None:
    data = build_bye(ssrc, cname, reason)
    assert len(data) % 4 == 0
    assert parse_rtcp(data) == [
        ReceiverReport(ssrc),
        SourceDescription(((ssrc, cname),)),
        Goodbye((ssrc,), reason),
    ]


def test_several_sources_names_and_items() -> None:
    data = bytes.fromhex(
        "82 CA 0006 00000001 02 01 41 01 01 42 00 00 00000002 06 02 43 43 00 000000"
        "82 CA 0006 00000001 01 02 41 42 00 000000 00000002 01 01 43 00"
        "00000000"
        "82 CB 0002 00000001 00000002 80 CB 0000"
    )
    assert parse_rtcp(data) == [
        SourceDescription(((1, "B"), (2, ""))),
        SourceDescription(((1, "AB"), (2, "C"))),
        Goodbye((1, 2)),
        Goodbye(()),
    ]


@pytest.mark.parametrize("kind", [192, 204, 205, 206, 207, 210])
def test_feedback_and_unknown_packets_are_passed_over(kind: int) -> None:
    other = bytes((0x81, kind, 0, 2)) + bytes(8)
    assert parse_rtcp(other) == []
    assert parse_rtcp(other + bytes.fromhex("80 C9 0001 00000005")) == [ReceiverReport(5)]


def test_padding_and_profile_extensions_are_left_out() -> None:
    padded = bytes.fromhex("A0 C9 0002 00000005 00000004")
    assert parse_rtcp(padded) == [ReceiverReport(5)]
    extended = bytes.fromhex("80 C9 0002 00000005 AAAAAAAA")
    assert parse_rtcp(extended) == [ReceiverReport(5)]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "80C900",
        "00C90001 00000005",  # version 0
        "80C90002 00000005",  # longer than the datagram
        "80C90001 00000005 80C9",  # a piece behind
        "80C90000",  # no SSRC
        "81C90001 00000005",  # no block
        "80C80005" + "00" * 20,  # short sender report
        "81C80006" + "00" * 24,
        "A0C90001 00000000",  # padding of none
        "A0C90001 00000008",  # padding of all and more
        "A0C90001 00000003",  # padding not in words
        "A0C90003 00000005 00000000 00000003",
        "A0C90002 00000005 00000004 80C90001 00000005",  # padding not in the last packet
        "81CA0001 00000001",  # description without items
        "81CA0002 00000001 01040000",  # item beyond the packet
        "81CA0002 00000001 01020000",  # without end
        "82CA0002 00000001 00000000",  # second chunk missing
        "81CA0002 00000001 01010001",  # cut off within an item
        "82CB0001 00000001",
        "81CB0002 00000001 05000000",  # reason beyond the packet
    ],
)
def test_malformed_compounds_raise(data: str) -> None:
    with pytest.raises(PacketError):
        parse_rtcp(bytes.fromhex(data))


@given(
    st.binary(max_size=120),
    st.sampled_from([0x80, 0x81, 0x83, 0xA1]),
    st.sampled_from([200, 201, 202, 203, 205]),
)
@example(BY_HAND[4:], 0x81, 200)
def test_noise_raises_nothing_else(body: bytes, first: int, kind: int) -> None:
    words = len(body) // 4
    for data in (body, bytes((first, kind, 0, words)) + body[: 4 * words]):
        with contextlib.suppress(PacketError):
            parse_rtcp(data)


@given(st.integers(0, len(BY_HAND) - 1), st.integers(0, 255))
def test_damaged_compounds_raise_nothing_else(place: int, value: int) -> None:
    with contextlib.suppress(PacketError):
        parse_rtcp(BY_HAND[:place] + bytes((value,)) + BY_HAND[place + 1 :])


def test_building_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="31"):
        build_report(ReceiverReport(1, (ReportBlock(1),) * 32), "a")
    with pytest.raises(ValueError, match="CNAME"):
        build_report(ReceiverReport(1), "ä" * 128)
    with pytest.raises(ValueError, match="reason"):
        build_bye(1, "a", "x" * 256)
    assert len(parse_rtcp(build_report(ReceiverReport(1), "ä" * 127))) == 2


def test_building_holds_counters_in_their_fields() -> None:
    block = ReportBlock(1, 0, 1 << 30, (1 << 32) + 5, 1 << 40, 0, 1 << 33)
    report = SenderReport(1, 0, 1 << 32, (1 << 32) + 1, (1 << 32) + 2, (block,))
    assert parse_rtcp(build_report(report, ""))[0] == SenderReport(
        1, 0, 0, 1, 2, (ReportBlock(1, 0, 0x7FFFFF, 5, 0xFFFFFFFF, 0, 0xFFFFFFFF),)
    )


def test_ntp_time() -> None:
    assert ntp_time(0.0) == 2_208_988_800 << 32
    assert ntp_time(0.5) == 2_208_988_800 << 32 | 0x80000000
    assert ntp_middle(0x1111_2222_3333_4444) == 0x22223333
    assert ntp_time(2_085_978_496.0) == 0  # 2036-02-07T06:28:16Z, era 1
    for wall in (0.0, 1_767_600_000.25, 2_085_978_496.5, 3_000_000_000.0):
        assert unix_time(ntp_time(wall)) == pytest.approx(wall, abs=1e-6)


def test_round_trip_by_hand() -> None:
    remote = RemoteReports(1)
    report = SenderReport(1, ntp_time(1000.0), 0, 1, 160)
    remote.sent(report, 50.0)
    answer = ReportBlock(1, 64, 3, 10, 80, ntp_middle(report.ntp), 65536)
    remote.received([ReceiverReport(2, (ReportBlock(7, 255), answer))], 51.25)
    assert remote.round_trip == 0.25
    assert (remote.fraction_lost, remote.lost, remote.jitter) == (0.25, 3, 80)


def test_round_trip_needs_an_answer_to_a_report_of_ours() -> None:
    remote = RemoteReports(1)
    remote.sent(SenderReport(1, ntp_time(1000.0), 0, 1, 160), 50.0)
    for last_sr in (0, 12345):
        remote.received([ReceiverReport(2, (ReportBlock(1, last_sr=last_sr),))], 51.0)
        assert remote.round_trip is None
    early = ReportBlock(1, last_sr=ntp_middle(ntp_time(1000.0)), delay=65536 * 9)
    remote.received([SenderReport(2, 0, 0, 0, 0, (early,))], 51.0)
    assert remote.round_trip == 0.0


def test_sent_reports_are_bounded() -> None:
    remote = RemoteReports(1)
    for second in range(1000):
        remote.sent(SenderReport(1, ntp_time(second), 0, 1, 160), second)
    for second, known in ((983, False), (984, True), (999, True)):
        remote.round_trip = None
        block = ReportBlock(1, last_sr=ntp_middle(ntp_time(second)))
        remote.received([ReceiverReport(2, (block,))], 1000.0)
        assert (remote.round_trip is not None) is known


def test_the_answer_to_a_sender_report_names_it_and_the_delay() -> None:
    remote = RemoteReports(1)
    assert remote.last_sender_report(2, 5.0) == (0, 0)
    remote.received([SenderReport(2, 0x1111_2222_3333_4444, 0, 0, 0)], 5.0)
    assert remote.last_sender_report(2, 6.5) == (0x22223333, 98304)
    assert remote.last_sender_report(3, 6.5) == (0, 0)
    assert remote.last_sender_report(2, 1e9) == (0x22223333, 0xFFFFFFFF)


def test_random_reports_never_break_the_books() -> None:
    random = Random(3)
    remote = RemoteReports(1)
    for now in range(200):
        block = ReportBlock(1, random.randrange(256), last_sr=random.getrandbits(32))
        remote.received([ReceiverReport(2, (block,)), Goodbye((random.randrange(4),))], now)
        assert 0.0 <= remote.fraction_lost < 1.0
        assert len(remote.departed) == 1
