"""PCM to Ogg Opus while it is spoken: one stream per request (A98 to A101)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from salon.clients.avatarkit.ogg_pages import (
    BEGIN,
    END,
    OggPageWriter,
    opus_head,
    opus_tags,
)
from salon.clients.avatarkit.opus_binding import APPLICATIONS, FrameEncoder, make_frame_encoder
from salon.media.ogg_opus import GRANULE_RATE, PRE_SKIP

SAMPLE_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
FRAME_DURATIONS_MS: Final = (10, 20, 40, 60)
_SAMPLE_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class EncodedAudioChunk:
    """What a piece of sound became: `payload` to send, and the whole stream when it is complete
    and was asked for."""

    payload: bytes
    completed_stream: bytes | None = None


class OggOpusStreamEncoder:
    """One request's encoder.

    `sample_rate` in Hz, `bitrate` in bit/s (0 = the library's own). With
    `collect_encoded_output` the stream is kept for `EncodedAudioChunk.completed_stream`, about
    1 MB for four minutes. `ValueError` for a setting out of range, `RuntimeError` without libopus.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        bitrate: int,
        frame_duration_ms: int,
        application: str,
        collect_encoded_output: bool,
        serial: int | None = None,
    ) -> None:
        _check(sample_rate, frame_duration_ms, application)
        self._encoder = self._create_encoder(sample_rate, bitrate, application)
        self._rate = sample_rate
        self._frame = sample_rate * frame_duration_ms // 1000
        self._pages = OggPageWriter(secrets.randbits(32) if serial is None else serial)
        self._stream = bytearray() if collect_encoded_output else None
        self._rest = b""
        self._taken = 0
        """Samples that came in and lie in packets."""
        self._coded = 0
        """Samples that the packets hold, padding too."""
        self._held: tuple[bytes, int] | None = None
        """The newest packet and its granule: it may be the last one, whose page says so."""

    def encode(self, pcm_data: bytes, *, end: bool) -> EncodedAudioChunk:
        """Adds mono ``int16`` little-endian sound; empty if no page is full yet.

        `end` completes the stream; without any sound it stays empty (A100). `ValueError` for half
        a sample.
        """
        check_aligned(pcm_data)
        out = bytearray()
        sound, size = self._rest + pcm_data, self._frame * _SAMPLE_BYTES
        whole = len(sound) // size * size
        for at in range(0, whole, size):
            self._add(out, sound[at : at + size], self._frame)
        self._rest = sound[whole:]
        if end:
            self._finish(out)
        if self._stream is None:
            return EncodedAudioChunk(bytes(out))
        self._stream += out
        return EncodedAudioChunk(bytes(out), bytes(self._stream) if end and self._stream else None)

    def _finish(self, out: bytearray) -> None:
        silence = bytes(self._frame * _SAMPLE_BYTES)
        if self._rest:
            samples = len(self._rest) // _SAMPLE_BYTES
            self._add(out, self._rest + silence[len(self._rest) :], samples)
            self._rest = b""
        if self._held is None:
            return
        # The encoder is late by the pre-skip: without room for it the last sound stays inside.
        late = PRE_SKIP * self._rate // GRANULE_RATE
        while self._coded < self._taken + late:
            self._add(out, silence, 0)
        packet, granule = self._held
        self._held = None
        out += self._pages.page(packet, granule, END)

    def _add(self, out: bytearray, frame: bytes, samples: int) -> None:
        """Codes a frame, of which so many samples are sound, and lets go the packet before it."""
        packet = self._encoder.encode(frame, self._frame)
        if self._taken == 0:
            out += self._pages.page(opus_head(self._rate), 0, BEGIN)
            out += self._pages.page(opus_tags(), 0)
        elif self._held is not None:
            out += self._pages.page(*self._held)
        self._taken += samples
        self._coded += self._frame
        self._held = packet, PRE_SKIP + self._taken * GRANULE_RATE // self._rate

    @staticmethod
    def _create_encoder(sample_rate: int, bitrate: int, application: str) -> FrameEncoder:
        return make_frame_encoder(sample_rate, bitrate, application)


def check_aligned(pcm_data: bytes) -> None:
    """`ValueError` for half a sample (A98)."""
    if len(pcm_data) % _SAMPLE_BYTES:
        raise ValueError("PCM input for internal Ogg Opus encoder must be 16-bit aligned")


def _check(sample_rate: int, frame_duration_ms: int, application: str) -> None:
    if sample_rate not in SAMPLE_RATES:
        rates = ", ".join(map(str, SAMPLE_RATES))
        raise ValueError(f"Internal Ogg Opus encoder supports sample rates: {rates}")
    if frame_duration_ms not in FRAME_DURATIONS_MS:
        durations = ", ".join(map(str, FRAME_DURATIONS_MS))
        raise ValueError(f"Internal Ogg Opus encoder supports frame durations: {durations} ms")
    if application not in APPLICATIONS:
        names = ", ".join(sorted(APPLICATIONS))
        raise ValueError(f"Internal Ogg Opus encoder application must be one of: {names}")
