"""Codecs of packets that may get lost: one payload is one piece of sound, and a gap can be filled.

`AudioCodec` (binary frames of a socket) never loses anything; these know about loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.media.frame import Samples


class PacketDecoder(ABC):
    """Decodes one incoming stream. Sound is ``int16[n]`` at 16 kHz, mono."""

    clock_rate: int
    """Of the RTP timestamps in Hz (8000 for G.722, RFC 3551)."""

    @abstractmethod
    def decode(self, payload: bytes) -> Samples:
        """The next payload in order. Raises `MediaError` if it is damaged; the state is unhurt."""

    @abstractmethod
    def conceal(self, samples: int) -> Samples:
        """`samples` of plausible sound for what is missing; called again for longer gaps, it fades
        to silence within about 120 ms."""

    def recover(self, following: bytes, samples: int) -> Samples | None:
        """The lost piece before `following`, from redundancy in that payload (Opus in-band FEC);
        None if it carries none. `following` must still be decoded afterwards."""
        del following, samples
        return None

    @abstractmethod
    def duration(self, payload: bytes) -> int:
        """Samples at 16 kHz in a payload, without decoding it; 0 if it is damaged."""

    def reset(self) -> None:  # noqa: B027 - optional to override
        """Forget the past: the next payload starts anew."""


class PacketEncoder(ABC):
    """Encodes one outgoing stream, frame by frame."""

    clock_rate: int
    """Of the RTP timestamps in Hz."""

    @abstractmethod
    def encode(self, frame: Samples) -> bytes:
        """``int16[320]``, 20 ms at 16 kHz, to one payload; empty if nothing need be sent (DTX)."""

    def set_expected_loss(self, percent: int) -> None:  # noqa: B027 - optional to override
        """How much the listener misses (0 to 100): redundancy may be added for it."""
