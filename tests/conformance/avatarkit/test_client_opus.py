"""Ogg Opus by the session's own encoder: A96, A98 to A101."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.conformance.avatarkit.scripted_server import (
    ScriptedServer,
    scripted_server,
    soon,
    started,
)

from salon.base import MissingExtraError
from salon.clients.avatarkit import AudioFormat, OggOpusEncoderConfig, opus_binding
from salon.clients.avatarkit.audio_encoder import OggOpusStreamEncoder
from salon.clients.avatarkit.opus_binding import LibopusEncoder
from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.media.opus import OpusDecoder

RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
PRE_SKIP = 312


@dataclass(frozen=True)
class Page:
    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes
    packet: bytes


def crc(page: bytes) -> int:
    """Bit by bit, as RFC 3533 says it."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
            value &= 0xFFFFFFFF
    return value


def pages_of(stream: bytes) -> Iterator[Page]:
    at = 0
    while at < len(stream):
        magic, version, flags, granule, serial, number, checksum, count = struct.unpack_from(
            "<4sBBqIIIB", stream, at
        )
        assert (magic, version) == (b"OggS", 0)
        lacing = stream[at + 27 : at + 27 + count]
        end = at + 27 + count + sum(lacing)
        page = stream[at:end]
        assert len(page) == end - at
        assert crc(page[:22] + bytes(4) + page[26:]) == checksum
        yield Page(flags, granule, serial, number, lacing, page[27 + count :])
        at = end


def encoder(rate: int = 16_000, **settings: Any) -> OggOpusStreamEncoder:
    known: dict[str, Any] = {
        "sample_rate": rate,
        "bitrate": 0,
        "frame_duration_ms": 20,
        "application": "audio",
        "collect_encoded_output": True,
    }
    return OggOpusStreamEncoder(**(known | settings))


def tone(samples: int, rate: int) -> bytes:
    time = np.arange(samples) / rate
    return (np.sin(2 * np.pi * 440 * time) * 8_000).astype("<i2").tobytes()


def decoded(stream: bytes) -> Any:
    """``int16[n]`` at 48 kHz, as A97 says: without the pre-skip, up to the last granule."""
    pages = list(pages_of(stream))
    decoder = OpusDecoder(sample_rate=48_000)
    sound = np.concatenate([decoder.decode(page.packet) for page in pages[2:]])
    return sound[PRE_SKIP : pages[-1].granule]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
def test_A99_T13_pages(rate: int, frame_ms: int) -> None:
    samples = rate // 5 + 7
    chunk = encoder(rate, frame_duration_ms=frame_ms).encode(tone(samples, rate), end=True)
    head, tags, *audio = pages_of(chunk.payload)
    assert head.packet == b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, rate, 0, 0)
    assert tags.packet == b"OpusTags" + struct.pack("<I", 9) + b"avatarkit" + bytes(4)
    assert (head.flags, head.granule, tags.flags, tags.granule) == (2, 0, 0, 0)
    pages = [head, tags, *audio]
    assert [page.number for page in pages] == list(range(len(pages)))
    assert len({page.serial for page in pages}) == 1
    assert [page.flags for page in audio] == [0] * (len(audio) - 1) + [4]
    frame = rate * frame_ms // 1000
    expected = [
        PRE_SKIP + min((n + 1) * frame, samples) * 48_000 // rate for n in range(len(audio))
    ]
    assert [page.granule for page in audio] == expected


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("extra", [0, 1, -1, 17])
def test_A97_A99_T13_the_sound_comes_back_with_its_length(rate: int, extra: int) -> None:
    samples = rate // 2 + extra
    sound = decoded(encoder(rate, bitrate=64_000).encode(tone(samples, rate), end=True).payload)
    assert len(sound) == samples * 48_000 // rate
    ideal = np.frombuffer(tone(len(sound), 48_000), "<i2")
    assert np.corrcoef(sound[480:], ideal[480:])[0, 1] > 0.95


def test_A99_the_serial_is_random() -> None:
    streams = [encoder().encode(tone(320, 16_000), end=True).payload for _ in range(4)]
    assert len({next(pages_of(stream)).serial for stream in streams}) == 4


