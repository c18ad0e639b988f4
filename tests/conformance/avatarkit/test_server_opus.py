"""Ogg Opus into the server (A96 to A101, T13): streams of our own making, cut anywhere."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from tests.conformance.avatarkit.server_stage import OTHER, REQ, Peer, audio, pcm, started

from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.media.frame import Samples
from salon.media.ogg_opus import ogg_crc
from salon.media.opus import OpusEncoder
from salon.testing.avatar.settings import OPUS_RATES
from salon.testing.avatar.sound import OpusSound

PRE_SKIP = 312


def page(
    packet: bytes | None, granule: int, sequence: int, flags: int = 0, extra: bytes = b""
) -> bytes:
    """One page with one packet; `extra` are lacing values too many."""
    body = packet or b""
    lacing = b"\xff" * (len(body) // 255) + bytes((len(body) % 255,)) if packet else b""
    lacing += extra
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 77, sequence, 0)
    whole = head + bytes((len(lacing),)) + lacing + body
    return whole[:22] + struct.pack("<I", ogg_crc(whole)) + whole[26:]


def stream(
    seconds: float,
    rate: int = 16_000,
    *,
    ended: bool = True,
    extra: bytes = b"",
    channels: int = 1,
    samples: Samples | None = None,
) -> bytes:
    """As published clients write it: a packet per page, the count in the last page."""
    sound = np.frombuffer(pcm(seconds, rate), dtype="<i2") if samples is None else samples
    encoder = OpusEncoder(sample_rate=rate, bitrate=64_000, fec=False)
    size, scale = rate // 50, 48_000 // rate
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, PRE_SKIP, rate, 0, 0)
    pages = [page(head, 0, 0, 2), page(b"OpusTags" + struct.pack("<II", 0, 0), 0, 1)]
    for sequence, at in enumerate(range(0, len(sound), size), 2):
        frame = np.zeros(size, dtype=np.int16)
        frame[: len(sound) - at] = sound[at : at + size]
        granule = PRE_SKIP + min(at + size, len(sound)) * scale
        last = at + size >= len(sound) and ended
        pages.append(page(encoder.encode(frame), granule, sequence, 4 if last else 0, extra))
    return b"".join(pages)


def opus(rate: int = 16_000) -> Peer:
    """A session for Ogg Opus."""
    return started(sample_rate=rate, audio_format=pb.AUDIO_FORMAT_OGG_OPUS)


def spoken(data: bytes, rate: int = 16_000, piece: int | None = None) -> Peer:
    """One request."""
    peer = opus(rate)
    size = piece or len(data)
    for at in range(0, len(data), size):
        peer.say(audio(data[at : at + size]))
        peer.work()
    peer.say(audio(b"", end=True))
    peer.work()
    return peer


@pytest.mark.parametrize("rate", OPUS_RATES)
@pytest.mark.parametrize("seconds", [0.02, 0.5, 1.013])
def test_A97_T13_the_decoded_length_is_the_encoded_length(rate: int, seconds: float) -> None:
    record = spoken(stream(seconds, rate), rate).record.requests[REQ]
    samples = int(rate * seconds)
    assert record.audio_s == pytest.approx(samples / rate)
    assert record.keyframes == samples * 25 // rate


@pytest.mark.parametrize("piece", [1, 7, 333])
def test_A96_T13_streams_may_be_cut_anywhere(piece: int) -> None:
    data = stream(0.5)
    assert spoken(data, piece=piece).keyframes() == spoken(data).keyframes() != []


def test_A97_the_decoded_sound_is_where_it_was() -> None:
    hiss = np.convolve(np.random.default_rng(1).normal(size=16_000), np.ones(6), "same")
    sound = (hiss * 1500).astype(np.int16)
    decoded = OpusSound(16_000).feed(stream(1.0, samples=sound)).astype(float)
    assert len(decoded) == len(sound)
    inner = slice(200, -200)
    alike = {
        lag: np.corrcoef(sound[inner], np.roll(decoded, lag)[inner])[0, 1] for lag in range(-30, 31)
    }
    assert max(alike, key=lambda lag: float(alike[lag])) == 0
    assert alike[0] > 0.9


def test_A97_a_stream_without_its_end_is_taken() -> None:
    peer = spoken(stream(1.0, ended=False))
    assert peer.errors() == []
    assert peer.ends() == 1
    assert 24 <= len(peer.keyframes()) <= 25


def test_A101_an_extra_lacing_value_is_tolerated() -> None:
    assert spoken(stream(0.5, extra=b"\0")).keyframes() == spoken(stream(0.5)).keyframes()


def test_A101_a_packet_of_a_multiple_of_255_bytes() -> None:
    tags = b"OpusTags" + struct.pack("<I", 255 * 2 - 16) + bytes(255 * 2 - 16) + bytes(4)
    assert len(tags) == 510
    data = stream(0.2)
    first = data.index(b"OggS", 4)
    second = data.index(b"OggS", first + 4)
    changed = data[:first] + page(tags, 0, 1) + data[second:]
    assert spoken(changed).keyframes() == spoken(data).keyframes()


def test_A96_each_request_is_a_stream_of_its_own() -> None:
    peer = opus()
    for req_id in (REQ, OTHER):
        peer.say(audio(stream(0.4), req_id, end=True))
    peer.work()
    assert peer.errors() == []
    assert peer.keyframes(REQ) == peer.keyframes(OTHER)
    assert len(peer.keyframes(REQ)) == 10


def test_A100_an_empty_request() -> None:
    peer = opus()
    peer.say(audio(b"", end=True))
    peer.work()
    assert peer.errors() == []
    assert peer.ends() == 1


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 0xFF,)) + data[middle + 1 :]


@pytest.mark.parametrize(
    "data",
    [
        pcm(0.4),
        damaged(stream(0.4)),
        stream(0.4) + stream(0.4),
        stream(0.4, channels=2),
        page(b"OpusTags", 0, 0, 2),
        page(b"OpusHead", 0, 0, 2),
    ],
    ids=["PCM", "checksum", "two streams", "stereo", "no head", "short head"],
)
def test_A96_what_is_no_stream_ends_its_request_with_an_error(data: bytes) -> None:
    peer = spoken(data)
    (error,) = peer.errors()
    assert (error.code, error.req_id) == (3, REQ)
    assert error.message.startswith("failed to decode audio: ")
    assert peer.ends() == 1
    assert peer.closed is None
    peer.say(audio(stream(0.4), OTHER, end=True))
    peer.work()
    assert len(peer.keyframes(OTHER)) == 10


def test_A97_pages_are_worked_on_as_they_come() -> None:
    data, peer, seen = stream(1.0), opus(), []
    for at in range(0, len(data), 400):
        peer.say(audio(data[at : at + 400]))
        peer.work()
        seen.append(len(peer.keyframes()))
    assert all(early <= late for early, late in itertools.pairwise(seen))
    assert len(set(seen)) > 10
