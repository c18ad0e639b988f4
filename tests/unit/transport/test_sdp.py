"""Session descriptions as peers write them, and as nobody should."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.transport.packets import NegotiationError, PayloadFormat
from salon.transport.sdp import (
    MAX_CANDIDATES,
    MAX_FORMATS,
    MAX_LINE_CHARACTERS,
    MAX_MEDIA,
    MAX_TEXT_BYTES,
    Candidate,
    Fingerprint,
    MediaDescription,
    SessionDescription,
)

OFFERS = Path(__file__).parent / "offers"
HEAD = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\n"
AUDIO = HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\n"
PRINT = ":".join(["A1"] * 32)
HOST = "1 1 udp 2130706431 192.0.2.1 5000 typ host"


def load(name: str) -> SessionDescription:
    return SessionDescription.parse((OFFERS / f"{name}.sdp").read_text())


def audio(*lines: str) -> MediaDescription:
    return SessionDescription.parse(AUDIO + "\n".join(lines)).media[0]


def names(media: MediaDescription) -> list[str]:
    return [f"{one.payload_type} {one.encoding}/{one.clock_rate}" for one in media.formats]


def test_chromium_offer() -> None:
    offer = load("chromium")
    (media,) = offer.media
    assert (media.kind, media.port, media.protocol) == ("audio", 51372, "UDP/TLS/RTP/SAVPF")
    assert media.payload_types == (111, 63, 9, 0, 8, 13, 110, 126)
    assert media.formats[0] == PayloadFormat(
        111, "opus", 48000, 2, {"minptime": "10", "useinbandfec": "1"}
    )
    assert media.formats[1].parameters == {"111/111": ""}
    assert (offer.groups, media.mid, media.direction) == ((("0",),), "0", "sendrecv")
    assert (media.ice_ufrag, media.ice_pwd) == ("Xq3f", "aP9s0L1kVdR3nYw7mTzQe2Uj")
    assert (media.setup, media.rtcp_mux, media.end_of_candidates) == ("actpass", True, False)
    assert media.fingerprints[0].algorithm == "sha-256"
    assert (media.ssrcs, media.connection) == ((3570614608,), "203.0.113.24")
    assert [one.is_mdns for one in media.candidates] == [True, False, False, True, False]
    assert [one.ip_version for one in media.candidates] == [None, 6, 4, None, 4]
    assert media.candidates[3].tcptype == "active"
    assert media.candidates[4].related == ("203.0.113.24", 51372)


def test_firefox_offer_inherits_its_fingerprint_from_the_session() -> None:
    offer = load("firefox")
    (media,) = offer.media
    assert media.fingerprints == offer.fingerprints != ()
    assert media.formats[-1] == PayloadFormat(
        101, "telephone-event", 8000, parameters={"events": "0-15"}
    )
    assert media.candidates[0].protocol == "udp"
    assert media.end_of_candidates


def test_safari_offer() -> None:
    (media,) = load("safari").media
    assert media.direction == "recvonly"
    assert media.candidates == ()
    assert media.ice_ufrag == "mR+7"
    assert "113 telephone-event/16000" in names(media)


def test_aiortc_offers() -> None:
    (media,) = load("aiortc").media
    assert names(media) == ["96 opus/48000", "9 G722/8000", "0 PCMU/8000", "8 PCMA/8000"]
    assert [one.algorithm for one in media.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    everything = load("aiortc_all")
    assert [one.kind for one in everything.media] == ["audio", "video", "application"]
    assert everything.groups == (("0", "1", "2"),)


def test_werift_offer_spells_codecs_its_own_way() -> None:
    (media,) = load("werift").media
    assert media.formats[0].encoding == "opus"
    assert media.candidates[1].ufrag == "b7f1"


def test_bundle_offer() -> None:
    offer = load("bundle")
    assert [one.mid for one in offer.media] == ["video0", "audio0", "data", "screen-sound"]
    assert offer.bundle_of("data") == ("video0", "audio0", "data", "screen-sound")
    assert offer.bundle_of("other") == offer.bundle_of(None) == ()
    data = offer.media[2]
    assert (data.format_names, data.payload_types, data.formats) == (
        ("webrtc-datachannel",),
        (),
        (),
    )


def test_sip_offer_inherits_everything_and_names_pcmu_by_number_only() -> None:
    offer = load("sip_pcmu")
    (media,) = offer.media
    assert names(media) == ["0 PCMU/8000", "101 telephone-event/8000"]
    assert offer.ice_lite
    assert (media.ice_ufrag, media.ice_pwd) == ("gw4Ls0Qe", "6dGx2cVqT9rWb0nPy5hKz1Ma")
    assert (media.setup, media.connection, media.ptime) == ("active", "198.51.100.20", 20.0)
    assert media.fingerprints[0].algorithm == "sha-256"
    assert media.fingerprints[0].value.startswith("E4:29:7B")
    assert media.mid is None


@pytest.mark.parametrize("path", sorted(OFFERS.glob("*.sdp")), ids=lambda path: path.stem)
def test_line_ends_and_a_missing_last_one_make_no_difference(path: Path) -> None:
    text = path.read_text()
    expected = SessionDescription.parse(text)
    assert SessionDescription.parse(text.replace("\n", "\r\n")) == expected
    assert SessionDescription.parse(text.rstrip("\n")) == expected
    assert SessionDescription.parse(text + "\r\n\r\n") == expected


def test_static_payload_types_need_no_rtpmap() -> None:
    text = HEAD + "m=audio 9 RTP/SAVPF 0 8 9 13 18 96"
    assert names(SessionDescription.parse(text).media[0]) == [
        "0 PCMU/8000",
        "8 PCMA/8000",
        "9 G722/8000",
        "13 CN/8000",
        "18 G729/8000",
    ]


def test_an_rtpmap_wins_over_the_static_meaning_and_the_first_wins() -> None:
    media = audio("a=rtpmap:0 opus/48000/2", "a=rtpmap:0 L16/16000", "a=rtpmap:5 DVI4/8000")
    assert media.formats == (PayloadFormat(0, "opus", 48000, 2),)


def test_media_level_wins_over_session_level() -> None:
    text = (
        HEAD
        + f"a=ice-ufrag:sess\na=ice-pwd:{'s' * 22}\na=setup:active\na=inactive\nc=IN IP6 ::1\n"
        + f"m=audio 9 RTP/SAVPF 0\na=ice-ufrag:medi\na=ice-pwd:{'m' * 22}\na=setup:passive\n"
        + "a=sendonly\nc=IN IP4 192.0.2.1/127\nm=audio 9 RTP/SAVPF 0\n"
    )
    own, inherited = SessionDescription.parse(text).media
    assert (own.ice_ufrag, own.setup, own.direction) == ("medi", "passive", "sendonly")
    assert own.connection == "192.0.2.1"
    assert (inherited.ice_ufrag, inherited.setup) == ("sess", "active")
    assert (inherited.direction, inherited.connection) == ("inactive", "::1")


def test_half_a_pair_of_credentials_is_not_completed_from_the_session() -> None:
    text = HEAD + f"a=ice-ufrag:sess\na=ice-pwd:{'s' * 22}\nm=audio 9 RTP/SAVPF 0\na=ice-ufrag:medi"
    assert SessionDescription.parse(text).media[0].ice_pwd is None


def test_unknown_lines_and_attributes_are_passed_over() -> None:
    media = audio("z=0 0", "b=AS:64", "a=extmap:1 urn:x", "a=x-new:1", "a=group:LS 0", "a=fmtp:* x")
    assert media == audio()


def test_a_candidate_nobody_understands_does_not_cost_the_call() -> None:
    media = audio(f"a=candidate:{HOST}", "a=candidate:1 1 quic nonsense", "a=candidate:")
    assert len(media.candidates) == 1
    assert media.bad_candidates == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m=audio 9 RTP/SAVPF", "expected media, port"),
        ("m=audio x RTP/SAVPF 0", "port is not a number"),
        ("m=audio 65536 RTP/SAVPF 0", "port 65536 is outside"),
        ("m=audio 9 RTP/SAVPF 128", "payload type 128 is outside"),
        ("m=audio 9 RTP/SAVPF opus", "payload type is not a number"),
        ("m=audio 9 RTP/SAVPF 0 0", "listed twice"),
        ("m=audio 9 RTP=SAVPF 0", "malformed protocol"),
        ("m=au(dio 9 RTP/SAVPF 0", "malformed media"),
        ("m=application 9 UDP/DTLS/SCTP web(rtc", "malformed format"),
        ("m=audio 9 RTP/SAVPF " + " ".join(["1"] * (MAX_FORMATS + 1)), "129 formats"),
        ("c=IN IP4", "expected IN"),
        ("c=IN IP5 192.0.2.1", "expected IN"),
        ("c=IN IP4 <script>", "malformed address"),
        ("a=rtpmap:111", "malformed encoding"),
        ("a=rtpmap:111 opus", "clock rate is not a number"),
        ("a=rtpmap:111 opus/0", "clock rate 0"),
        ("a=rtpmap:111 opus/48000/x", "channels is not a number"),
        ("a=rtpmap:\u0661 opus/48000", "payload type is not a number"),
        ("a=rtpmap:-1 opus/48000", "payload type is not a number"),
        ("a=fmtp:x a=b", "payload type is not a number"),
        ("a=mid:a b", "malformed mid"),
        ("a=mid:", "malformed mid"),
        ("a=group:BUNDLE 0 \u00e4", "malformed mid"),
        ("a=setup:maybe", "setup is"),
        ("a=ice-ufrag:abc", "malformed ice-ufrag"),
        ("a=ice-pwd:tooshort", "malformed ice-pwd"),
        ("a=fingerprint:sha-256", "an algorithm and a value"),
        ("a=fingerprint:sha-256 zz", "malformed fingerprint value"),
        (f"a=fingerprint:sha-512 {PRINT}", "can't have 32 bytes"),
        ("a=ssrc:x cname:y", "SSRC is not a number"),
        ("a=ssrc:4294967296", "SSRC 4294967296"),
        ("a=ptime:soon", "malformed ptime"),
        ("nonsense", "expected a letter"),
        ("==", "expected a letter"),
        ("a=tool:\x00", "control character"),
        ("a=tool:x\ry", "control character"),
        ("a=" + "x" * MAX_LINE_CHARACTERS, "characters, at most"),
    ],
)
def test_malformed_line_is_refused_with_its_number_and_text(line: str, reason: str) -> None:
    with pytest.raises(NegotiationError, match=reason) as caught:
        audio("a=rtcp-mux", line, "a=sendrecv")
    assert "SDP line 7" in str(caught.value)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 400


def test_a_malformed_password_is_not_repeated() -> None:
    with pytest.raises(NegotiationError) as caught:
        audio("a=ice-pwd:s3cret!")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "hello", "v=1\n", "\nv=0", "m=audio 9 RTP/SAVPF 0"])
def test_text_that_does_not_start_a_description_is_refused(text: str) -> None:
    with pytest.raises(NegotiationError, match=r"line 1 .*expected v=0"):
        SessionDescription.parse(text)


def test_equal_mids_are_refused() -> None:
    section = "m=audio 9 RTP/SAVPF 0\na=mid:0\n"
    with pytest.raises(NegotiationError, match="same mid"):
        SessionDescription.parse(HEAD + section * 2)


def test_size_of_the_whole_is_bounded() -> None:
    line = "a=x:" + "y" * 1000 + "\n"
    fitting = HEAD + line * ((MAX_TEXT_BYTES - len(HEAD)) // len(line))
    SessionDescription.parse(fitting)
    with pytest.raises(NegotiationError, match="more than 65536 bytes"):
        SessionDescription.parse(fitting + line)
    with pytest.raises(NegotiationError, match="more than 65536 bytes"):
        SessionDescription.parse(HEAD + "a=x\u20ac\n" * (MAX_TEXT_BYTES // 7))


def test_lone_surrogates_from_json_are_bytes_like_any_other() -> None:
    assert SessionDescription.parse(HEAD + "a=x:\ud800").media == ()
    with pytest.raises(NegotiationError, match="malformed mid"):
        audio("a=mid:\ud800")


def test_number_of_sections_and_candidates_is_bounded() -> None:
    section = "m=audio 9 RTP/SAVPF 0\n"
    assert len(SessionDescription.parse(HEAD + section * MAX_MEDIA).media) == MAX_MEDIA
    with pytest.raises(NegotiationError, match="more than 64 media"):
        SessionDescription.parse(HEAD + section * (MAX_MEDIA + 1))
    candidates = f"a=candidate:{HOST}\n" * (MAX_CANDIDATES // 2)
    full = HEAD + (section + candidates) * 2
    assert len(SessionDescription.parse(full).media[1].candidates) == MAX_CANDIDATES // 2
    with pytest.raises(NegotiationError, match="more than 200 candidates"):
        SessionDescription.parse(full + "a=candidate:bad\n")


@pytest.mark.parametrize("prefix", ["", "candidate:", "a=candidate:", "  a=candidate:"])
def test_candidate_with_and_without_its_name(prefix: str) -> None:
    assert Candidate.parse(prefix + HOST) == Candidate(
        "1", 1, "udp", 2130706431, "192.0.2.1", 5000, "host"
    )


@pytest.mark.parametrize("offer", ["chromium", "firefox", "werift", "aiortc", "sip_pcmu"])
def test_candidates_survive_being_written_and_read(offer: str) -> None:
    for candidate in load(offer).media[0].candidates:
        assert Candidate.parse(candidate.to_sdp()) == candidate


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected foundation"),
        ("1 1 udp 1 192.0.2.1 5000 host", "expected foundation"),
        ("1 1 udp 1 192.0.2.1 5000 type host", "expected foundation"),
        (HOST + " generation", "no value"),
        ("1 0 udp 1 192.0.2.1 5000 typ host", "component 0"),
        ("1 1 udp 4294967296 192.0.2.1 5000 typ host", "priority"),
        ("1 1 udp 1 192.0.2.1 70000 typ host", "port 70000"),
        ("1 1 udp 1 192.0.2.1;x 5000 typ host", "malformed address"),
        ("1 1 u,p 1 192.0.2.1 5000 typ host", "malformed protocol"),
        ("f" * 33 + HOST, "malformed foundation"),
        (HOST + " raddr <> rport 1", "malformed raddr"),
        (HOST + " raddr 192.0.2.1 rport x", "rport is not a number"),
        (HOST + " ufrag a", "malformed ufrag"),
        (HOST + " tcptype a,b", "malformed tcptype"),
        (HOST + " x y" * 2000, "characters"),
    ],
)
def test_malformed_candidate_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NegotiationError, match=reason):
        Candidate.parse(text)


def test_fingerprint_is_a_pair_in_one_spelling() -> None:
    parsed = Fingerprint.parse(f"SHA-256 {PRINT.lower()}")
    assert parsed == Fingerprint("sha-256", PRINT) == ("sha-256", PRINT)