@pytest.mark.parametrize("size", [1, 100, 319, 320, 333, 5_000])
def test_A96_A99_however_it_is_cut(size: int) -> None:
    sound = tone(2_500, 16_000)
    whole = encoder(serial=7).encode(sound, end=True)
    assert whole.completed_stream == whole.payload
    piecewise = encoder(serial=7)
    out = b""
    for at in range(0, len(sound), size * 2):
        chunk = piecewise.encode(sound[at : at + size * 2], end=False)
        assert chunk.completed_stream is None
        out += chunk.payload
    last = piecewise.encode(b"", end=True)
    assert out + last.payload == last.completed_stream == whole.payload


def test_A99_headers_go_out_with_the_first_packet_and_packets_one_late() -> None:
    coder = encoder()
    assert coder.encode(tone(319, 16_000), end=False).payload == b""
    assert len(list(pages_of(coder.encode(tone(1, 16_000), end=False).payload))) == 2
    assert len(list(pages_of(coder.encode(tone(320, 16_000), end=False).payload))) == 1
    assert list(pages_of(coder.encode(b"", end=True).payload))[-1].flags == 4


class Lengths:
    """An encoder whose packets have these lengths."""

    bitrate = 0

    def __init__(self, *lengths: int) -> None:
        self.lengths = list(lengths)

    def encode(self, pcm_data: bytes, frame_size: int) -> bytes:
        return bytes(self.lengths.pop(0))


@pytest.mark.parametrize(
    ("length", "lacing"),
    [
        (1, b"\x01"),
        (254, b"\xfe"),
        (255, b"\xff\x00"),
        (256, b"\xff\x01"),
        (510, b"\xff\xff\x00"),
        (1275, b"\xff" * 5 + b"\x00"),
    ],
)
def test_A101_T13_lacing(length: int, lacing: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        OggOpusStreamEncoder, "_create_encoder", staticmethod(lambda *_: Lengths(length, 3))
    )
    payload = encoder().encode(tone(320, 16_000), end=True).payload
    page = list(pages_of(payload))[2]
    assert page.lacing == lacing
    assert len(page.packet) == length


def test_A98_settings_out_of_range() -> None:
    for settings, message in (
        (
            {"sample_rate": 22_050},
            "Internal Ogg Opus encoder supports sample rates: 8000, 12000, 16000, 24000, 48000",
        ),
        (
            {"frame_duration_ms": 30},
            "Internal Ogg Opus encoder supports frame durations: 10, 20, 40, 60 ms",
        ),
        (
            {"application": "music"},
            "Internal Ogg Opus encoder application must be one of: "
            "audio, restricted_lowdelay, voip",
        ),
    ):
        with pytest.raises(ValueError, match=rf"^{message}$"):
            encoder(**settings)


@pytest.mark.parametrize("application", ["audio", "voip", "restricted_lowdelay"])
def test_A98_applications(application: str) -> None:
    assert encoder(application=application).encode(tone(960, 16_000), end=True).payload


def test_A98_half_a_sample_is_refused_and_spoils_nothing() -> None:
    coder = encoder(serial=1)
    with pytest.raises(
        ValueError, match=r"^PCM input for internal Ogg Opus encoder must be 16-bit aligned$"
    ):
        coder.encode(b"\x00\x00\x00", end=False)
    sound = tone(640, 16_000)
    assert coder.encode(sound, end=True) == encoder(serial=1).encode(sound, end=True)


def test_A98_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise MissingExtraError("webrtc", "Opus")

    monkeypatch.setattr(opus_binding, "load_opus", missing)
    monkeypatch.setattr(opus_binding, "_by_opuslib", lambda *_: None)
    with pytest.raises(RuntimeError, match=r"avatarkit\[opus\]"):
        encoder()


class NoBitrate(LibopusEncoder):
    """A libopus that takes no bitrate."""

    @property
    def bitrate(self) -> int:
        return 0

    @bitrate.setter
    def bitrate(self, value: int) -> None:
        raise RuntimeError(f"libopus: not {value}")


def test_A100_a_bitrate_that_is_refused_is_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opus_binding, "LibopusEncoder", NoBitrate)
    monkeypatch.setattr(opus_binding, "_by_opuslib", lambda *_: None)
    coder = encoder(bitrate=32_000)
    [record] = [one for one in caplog.records if one.name == "avatarkit.audio_encoder"]
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("Failed to set Opus encoder bitrate")
    assert coder.encode(tone(640, 16_000), end=True).payload


