"""Answers: which audio is taken, on which terms, and what the peer reads of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.transport.answer import (
    AudioChoice,
    build_answer,
    choose_audio,
    published_candidates,
    remote_transport,
    usable_candidate,
)
from salon.transport.packets import NegotiationError, PayloadFormat, PeerOptions
from salon.transport.sdp import Candidate, Fingerprint, MediaDescription, SessionDescription

OFFERS = Path(__file__).parent / "offers"
ALL = sorted(path.stem for path in OFFERS.glob("*.sdp"))
WANTED = PeerOptions().formats
PRINT = Fingerprint("sha-256", ":".join(["5A"] * 32))
HOST = Candidate("1", 1, "udp", 2130706431, "10.0.0.5", 40000, "host")
HOST6 = Candidate("2", 1, "udp", 2130706430, "fd00::5", 40001, "host")
SRFLX = Candidate("3", 1, "udp", 1694498815, "203.0.113.5", 40000, "srflx", ("10.0.0.5", 40000))
OURS = (HOST, HOST6, SRFLX)


def load(name: str) -> SessionDescription:
    return SessionDescription.parse((OFFERS / f"{name}.sdp").read_text())


def offer_of(formats: str, *lines: str, protocol: str = "UDP/TLS/RTP/SAVPF") -> SessionDescription:
    text = f"v=0\nm=audio 9 {protocol} {formats}\na=rtcp-mux\n" + "\n".join(lines)
    return SessionDescription.parse(text)


def answer(offer: SessionDescription, choice: AudioChoice | None = None, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "ufrag": "ours",
        "pwd": "p" * 24,
        "fingerprints": [PRINT],
        "candidates": OURS,
        "setup": "passive",
        "ssrc": 77,
        "cname": "salon-cname",
        "session_id": 12,
        "session_version": 3,
    }
    return build_answer(offer, choice or choose_audio(offer, WANTED), **arguments | changes)


def kept(offer: SessionDescription, wanted: tuple[str, ...] = WANTED) -> list[int]:
    return [one.payload_type for one in choose_audio(offer, wanted).formats]


# -- choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "index", "types"),
    [
        ("chromium", 0, [111, 9, 0, 8, 110, 126]),
        ("firefox", 0, [109, 9, 0, 8, 101]),
        ("safari", 0, [111, 9, 0, 8, 110, 126]),
        ("aiortc", 0, [96, 9, 0, 8]),
        ("aiortc_all", 0, [96, 9, 0, 8]),
        ("werift", 0, [96, 0]),
        ("bundle", 1, [0, 111, 110, 126]),
        ("sip_pcmu", 0, [0, 101]),
    ],
)
def test_G138_formats_follow_the_offer(name: str, index: int, types: list[int]) -> None:
    choice = choose_audio(load(name), WANTED)
    assert choice.index == index
    assert [one.payload_type for one in choice.formats] == types
    assert choice.codec.payload_type == types[0]


def test_G138_only_wanted_formats_are_kept() -> None:
    assert kept(load("chromium"), ("PCMA", "pcmu")) == [0, 8]


def test_G151_events_stay_only_on_the_clocks_of_kept_codecs() -> None:
    safari = load("safari")
    assert kept(safari, ("opus", "telephone-event")) == [111, 110]
    assert kept(safari, ("PCMU", "telephone-event")) == [0, 126]
    assert [one.payload_type for one in choose_audio(safari, WANTED).events] == [110, 126]


def test_G151_one_event_format_for_each_clock() -> None:
    offer = offer_of(
        "0 101 102", "a=rtpmap:101 telephone-event/8000", "a=rtpmap:102 telephone-event/8000"
    )
    assert kept(offer) == [0, 101]


def test_G151_events_on_a_foreign_clock_are_better_than_none() -> None:
    offer = offer_of("111 126", "a=rtpmap:111 opus/48000/2", "a=rtpmap:126 telephone-event/8000")
    assert kept(offer) == [111, 126]


def test_events_named_first_are_not_the_codec() -> None:
    offer = offer_of("101 0", "a=rtpmap:101 telephone-event/8000")
    choice = choose_audio(offer, WANTED)
    assert [one.payload_type for one in choice.formats] == [101, 0]
    assert choice.codec.encoding == "PCMU"


def test_the_first_of_two_equal_codecs_is_kept() -> None:
    assert kept(offer_of("111 112", "a=rtpmap:111 opus/48000/2", "a=rtpmap:112 opus/48000/2")) == [
        111
    ]


@pytest.mark.parametrize("shape", ["opus/48000", "opus/16000/2", "G722/16000", "PCMU/8000/2"])
def test_a_codec_in_a_foreign_shape_is_no_codec(shape: str) -> None:
    assert kept(offer_of("96 8", f"a=rtpmap:96 {shape}")) == [8]


def test_the_first_usable_of_several_audio_sections_is_taken() -> None:
    text = (
        "v=0\nm=audio 0 RTP/SAVPF 0\na=rtcp-mux\nm=audio 9 RTP/AVP 0\na=rtcp-mux\n"
        "m=audio 9 RTP/SAVPF 96\na=rtcp-mux\na=rtpmap:96 speex/8000\n"
        "m=audio 9 RTP/SAVP 0\nm=audio 9 UDP/TLS/RTP/SAVP 8\na=rtcp-mux\n"
    )
    assert choose_audio(SessionDescription.parse(text), WANTED).index == 4


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        ("v=0", "no audio section"),
        ("v=0\nm=video 9 RTP/SAVPF 0\na=rtcp-mux", "no audio section"),
        ("v=0\nm=audio 0 RTP/SAVPF 0\na=rtcp-mux", "disabled"),
        ("v=0\nm=audio 0 RTP/SAVPF 0\na=rtcp-mux\na=bundle-only", "bundle-only"),
        ("v=0\nm=audio 9 RTP/AVP 0\na=rtcp-mux", "RTP/AVP, not"),
        ("v=0\nm=audio 9 RTP/SAVPF 0", "no rtcp-mux"),
        ("v=0\nm=audio 9 RTP/SAVPF 18\na=rtcp-mux\na=mid:x", "section x offers G729/8000, wanted"),
        ("v=0\nm=audio 9 RTP/SAVPF 99\na=rtcp-mux", "no known format"),
        (
            "v=0\nm=audio 9 RTP/SAVPF 99\na=rtcp-mux\na=rtpmap:99 telephone-event/8000",
            "offers telephone-event",
        ),
    ],
)
def test_without_usable_audio_the_reason_is_said(offer: str, reason: str) -> None:
    with pytest.raises(NegotiationError, match=reason):
        choose_audio(SessionDescription.parse(offer), WANTED)


@pytest.mark.parametrize(
    ("offered", "answered", "sending", "receiving"),
    [
        ("sendrecv", "sendrecv", True, True),
        ("sendonly", "recvonly", False, True),
        ("recvonly", "sendonly", True, False),
        ("inactive", "inactive", False, False),
    ],
)
def test_direction_is_the_opposite(
    offered: str, answered: str, sending: bool, receiving: bool
) -> None:
    offer = offer_of("0", f"a={offered}")
    choice = choose_audio(offer, WANTED)
    assert (choice.direction, choice.sending, choice.receiving) == (answered, sending, receiving)
    text = answer(offer, choice)
    assert f"\r\na={answered}\r\n" in text
    assert ("a=ssrc:77 cname:salon-cname\r\n" in text) is sending
    assert ("a=msid:" in text) is sending


# -- the peer's transport -------------------------------------------------------------------------


def transport_of(name: str, *, ipv6: bool = False) -> Any:
    offer = load(name)
    return remote_transport(offer, choose_audio(offer, WANTED).media, ipv6=ipv6)


def test_G147_unusable_candidates_are_left_out() -> None:
    addresses = [one.address for one in transport_of("chromium").candidates]
    assert addresses == ["203.0.113.24", "198.51.100.7"]
    addresses = [one.address for one in transport_of("chromium", ipv6=True).candidates]
    assert addresses == ["2001:db8:41::9", "203.0.113.24", "198.51.100.7"]
    assert [one.component for one in transport_of("sip_pcmu").candidates] == [1]


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "224.0.0.1"},
        {"address": "0.0.0.0"},
        {"address": "peer.example"},
        {"port": 0},
        {"type": "other"},
        {"component": 2},
        {"protocol": "tcp"},
    ],
)
def test_candidates_not_worth_a_check(changes: dict[str, Any]) -> None:
    assert usable_candidate(HOST)
    assert not usable_candidate(replace(HOST, **changes))


def test_transport_of_a_gateway() -> None:
    remote = transport_of("sip_pcmu")
    assert (remote.ufrag, remote.ice_lite, remote.setup) == ("gw4Ls0Qe", True, "active")
    assert not remote.end_of_candidates
    assert transport_of("aiortc").end_of_candidates


def test_RFC8843_what_a_section_lacks_comes_from_the_tagged_one() -> None:
    text = (
        f"v=0\na=group:BUNDLE v a\nm=video 9 RTP/SAVPF 96\na=mid:v\na=ice-ufrag:tagg\n"
        f"a=ice-pwd:{'t' * 22}\na=fingerprint:sha-256 {PRINT.value}\na=setup:passive\n"
        f"a=candidate:1 1 udp 1 192.0.2.9 5000 typ host\na=end-of-candidates\n"
        "m=audio 9 RTP/SAVPF 0\na=mid:a\na=rtcp-mux\n"
    )
    offer = SessionDescription.parse(text)
    remote = remote_transport(offer, offer.media[1])
    assert (remote.ufrag, remote.pwd, remote.fingerprints) == ("tagg", "t" * 22, (PRINT,))
    assert (remote.setup, remote.end_of_candidates) == ("passive", True)
    assert [one.address for one in remote.candidates] == ["192.0.2.9"]
    assert "a=setup:active" in answer(offer)


ICE = ("a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 22)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), "no a=ice-ufrag"),
        (ICE[:1], "no a=ice-ufrag"),
        (ICE, "fingerprint, has none"),
        ((*ICE, "a=fingerprint:sha-1 " + ":".join(["5A"] * 20)), "has sha-1"),
        ((*ICE, f"a=fingerprint:sha-256 {PRINT.value}", "a=setup:holdconn"), "holdconn"),
    ],
)
def test_a_transport_that_can_not_be_secured_is_refused(
    lines: tuple[str, ...], reason: str
) -> None:
    offer = offer_of("0", *lines)
    with pytest.raises(NegotiationError, match=reason):
        remote_transport(offer, offer.media[0])


# -- answering ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_G145_the_answer_mirrors_the_offer(name: str) -> None:
    offer = load(name)
    choice = choose_audio(offer, WANTED)
    text = answer(offer, choice)
    assert text.startswith("v=0\r\no=- 12 3 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n")
    assert text.endswith("\r\n")
    assert text == answer(offer, choice)
    told = SessionDescription.parse(text)
    mirrored = [(one.kind, one.mid, one.protocol) for one in told.media]
    assert mirrored == [(one.kind, one.mid, one.protocol) for one in offer.media]
    assert [one.port for one in told.media] == [
        9 if index == choice.index else 0 for index in range(len(offer.media))
    ]
    assert told.groups == (((choice.media.mid,),) if offer.groups else ())
    taken = told.media[choice.index]
    assert [(one.payload_type, one.encoding) for one in taken.formats] == [
        (one.payload_type, one.encoding) for one in choice.formats
    ]
    assert taken.rtcp_mux
    assert taken.end_of_candidates
    assert (taken.ice_ufrag, taken.ice_pwd, taken.fingerprints) == ("ours", "p" * 24, (PRINT,))
    assert taken.candidates == (HOST, SRFLX)


def test_declined_sections_have_no_port_and_no_addresses() -> None:
    told = SessionDescription.parse(answer(load("bundle")))
    for index, names in ((0, ("96",)), (2, ("webrtc-datachannel",)), (3, ("111",))):
        declined = told.media[index]
        assert (declined.port, declined.format_names) == (0, names)
        assert declined.direction == "inactive"
        assert (declined.candidates, declined.fingerprints, declined.ssrcs) == ((), (), ())
        # aiortc refuses the whole answer without these
        assert (declined.ice_ufrag, declined.setup) == ("ours", "passive")
    assert told.media[0].formats == (PayloadFormat(96, "VP8", 90000),)


def test_format_parameters_of_the_answer() -> None:
    text = answer(load("chromium"))
    assert "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n" in text
    assert "a=fmtp:110 0-15\r\n" in text
    assert "a=fmtp:126 0-15\r\n" in text
    assert "a=rtpmap:0 PCMU/8000\r\n" in text
    assert "a=fmtp:0" not in text
    assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n" in answer(
        load("chromium"), use_dtx=True
    )


@pytest.mark.parametrize(
    ("offered", "preferred", "answered"),
    [
        ("actpass", "passive", "passive"),
        ("actpass", "active", "active"),
        ("active", "active", "passive"),
        ("passive", "passive", "active"),
        (None, "active", "passive"),
    ],
)
def test_RFC8842_dtls_role(offered: str | None, preferred: str, answered: str) -> None:
    lines = () if offered is None else (f"a=setup:{offered}",)
    assert f"a=setup:{answered}\r\n" in answer(offer_of("0", *lines), setup=preferred)


def test_ice_lite_and_trickle_are_said_of_the_session() -> None:
    plain = answer(load("chromium"))
    assert "a=ice-lite" not in plain
    assert plain.index("a=ice-options:trickle\r\n") < plain.index("m=audio")
    lite = answer(load("chromium"), ice_lite=True)
    assert lite.index("a=ice-lite\r\n") < lite.index("m=audio")


def test_plain_pairs_serve_as_fingerprints() -> None:
    assert answer(load("aiortc"), fingerprints=[tuple(PRINT)]) == answer(load("aiortc"))


def test_G147_own_IPv6_candidates_are_said_only_if_wanted() -> None:
    assert "fd00::5" not in answer(load("aiortc"))
    assert "fd00::5" in answer(load("aiortc"), ipv6=True)


def test_G149_external_ip_replaces_host_addresses_and_hides_inner_ones() -> None:
    text = answer(load("aiortc"), external_ip="198.51.100.99")
    assert "a=candidate:1 1 udp 2130706431 198.51.100.99 40000 typ host\r\n" in text
    assert "203.0.113.5 40000 typ srflx raddr 0.0.0.0 rport 0\r\n" in text
    assert "10.0.0.5" not in text


def test_G149_each_family_has_its_own_external_address() -> None:
    shown = published_candidates(
        [HOST, replace(HOST6, related=("fd00::9", 1))], external_ip="2001:db8::1", ipv6=True
    )
    assert [(one.address, one.related) for one in shown] == [
        ("10.0.0.5", None),
        ("2001:db8::1", None),
    ]
    relayed = replace(HOST6, type="relay", related=("fd00::9", 1))
    (shown_relay,) = published_candidates([relayed], external_ip="198.51.100.99", ipv6=True)
    assert shown_relay.related == ("::", 0)


def test_G149_interfaces_that_become_one_are_said_once() -> None:
    other = replace(HOST, foundation="9", address="10.1.1.5")
    shown = published_candidates([HOST, other], external_ip="198.51.100.99")
    assert shown == (replace(HOST, address="198.51.100.99"),)


def test_an_external_ip_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="which is no IP address"):
        published_candidates([], external_ip="example.org")


def test_a_choice_made_by_hand_is_answered_as_made() -> None:
    offer = load("firefox")
    media: MediaDescription = offer.media[0]
    choice = AudioChoice(0, media, (PayloadFormat(8, "PCMA", 8000),), "inactive")
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 8\r\n" in answer(offer, choice)
