"""Tokens, stamps, pictures, films, the STUN responder and faults of the stand-in."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import av
import jwt
import numpy as np
import pytest
from aioice import stun as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.testing.clock import VirtualClock
from salon.testing.odyssey import stamp as stamps
from salon.testing.odyssey.archive import FILES, Archive, Kept
from salon.testing.odyssey.exchange import Refusal
from salon.testing.odyssey.faults import Faults, HttpFault, MessageFault
from salon.testing.odyssey.film import WAITING, FilmWriter, LiveFilm
from salon.testing.odyssey.picture import IDLE, Painter, look_of, video_frame
from salon.testing.odyssey.settings import API_KEY, StandInSettings
from salon.testing.odyssey.stage import Stage
from salon.testing.odyssey.stamp import Stamp
from salon.testing.odyssey.stun import binding_answer
from salon.testing.odyssey.tokens import Signer, TokenError

SECRET = b"a secret of more than 32 bytes for HS256"
SIZES = [(704, 1280), (1280, 704), (480, 832), (176, 320), (320, 176), (72, 72)]


# -- tokens --------------------------------------------------------------------------------------


def test_O22_tokens_are_those_of_the_standard() -> None:
    token = Signer(SECRET).token("session", {"session_id": "x"}, expires=2e9)
    assert jwt.decode(token, SECRET, algorithms=["HS256"]) == {
        "session_id": "x",
        "typ": "session",
        "exp": 2_000_000_000,
    }
    theirs = jwt.encode({"session_id": "y", "typ": "session", "exp": 2_000_000_000}, SECRET)
    assert Signer(SECRET).claims("session", theirs, now=1.0)["session_id"] == "y"


def test_O22_tokens_that_are_refused() -> None:
    signer = Signer(SECRET)
    claims = {"session_id": "x", "typ": "session", "exp": 100}
    good = signer.token("session", {"session_id": "x"}, expires=100)
    assert signer.claims("session", good, now=99.0)["session_id"] == "x"
    unsigned = jwt.encode(claims, None, algorithm="none")
    for token, kind, now in (
        (good, "session", 100.0),
        (good, "access", 1.0),
        (good[:-4] + "AAAA", "session", 1.0),
        (Signer(SECRET + b"2").token("session", {}, expires=100), "session", 1.0),
        (jwt.encode(claims, SECRET * 2, algorithm="HS512"), "session", 1.0),
        (unsigned, "session", 1.0),
        ("", "session", 1.0),
    ):
        with pytest.raises(TokenError):
            signer.claims(kind, token, now=now)
    with pytest.raises(ValueError, match="16 bytes"):
        Signer(b"short")


@settings(deadline=None)
@given(st.text())
def test_O22_no_text_is_a_token(text: str) -> None:
    with pytest.raises(TokenError):
        Signer(SECRET).claims("session", text, now=0.0)


# -- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), SIZES)
@settings(deadline=None, max_examples=30)
@given(live=st.booleans(), frame=st.integers(0, 2**27 - 1), sent=st.integers(0, 2**44 - 1))
def test_a_stamp_is_read_as_it_was_drawn(
    width: int, height: int, live: bool, frame: int, sent: int
) -> None:
    luma = np.full((height, width), 99, np.uint8)
    stamps.draw(luma, Stamp(live, frame, sent))
    assert stamps.read(luma) == Stamp(live, frame, sent)
    assert stamps.read(np.stack([luma] * 3, axis=2)) == Stamp(live, frame, sent)


def test_what_has_no_stamp_has_none() -> None:
    for grey in (0, 16, 128, 235, 255):
        assert stamps.read(np.full((320, 176, 3), grey, np.uint8)) is None
    assert stamps.read(np.zeros((8, 8, 3), np.uint8)) is None
    with pytest.raises(ValueError, match="no room"):
        stamps.place(40, 400)


@pytest.mark.parametrize(("width", "height"), SIZES[:5])
def test_a_stamp_outlives_vp8(width: int, height: int) -> None:
    from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload

    painter, encoder = Painter(width, height), Vp8Encoder()
    decoder = av.CodecContext.create("libvpx", "r")
    sent = [Stamp(True, number, 1_800_000_000_000 + number * 41) for number in range(8)]
    seen = []
    for number, stamp in enumerate(sent):
        look = look_of("a harbour") if number < 4 else look_of("a storm")
        payloads, _ = encoder.encode(video_frame(painter.paint(look, stamp), number * 3750))
        data = b"".join(vp8_depayload(payload) for payload in payloads)
        for frame in decoder.decode(av.Packet(data)):  # type: ignore[attr-defined]
            seen.append(stamps.read(frame.to_ndarray(format="rgb24")))
    assert seen == sent


def test_prompts_and_time_change_the_picture() -> None:
    painter, look = Painter(176, 320), look_of("a harbour")
    one = painter.paint(look, Stamp(True, 0, 0))
    assert (painter.paint(look, Stamp(True, 0, 0)) == one).all()
    assert (painter.paint(look_of("a storm"), Stamp(True, 0, 0)) != one).any()
    moved = painter.paint(look, Stamp(True, 1, 0))
    assert (moved[200:320] != one[200:320]).any(), "the bar moves"
    assert look_of("a harbour") == look_of("a harbour")


# -- films ---------------------------------------------------------------------------------------


def test_O91_a_film_without_frames_has_only_events(tmp_path: Path) -> None:
    writer = FilmWriter(tmp_path, 176, 320, 12)
    writer.event(0, "stream_started", prompt="x")
    assert writer.close() == {"events.jsonl"}
    line = json.loads((tmp_path / "events.jsonl").read_text())
    assert line == {"timestamp_ms": 0, "type": "stream_started", "prompt": "x"}


def test_O88_times_that_do_not_grow_are_pushed_on(tmp_path: Path) -> None:
    writer, painter = FilmWriter(tmp_path, 176, 320, 12), Painter(176, 320)
    for number in range(4):
        writer.add(painter.paint(IDLE, Stamp(True, number, 0)), 0)
    assert writer.close() == set(FILES)
    with av.open(str(tmp_path / "video.mp4")) as container:
        numbers = [
            stamps.read(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
        ]
    assert [stamp.frame for stamp in numbers if stamp is not None] == [0, 1, 2, 3]


def test_a_live_film_drops_what_it_can_not_take_and_counts(tmp_path: Path) -> None:
    film, planes = (
        LiveFilm(tmp_path, 704, 1280, 12),
        Painter(704, 1280).paint(IDLE, Stamp(True, 0, 0)),
    )
    for number in range(WAITING * 20):
        film.add(planes, number)
    assert film.close() == set(FILES)
    assert film.dropped > 0
    assert film.frames + film.dropped == WAITING * 20


# -- the stage -----------------------------------------------------------------------------------


class SlowClock(VirtualClock):
    """Sleeps longer than it was asked to."""

    late = 0.0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + self.late)


# -- STUN ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.7", "::1", "2001:db8::7"])
def test_O44_the_answer_is_what_another_implementation_reads(host: str) -> None:
    request = reference.Message(reference.Method.BINDING, reference.Class.REQUEST)
    answer = binding_answer(bytes(request), host, 40_000)
    assert answer is not None
    read = reference.parse_message(answer)
    assert read.message_class is reference.Class.RESPONSE
    assert read.transaction_id == request.transaction_id
    address, port = read.attributes["XOR-MAPPED-ADDRESS"]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    assert socket.inet_pton(family, address) == socket.inet_pton(family, host)
    assert port == 40_000


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_O44_nothing_else_is_answered(data: bytes) -> None:
    is_request = data[:2] == b"\0\1" and data[4:8] == b"\x21\x12\xa4\x42"
    assert (binding_answer(data, "127.0.0.1", 1) is None) or is_request


# -- recordings and faults -----------------------------------------------------------------------


def test_O88_an_address_holds_for_an_hour_and_for_one_file() -> None:
    archive = Archive(StandInSettings(), Signer(SECRET), lambda stream_id: None)
    archive.begin(Kept("a", "tester", 1, 1, started_at=0.0))
    files = frozenset({"video.mp4"})
    archive.end("a", ended_at=2.0, duration_s=2.0, frames=3, files=files)
    url = archive.url("a", "video.mp4", now=100.0)
    query = dict(pair.split("=") for pair in url.partition("?")[2].split("&"))
    given_ = (query["expires"], query["signature"])
    archive.check_url("a", "video.mp4", *given_, 3699.0)
    for stream_id, name, expires, signature, now, status in (
        ("a", "video.mp4", *given_, 3700.0, 403),
        ("a", "preview.mp4", *given_, 100.0, 403),
        ("b", "video.mp4", *given_, 100.0, 403),
        ("a", "video.mp4", "9" + given_[0], given_[1], 100.0, 403),
        ("a", "video.mp4", "", "", 100.0, 403),
    ):
        with pytest.raises(Refusal) as refusal:
            archive.check_url(stream_id, name, expires, signature, now)
        assert refusal.value.status == status


def test_old_recordings_go_with_their_files() -> None:
    gone: list[str] = []
    archive = Archive(StandInSettings(most_kept=2), Signer(SECRET), gone.append)
    for name in "abc":
        archive.begin(Kept(name, "tester", 1, 1, started_at=0.0))
    assert gone == ["a"]
    assert archive.listed("tester", limit=9, offset=0)["total"] == 2


def test_faults_count_and_follow_one_another() -> None:
    faults = Faults()
    faults.http("regions", HttpFault(status=500, times=2), HttpFault(status=404))
    found = [faults.take_http("regions") for _ in range(4)]
    assert [one.status for one in found if one is not None] == [500, 500, 404, 404]
    assert faults.take_http("ping") is None
    faults.message("stream_ended", MessageFault(drop=True, times=1))
    assert faults.take_message("stream_ended") is not None
    assert faults.take_message("stream_ended") is None
    faults.clear()
    assert faults.take_http("regions") is None
    with pytest.raises(ValueError, match="no message"):
        faults.message("stream_end", MessageFault())


def test_no_key_is_in_a_repr() -> None:
    assert API_KEY not in repr(StandInSettings())


async def test_checklist_7_a_late_stage_leaves_frames_out() -> None:
    clock = SlowClock()
    stage = Stage(clock, 10, (176, 320), lambda: False)
    running = asyncio.ensure_future(stage.run())
    await clock.sleep(1.0)
    assert 9 <= stage.painted <= 11
    assert stage.skipped == 0
    clock.late = 0.35
    before = stage.painted
    await VirtualClock.sleep(clock, 4.0)
    assert 9 <= stage.painted - before <= 11, "one frame for each time it came round"
    assert stage.skipped >= 25
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
