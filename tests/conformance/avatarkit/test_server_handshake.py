"""Golden bytes and the handshake, the server's side (chapters 3 and 4)."""

from __future__ import annotations

import pytest
from tests.conformance.avatarkit.server_stage import (
    CONNECTION,
    RATE,
    REQ,
    Peer,
    audio,
    configure,
    started,
)

from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.testing.avatar import (
    AvatarSettings,
    Faults,
    HandshakeFault,
    handshake_rows,
    wire,
)
from salon.testing.avatar.settings import OPUS_RATES, PCM_RATES

ID = REQ.encode().hex()


@pytest.mark.parametrize(
    ("golden", "read"),
    [
        ("080112 03 08807d", (16_000, 0, 0, 0)),
        ("0801 120a 08c0bb01 1080fa01 1801", (24_000, 32_000, 1, 0)),
        (
            "0801 1223 08807d 2801 321c 0a0777733a2f2f6c6b 220172 2a0170 32060a016b120176 383c "
            "420174",
            (16_000, 0, 0, 1),
        ),
        ("0801 1212 08807d 2802 3a0b 0a0163 120174 1807 220170", (16_000, 0, 0, 2)),
    ],
)
def test_A32_configurations_are_read(golden: str, read: tuple[int, int, int, int]) -> None:
    said = wire.read(bytes.fromhex(golden))
    assert isinstance(said, wire.Configure)
    assert (said.sample_rate, said.bitrate, said.audio_format, said.egress_type) == read
    if said.livekit is not None:
        assert said.livekit == wire.LiveKitEgress(
            "ws://lk", "r", "p", "t", False, False, {"k": "v"}, 60
        )
    if said.agora is not None:
        assert said.agora == wire.AgoraEgress("c", 7, "p")


def test_A32_audio_and_interrupt_are_read() -> None:
    some = wire.read(bytes.fromhex(f"0803 2223 0a1b{ID} 1a0401000200"))
    assert some == wire.Audio(REQ, False, bytes.fromhex("01000200"))
    assert wire.read(bytes.fromhex(f"0803 221f 0a1b{ID} 1001")) == wire.Audio(REQ, True, b"")
    assert wire.read(bytes.fromhex(f"0807 421d 0a1b{ID}")) == wire.Interrupt(REQ)


def test_A32_what_the_server_says() -> None:
    assert wire.confirm("conn-1").hex() == "08021a080a06636f6e6e2d31"
    error = wire.error("conn-1", REQ, 4001, "credits exhausted")
    text = b"credits exhausted".hex()
    assert error.hex() == f"08042a3b0a06636f6e6e2d31121b{ID}18a11f2211{text}"
    end = wire.signal("conn-1", REQ, end=True)
    assert end.hex() == f"080532270a06636f6e6e2d31121b{ID}1801"


def test_A30_unknown_fields_and_enumerations_are_skipped() -> None:
    peer = Peer()
    extra = bytes.fromhex("0801 1207 08807d f2070178") + b"\xf8\x3e\x05"
    peer.say(extra)
    assert peer.messages()[0].type == pb.MESSAGE_SERVER_CONFIRM_SESSION
    before = len(peer.sent)
    peer.say(wire.bare(77))
    assert len(peer.sent) == before


def test_A35_one_confirmation_with_an_id_and_nothing_before_it() -> None:
    peer = Peer()
    peer.work(until=5.0)
    assert peer.sent == []
    peer.say(configure())
    peer.work(until=30.0)
    assert [one.type for one in peer.messages()] == [pb.MESSAGE_SERVER_CONFIRM_SESSION]
    assert peer.messages()[0].server_confirm_session.connection_id == CONNECTION
    assert peer.closed is None


