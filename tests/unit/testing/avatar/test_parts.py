"""The parts of the avatar stand-in that stand alone."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.media.ogg_opus import ogg_crc
from salon.testing.avatar import App, AvatarSettings, Faults, RuntimeFault, SendText, wire
from salon.testing.avatar.animator import ARKIT_52, Animator
from salon.testing.avatar.faults import HttpFault, console_error, upgrade_error
from salon.testing.avatar.ogg_reader import (
    END,
    MAX_PACKET_BYTES,
    NO_POSITION,
    OggError,
    OggPage,
    OggReader,
)
from salon.testing.avatar.playout import Playout
from salon.testing.avatar.record import MAX_REQUESTS, SessionRecord
from salon.testing.avatar.sound import PcmSound
from salon.testing.avatar.tokens import MAX_TOKENS, TokenDesk


def page(lacing: bytes, body: bytes, *, flags: int = 0, serial: int = 1, granule: int = 0) -> bytes:
    """An Ogg page."""
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, serial, 5, 0)
    whole = head + bytes((len(lacing),)) + lacing + body
    return whole[:22] + struct.pack("<I", ogg_crc(whole)) + whole[26:]


def test_a_page_is_read() -> None:
    data = page(b"\x03\x00\x02", b"abcde", flags=END, granule=960)
    assert OggReader().feed(data) == [OggPage(END, 960, 1, 5, (b"abc", b"", b"de"))]


def test_a_packet_over_two_pages() -> None:
    reader = OggReader()
    (first,) = reader.feed(page(b"\xff", b"x" * 255, granule=NO_POSITION))
    (second,) = reader.feed(page(b"\x01", b"y", flags=1))
    assert first.packets == ()
    assert second.packets == (b"x" * 255 + b"y",)


@given(st.lists(st.integers(1, 60), max_size=20))
def test_pages_do_not_depend_on_the_cut(sizes: list[int]) -> None:
    data = b"".join(page(bytes((n,)), b"p" * n, granule=n) for n in (0, 1, 200, 7))
    reader, found, at = OggReader(), [], 0
    for size in sizes:
        found += reader.feed(data[at : at + size])
        at += size
    found += reader.feed(data[at:])
    assert [one.packets for one in found] == [(b"p" * n,) for n in (0, 1, 200, 7)]
    assert reader.held == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_pages_or_an_ogg_error(data: bytes) -> None:
    reader = OggReader()
    try:
        reader.feed(data)
    except OggError:
        return
    assert data[:4] == b"OggS"[: len(data)]


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF",
        page(b"\x01", b"a")[:-1] + b"b",
        b"OggS\x01" + bytes(30),
        page(b"\x01", b"a") + page(b"\x01", b"a", serial=2),
    ],
    ids=["no page", "checksum", "version", "serial"],
)
def test_damage_is_an_error(data: bytes) -> None:
    with pytest.raises(OggError):
        OggReader().feed(data)


def test_a_packet_is_bounded() -> None:
    reader = OggReader()
    full = page(b"\xff" * 255, b"x" * (255 * 255))
    for _ in range(MAX_PACKET_BYTES // (255 * 255)):
        reader.feed(full)
    with pytest.raises(OggError, match="bytes"):
        reader.feed(full)


@given(st.lists(st.integers(0, 9), max_size=30))
def test_A41_pcm_may_be_cut_anywhere(sizes: list[int]) -> None:
    samples = np.arange(-40, 40, dtype="<i2")
    data, sound, at = samples.tobytes(), PcmSound(), 0
    parts = []
    for size in sizes:
        parts.append(sound.feed(data[at : at + size]))
        at = min(len(data), at + size)
    parts.append(sound.feed(data[at:]))
    assert np.array_equal(np.concatenate(parts), samples)


@given(st.lists(st.integers(0, 900), max_size=8), st.integers(0, 2**32 - 1))
def test_A52_keyframes_do_not_depend_on_the_cut(sizes: list[int], seed: int) -> None:
    sound = np.random.default_rng(seed).integers(-9000, 9000, 3000).astype(np.int16)
    whole, pieces = Animator(8000), Animator(8000)
    found, at = [], 0
    for size in sizes:
        found += pieces.feed(sound[at : at + size])
        at = min(len(sound), at + size)
    found += pieces.feed(sound[at:])
    assert found == whole.feed(sound)
    assert [one.index for one in found] == list(range(9))
    assert pieces.samples == 3000


def test_full_scale_and_silence_stay_within_limits() -> None:
    animator = Animator(8000)
    loud = np.full(8000, -32768, dtype=np.int16)
    for one in animator.feed(loud) + animator.feed(np.zeros(8000, dtype=np.int16)):
        assert 0.0 <= one.opening <= 1.0
        assert len(one.weights) == len(ARKIT_52)


@pytest.mark.parametrize("rate", [0, -25, 11_026])
def test_a_rate_without_whole_keyframes_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=str(rate)):
        Animator(rate)


def test_playout_stands_still_while_held_and_where_sound_is_missing() -> None:
    playout = Playout(10.0)
    playout.add(1.0, 10.0)
    assert playout.position(10.5) == 0.5
    assert playout.position(20.0) == 1.0
    assert not playout.drained(20.0)
    playout.add(2.0, 20.0)
    playout.complete = True
    assert playout.wake_at() == 22.0
    playout.pause(21.0)
    playout.pause(21.5)
    assert playout.held_since == 21.0
    assert playout.wake_at() is None
    assert playout.position(30.0) == 2.0
    playout.resume(30.0)
    assert playout.wake_at() == 31.0
    assert not playout.drained(30.9)
    assert playout.drained(31.0)


@pytest.mark.parametrize("name", ["aiohttp", "google.protobuf", "numpy"])
def test_without_a_library_the_extras_are_named(name: str) -> None:
    program = (
        "import sys\n"
        f"sys.modules[{name!r}] = None\n"
        "from salon.base import MissingExtraError\n"
        "try:\n"
        "    import salon.testing.avatar\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert 'pip install "salon[avatarkit' in said


def test_tokens_are_bounded_and_can_be_revoked() -> None:
    numbers = itertools.count()
    desk = TokenDesk(lambda: str(next(numbers)))
    first = desk.issue(App("a"), 1)
    for _ in range(MAX_TOKENS):
        last = desk.issue(App("a"), 1)
    assert len(desk) == MAX_TOKENS
    assert desk.find(first) is None
    assert desk.find(last) is not None
    desk.revoke_all()
    assert desk.find(last) is None


def test_records_of_requests_are_bounded() -> None:
    record = SessionRecord("c", "app", "avatar", 0.0)
    for number in range(MAX_REQUESTS + 5):
        record.request(str(number), 0.0)
    assert len(record.requests) == MAX_REQUESTS
    assert "4" not in record.requests
    assert record.request("5", 9.0).started_at == 0.0


def test_faults_are_counted() -> None:
    faults = Faults(console=HttpFault(times=2), runtime=[RuntimeFault(1, (SendText("a"),), 1)])
    assert [faults.take_console() is not None for _ in range(3)] == [True, True, False]
    assert faults.take_runtime(2) == []
    assert faults.take_runtime(1) == [SendText("a")]
    assert faults.take_runtime(1) == []
    faults.upgrade = upgrade_error(500)
    assert faults.take_upgrade() is faults.take_upgrade() is not None
    faults.clear()
    assert faults.take_upgrade() is faults.take_handshake() is faults.take_console() is None


def test_A8_the_body_of_a_console_error() -> None:
    answer = console_error(401, "UNAUTHENTICATED", "Unauthorized", "no").answer
    assert answer is not None
    assert answer.body == (
        '{"errors":[{"id":"fault","status":401,"code":"UNAUTHENTICATED",'
        '"title":"Unauthorized","detail":"no"}]}'
    )


def test_secrets_stay_out_of_repr() -> None:
    settings = AvatarSettings(apps={"very-secret": App("a")})
    assert "very-secret" not in repr(settings)
    block = wire.LiveKitEgress("ws://u", "r", "p", "top-secret", True, True, {}, 0)
    assert "top-secret" not in repr(block)


@pytest.mark.parametrize("wrong", [{"batch_frames": 0}, {"pace": 0.0}, {"pace": -1.0}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AvatarSettings(**wrong)  # type: ignore[arg-type]


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        message = wire.read(data)
    except wire.WireError:
        return
    assert isinstance(
        message,
        wire.Configure
        | wire.Audio
        | wire.Interrupt
        | wire.Pause
        | wire.Resume
        | wire.Hollow
        | wire.Other,
    )
