"""Another implementation takes our answers for what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.transport.answer import build_answer, choose_audio, remote_transport
from salon.transport.packets import PeerOptions
from salon.transport.sdp import Candidate, Fingerprint, SessionDescription

aiortc = pytest.importorskip("aiortc")
aiortc_sdp = pytest.importorskip("aiortc.sdp")

OFFERS = Path(__file__).parent / "offers"
# A closed port of this machine: connectivity checks go nowhere.
CANDIDATE = Candidate.parse("candidate:1 1 udp 2130706431 127.0.0.1 9 typ host")


def answer_to(text: str) -> tuple[SessionDescription, str]:
    offer = SessionDescription.parse(text)
    choice = choose_audio(offer, PeerOptions().formats)
    assert remote_transport(offer, choice.media).ufrag
    return offer, build_answer(
        offer,
        choice,
        ufrag="ours",
        pwd="p" * 24,
        fingerprints=[Fingerprint("sha-256", ":".join(["5A"] * 32))],
        candidates=[CANDIDATE],
        setup="passive",
        ssrc=4711,
        cname="salon",
        session_id=1,
        session_version=1,
    )


@pytest.mark.parametrize("path", sorted(OFFERS.glob("*.sdp")), ids=lambda path: path.stem)
def test_aiortc_reads_the_answer_as_we_do(path: Path) -> None:
    offer, text = answer_to(path.read_text())
    theirs = aiortc_sdp.SessionDescription.parse(text)
    ours = SessionDescription.parse(text)
    assert [one.kind for one in theirs.media] == [one.kind for one in offer.media]
    for their, our in zip(theirs.media, ours.media, strict=True):
        assert (their.port, their.profile) == (our.port, our.protocol)
        assert their.direction == our.direction
        assert their.rtp.muxId == (our.mid or "")
        assert [one.payloadType for one in their.rtp.codecs] == [
            one.payload_type for one in our.formats
        ]
        assert len(their.ice_candidates) == len(our.candidates)
        assert their.ice.usernameFragment == our.ice_ufrag
        assert their.ice_candidates_complete is our.end_of_candidates


@pytest.mark.parametrize("others", [False, True], ids=["audio", "everything"])
async def test_aiortc_accepts_the_answer_to_its_offer(others: bool) -> None:
    peer = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    try:
        audio = peer.addTransceiver("audio", direction="sendrecv")
        if others:
            peer.addTransceiver("video")
            peer.createDataChannel("data")
        await peer.setLocalDescription(await peer.createOffer())
        _, text = answer_to(peer.localDescription.sdp)
        await peer.setRemoteDescription(aiortc.RTCSessionDescription(text, "answer"))
        assert peer.signalingState == "stable"
        assert audio.currentDirection == "sendrecv"
        assert audio.receiver.track is not None
    finally:
        await peer.close()