def test_A100_a_bitrate_is_kept_to() -> None:
    sound = np.random.default_rng(1).integers(-9_000, 9_000, 32_000).astype("<i2").tobytes()
    sizes = [
        len(encoder(bitrate=bitrate).encode(sound, end=True).payload)
        for bitrate in (8_000, 32_000, 128_000)
    ]
    assert sizes[0] * 1.5 < sizes[1] < sizes[2] / 1.5
    with pytest.raises(RuntimeError, match="libopus"):
        LibopusEncoder(16_000, "audio").bitrate = -5


async def sent(server: ScriptedServer, count: int) -> list[Any]:
    def audio() -> list[Any]:
        return [
            message.client_audio_input
            for message in server.received
            if message.type == pb.MESSAGE_CLIENT_AUDIO_INPUT
        ]

    await soon(lambda: len(audio()) >= count)
    return audio()


class Heard:
    def __init__(self) -> None:
        self.streams: list[tuple[str, bytes]] = []

    def __call__(self, req_id: str, data: bytes) -> None:
        self.streams.append((req_id, data))


OPUS: dict[str, Any] = {
    "audio_format": AudioFormat.OGG_OPUS,
    "ogg_opus_encoder": OggOpusEncoderConfig(),
    "sample_rate": 24_000,
}


async def test_A96_A100_T13_a_request_is_one_stream_told_once() -> None:
    heard = Heard()
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server, **OPUS, on_encoded_audio=heard) as session:
            first = await session.send_audio(tone(30_000, 24_000))
            await session.send_audio(tone(100, 24_000))
            assert heard.streams == []
            await session.send_audio(tone(12_345, 24_000), end=True)
            second = await session.send_audio(tone(480, 24_000), end=True)
            messages = await sent(server, 3)
    streams = {
        req_id: b"".join(one.audio for one in messages if one.req_id == req_id)
        for req_id in (first, second)
    }
    assert heard.streams == list(streams.items())
    assert len(decoded(streams[first])) == 42_445 * 2
    assert len(decoded(streams[second])) == 960
    assert [one.end for one in messages].count(True) == 2


async def test_A100_nothing_is_sent_until_a_page_is_full_unless_it_is_the_end() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server, **OPUS) as session:
            req_id = await session.send_audio(tone(100, 24_000))
            assert await session.send_audio(tone(380, 24_000), end=True) == req_id
            [only] = await sent(server, 1)
    assert (only.req_id, only.end) == (req_id, True)
    assert only.audio.startswith(b"OggS")


async def test_A45_A100_T13_an_empty_request() -> None:
    heard = Heard()
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server, **OPUS, on_encoded_audio=heard) as session:
            first = await session.send_audio(b"", end=True)
            assert await session.send_audio(b"") == await session.send_audio(b"", end=True)
            messages = await sent(server, 2)
    assert [(one.audio, one.end) for one in messages] == [(b"", True), (b"", True)]
    assert messages[0].req_id == first
    assert heard.streams == []


async def test_A100_what_the_callback_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def failing(req_id: str, data: bytes) -> None:
        raise KeyError("x")

    async with scripted_server() as server:
        server.script = server.collect
        async with started(server, **OPUS, on_encoded_audio=failing) as session:
            await session.send_audio(tone(480, 24_000), end=True)
    [record] = [one for one in caplog.records if one.name == "avatarkit.avatar_session"]
    assert record.levelname == "ERROR"
    assert record.getMessage() == "on_encoded_audio callback raised an exception"


async def test_A57_an_interrupt_ends_the_stream_too() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server, **OPUS) as session:
            await session.send_audio(tone(4_800, 24_000))
            await session.interrupt()
            await session.send_audio(tone(4_800, 24_000), end=True)
            messages = await sent(server, 2)
    assert messages[0].req_id != messages[1].req_id
    assert len(decoded(messages[1].audio)) == 9_600


async def test_A96_ready_made_streams_pass_untouched() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server, audio_format="ogg_opus") as session:
            await session.send_audio(b"OggS and so on", end=True)
            [only] = await sent(server, 1)
    assert only.audio == b"OggS and so on"


async def test_A98_an_encoder_without_the_format_is_not_used() -> None:
    async with scripted_server() as server:
        server.script = server.collect
        async with started(server, ogg_opus_encoder=OggOpusEncoderConfig()) as session:
            await session.send_audio(b"\x01\x00", end=True)
            [only] = await sent(server, 1)
    assert only.audio == b"\x01\x00"
