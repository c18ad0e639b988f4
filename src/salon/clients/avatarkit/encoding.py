"""A session's sound on its way out: as it is, or through its own Opus encoder (A96 to A100)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from salon.clients.avatarkit.session_config import (
    AudioFormat,
    OggOpusEncoderConfig,
    SessionConfig,
)

if TYPE_CHECKING:
    from salon.clients.avatarkit.audio_encoder import OggOpusStreamEncoder

_SLICES_PER_SECOND: Final = 4


class RequestEncoder:
    """Encodes one request's sound."""

    def __init__(self, config: SessionConfig, settings: OggOpusEncoderConfig) -> None:
        try:
            # Here, because it needs numpy, and a session that sends PCM as it is does not.
            from salon.clients.avatarkit.audio_encoder import OggOpusStreamEncoder, check_aligned
        except ImportError as error:
            raise RuntimeError(
                "The internal Ogg Opus encoder needs libopus and numpy: install "
                'avatarkit[opus], or a system libopus and "salon[avatarkit,voice]"'
            ) from error
        self._check_aligned = check_aligned
        rate = int(config.sample_rate)
        self._encoder: OggOpusStreamEncoder = OggOpusStreamEncoder(
            sample_rate=rate,
            bitrate=int(config.bitrate),
            frame_duration_ms=int(settings.frame_duration_ms),
            application=settings.application,
            collect_encoded_output=config.on_encoded_audio is not None,
        )
        # Whole samples; a slice takes some milliseconds to encode.
        self._slice = rate // _SLICES_PER_SECOND * 2
        self._pages = bytearray()

    async def encode(self, pcm: bytes, end: bool) -> tuple[bytes, bytes | None]:
        """What to send of this sound, and the whole stream once it is complete; other tasks run
        in between. `ValueError` for half a sample, before anything is encoded. Cancelled, it has
        taken the sound so far, and its pages go out with the next: the stream stays whole."""
        self._check_aligned(pcm)
        at = 0
        while len(pcm) - at > self._slice:
            self._pages += self._encoder.encode(pcm[at : at + self._slice], end=False).payload
            at += self._slice
            await asyncio.sleep(0)
        last = self._encoder.encode(pcm[at:], end=end)
        out = bytes(self._pages) + last.payload
        self._pages.clear()
        return out, last.completed_stream


def request_encoder(config: SessionConfig) -> RequestEncoder | None:
    """An encoder for a new request; None if sound goes out as it came in. `ValueError` and
    `RuntimeError` of A98."""
    if config.audio_format != AudioFormat.OGG_OPUS or config.ogg_opus_encoder is None:
        return None
    return RequestEncoder(config, config.ogg_opus_encoder)
