"""Whatever is done to an offer, it is answered well or refused with `NegotiationError`."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salon.transport.answer import build_answer, choose_audio, remote_transport
from salon.transport.packets import NegotiationError, PeerOptions
from salon.transport.sdp import Candidate, Fingerprint, SessionDescription

TEXTS = [path.read_text() for path in sorted((Path(__file__).parent / "offers").glob("*.sdp"))]
LINES = sorted({line for text in TEXTS for line in text.splitlines()})
WORDS = sorted({word for line in LINES for word in line.replace("=", " ").split()})
PRINT = Fingerprint("sha-256", ":".join(["5A"] * 32))
ODD = st.sampled_from(
    [
        *("", " ", "\t", "\r", "\r\n", "\n", ":", "/", "=", "*", "%", "::", "\x00", "\u2028"),
        *("0", "127", "128", "65536", "-1", "1e9", "9" * 25, "\u0663", "\ud800"),
    ]
)
PIECE = st.one_of(ODD, st.text(max_size=12), st.sampled_from(WORDS))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 6))):
        lines = text.split("\n")
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["drop", "repeat", "foreign", "word", "splice", "cut"]))
        if kind == "drop":
            del lines[at]
        elif kind == "repeat":
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        elif kind == "foreign":
            lines.insert(at, draw(st.sampled_from(LINES)))
        elif kind == "word":
            words = lines[at].split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(PIECE)
            lines[at] = " ".join(words)
        elif kind == "splice":
            start = draw(st.integers(0, len(lines[at])))
            end = start + draw(st.integers(0, 4))
            lines[at] = lines[at][:start] + draw(PIECE) + lines[at][end:]
        else:
            lines = lines[: at + 1]
        text = "\n".join(lines) or "v=0"
    return text


def negotiate(text: str) -> None:
    offer = SessionDescription.parse(text)
    choice = choose_audio(offer, PeerOptions().formats)
    remote = remote_transport(offer, choice.media, ipv6=True)
    assert remote.fingerprints
    assert remote.ufrag
    answer = build_answer(
        offer,
        choice,
        ufrag="ours",
        pwd="p" * 24,
        fingerprints=[PRINT],
        candidates=[Candidate.parse("1 1 udp 1 127.0.0.1 5000 typ host")],
        setup="passive",
        ssrc=1,
        cname="c",
        session_id=1,
        session_version=1,
    )
    try:
        told = SessionDescription.parse(answer)
    except NegotiationError as error:
        raise AssertionError("our own answer is malformed") from error
    assert [one.kind for one in told.media] == [one.kind for one in offer.media]
    assert [one.mid for one in told.media] == [one.mid for one in offer.media]
    assert [one.port != 0 for one in told.media].count(True) == 1
    assert set(told.media[choice.index].payload_types) <= set(choice.media.payload_types)
    assert answer.isascii()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_a_mutated_offer_is_answered_well_or_refused(text: str) -> None:
    with contextlib.suppress(NegotiationError):
        negotiate(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400))
def test_arbitrary_text_is_refused(text: str) -> None:
    for whole in (text, "v=0\n" + text):
        with contextlib.suppress(NegotiationError):
            negotiate(whole)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.one_of(PIECE, st.sampled_from(["typ", "host", "udp", "1", "::1"])), max_size=14))
def test_an_arbitrary_candidate_is_read_or_refused(words: list[str]) -> None:
    with contextlib.suppress(NegotiationError):
        parsed = Candidate.parse(" ".join(words))
        assert Candidate.parse(parsed.to_sdp()) == parsed