def test_A36_no_first_message_in_ten_seconds() -> None:
    peer = Peer()
    peer.work(until=9.9)
    assert peer.closed is None
    peer.work(until=10.0)
    assert peer.closed is not None
    assert peer.sent == []


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (b"\xff\xff\xff", "failed to unmarshal initial message"),
        (wire.bare(1), "ClientConfigureSession message is nil"),
        (audio(b"\0\0"), "expected ClientConfigureSession message"),
        (wire.bare(0), "expected ClientConfigureSession message"),
    ],
)
def test_A36_another_first_message(first: bytes, text: str) -> None:
    peer = Peer()
    peer.say(first)
    assert [(one.code, one.message) for one in peer.errors()] == [(3, text)]
    assert peer.closed is not None
    assert peer.server.closed


def test_A36_a_text_message_first() -> None:
    peer = Peer()
    peer.take(peer.server.receive_text(0.0))
    assert peer.errors()[0].message == "expected ClientConfigureSession message"
    assert peer.closed is not None


@pytest.mark.parametrize("rate", PCM_RATES)
def test_A37_rates_of_pcm(rate: int) -> None:
    started(sample_rate=rate)


@pytest.mark.parametrize("rate", OPUS_RATES)
def test_A37_rates_of_opus(rate: int) -> None:
    started(sample_rate=rate, audio_format=pb.AUDIO_FORMAT_OGG_OPUS)


@pytest.mark.parametrize(
    ("rate", "audio_format"),
    [
        (0, pb.AUDIO_FORMAT_PCM_S16LE),
        (12_000, pb.AUDIO_FORMAT_PCM_S16LE),
        (-16_000, pb.AUDIO_FORMAT_PCM_S16LE),
        (44_100, pb.AUDIO_FORMAT_OGG_OPUS),
    ],
)
def test_A37_other_rates_are_refused(rate: int, audio_format: pb.AudioFormat) -> None:
    peer = Peer()
    peer.say(configure(rate, audio_format=audio_format))
    (error,) = peer.errors()
    assert "unsupported sample rate" in error.message
    assert error.code not in (3, 14, 16)
    assert peer.closed is not None


def test_A63_too_many_sessions() -> None:
    peer = Peer(full=True)
    peer.say(configure())
    assert [one.code for one in peer.errors()] == [4003]
    assert peer.closed is not None
    assert peer.closed.code == 4003


CREDITS = wire.error(CONNECTION, "", 4001, "credits exhausted")
WRONG_ANSWERS = {
    "text": ([], ["hello"], None, False),
    "undecodable": ([b"\xff\xff\xff\xff"], [], None, False),
    "empty id": ([bytes.fromhex("08021a00")], [], None, False),
    "other type": ([bytes.fromhex("0863")], [], None, False),
    "error": ([CREDITS], [], 4001, False),
    "closed": ([], [], 1000, False),
    "dropped": ([], [], None, True),
    "silence": ([], [], None, False),
}


@pytest.mark.parametrize("row", sorted(handshake_rows()))
def test_A39_every_wrong_first_answer_can_be_switched_on(row: str) -> None:
    peer = Peer(faults=Faults(handshake=handshake_rows()[row]))
    peer.say(configure())
    peer.work(until=60.0)
    code = None if peer.closed is None else peer.closed.code
    assert (peer.sent, peer.texts, code, peer.dropped) == WRONG_ANSWERS[row]


def test_A38_a_late_confirmation() -> None:
    peer = Peer(faults=Faults(handshake=HandshakeFault(delay_s=4.0, confirm=True, times=1)))
    peer.say(configure())
    peer.work(until=3.9)
    assert peer.sent == []
    peer.work(until=4.0)
    assert peer.messages()[0].server_confirm_session.connection_id == CONNECTION
    second = Peer(faults=peer.faults)
    second.say(configure())
    assert second.sent


def test_A61_capabilities_only_in_egress_mode() -> None:
    settings = AvatarSettings(capabilities=("playback_control",))
    peer = Peer(settings)
    peer.say(configure(RATE))
    assert list(peer.messages()[0].server_confirm_session.capabilities) == []
