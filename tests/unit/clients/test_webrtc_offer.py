"""Offers and the reading of answers, without a network."""

from __future__ import annotations

import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCSessionDescription

from salon.clients.call import ClientError
from salon.clients.call.offer import LocalTransport, build_offer, formats_of, read_answer
from salon.transport.answer import build_answer, choose_audio
from salon.transport.packets import NegotiationError
from salon.transport.sdp import Candidate, Fingerprint, SessionDescription

CODECS = {"opus": "opus", "pcmu": "PCMU", "pcma": "PCMA", "g722": "G722"}
PRINT = Fingerprint("sha-256", ":".join(["AB"] * 32))
HOST = Candidate("1", 1, "udp", 2130706431, "127.0.0.1", 5000, "host")
LOCAL = LocalTransport("ufrag", "p" * 22, PRINT, (HOST,))


def offer(codec: str) -> str:
    return build_offer(formats_of(codec), LOCAL, session_id=7, ssrc=9, cname="c")


def answer(codec: str, *wanted: str, **changed: object) -> str:
    description = SessionDescription.parse(offer(codec))
    choice = choose_audio(description, wanted or (CODECS[codec], "telephone-event"))
    given = {
        "ufrag": "theirs",
        "pwd": "q" * 22,
        "fingerprints": (PRINT,),
        "candidates": (HOST, Candidate("2", 1, "udp", 5, "abc.local", 5001, "host")),
        "setup": "active",
        "ssrc": 3,
        "cname": "d",
        "session_id": 1,
        "session_version": 1,
    }
    return build_answer(description, choice, **(given | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", CODECS)
def test_G145_an_offer_has_one_audio_section_with_all_candidates(codec: str) -> None:
    text = offer(codec)
    assert text.endswith("a=end-of-candidates\r\n")
    (audio,) = SessionDescription.parse(text).media
    assert (audio.kind, audio.direction, audio.rtcp_mux, audio.setup) == (
        "audio",
        "sendrecv",
        True,
        "actpass",
    )
    assert audio.formats[0].encoding == CODECS[codec]
    assert audio.formats[-1].encoding == "telephone-event"
    assert audio.candidates == (HOST,)
    assert (audio.ice_ufrag, audio.ice_pwd, audio.fingerprints) == ("ufrag", "p" * 22, (PRINT,))


@pytest.mark.parametrize("codec", CODECS)
async def test_a_stock_stack_takes_the_offer_and_its_answer_is_read(codec: str) -> None:
    peer = RTCPeerConnection()
    try:
        await peer.setRemoteDescription(RTCSessionDescription(offer(codec), "offer"))
        peer.addTrack(AudioStreamTrack())
        await peer.setLocalDescription(await peer.createAnswer())
        agreed = read_answer(peer.localDescription.sdp, codec)
    finally:
        await peer.close()
    assert agreed.codec.encoding == CODECS[codec]
    assert agreed.codec.payload_type == formats_of(codec)[0].payload_type
    assert agreed.dtls_role == "server"


def test_keys_are_sent_on_the_clock_of_the_codec() -> None:
    agreed = read_answer(answer("opus"), "opus")
    assert agreed.keys is not None
    assert (agreed.keys.payload_type, agreed.keys.clock_rate) == (110, 48_000)
    assert read_answer(answer("pcmu", "PCMU"), "pcmu").keys is None


def test_the_peer_says_who_begins_the_handshake() -> None:
    assert read_answer(answer("pcmu"), "pcmu").dtls_role == "server"
    assert read_answer(answer("pcmu", setup="passive"), "pcmu").dtls_role == "client"


def test_candidates_that_no_check_can_reach_are_counted() -> None:
    agreed = read_answer(answer("opus"), "opus")
    assert agreed.remote.candidates == (HOST,)
    assert agreed.refused_candidates == 1


@pytest.mark.parametrize(
    ("sdp", "said"),
    [
        ("", "no session description"),
        ("v=0\r\ns=-\r\n", "no audio section"),
        (answer("opus").replace("m=audio 9", "m=audio 0"), "declines the audio: opus"),
        (answer("opus").replace("sendrecv", "recvonly"), "not in both directions"),
        (answer("pcmu").replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        ("nonsense", "expected v=0"),
    ],
)
def test_an_answer_without_sound_says_why(sdp: str, said: str) -> None:
    with pytest.raises(NegotiationError, match=said):
        read_answer(sdp, "opus")


def test_another_codec_than_the_offered_is_no_answer() -> None:
    with pytest.raises(NegotiationError, match="PCMU/8000"):
        read_answer(answer("pcmu"), "opus")


def test_an_unknown_codec_is_said() -> None:
    with pytest.raises(ClientError, match="there are opus, g722, pcmu, pcma"):
        formats_of("speex")
