"""The sound that came from the server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from salon.base import MissingExtraError
from salon.clients.call.journal import Cursor, Journal

if TYPE_CHECKING:
    from salon.media import AudioCodec, Samples

MAX_PACKETS: Final = 30_000
"""Ten minutes of 20 ms."""


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One binary frame as it came, in the codec of the call; `at` is when it arrived, in seconds
    of the client's monotonic clock."""

    data: bytes
    at: float


def codec_for(name: str) -> AudioCodec:
    """A new codec; `MissingExtraError` without numpy."""
    try:
        from salon.media import make_codec
    except ModuleNotFoundError:
        raise MissingExtraError("voice", "the sound of a call") from None
    return make_codec(name)


class ReceivedAudio:
    """The newest packets with their times of arrival; older ones than `limit` are dropped."""

    def __init__(self, limit: int = MAX_PACKETS) -> None:
        self._journal: Journal[AudioPacket] = Journal(limit)
        self.codec = "pcm"
        """The codec of the call, as the `invite` named it."""

    @property
    def packets(self) -> tuple[AudioPacket, ...]:
        """All that are kept, oldest first."""
        return tuple(self._journal)

    @property
    def total(self) -> int:
        """Packets that ever came."""
        return self._journal.total

    @property
    def dropped(self) -> int:
        """Packets no longer kept."""
        return self._journal.dropped

    def add(self, packet: AudioPacket) -> None:
        """Keep one more."""
        self._journal.append(packet)

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more comes."""
        self._journal.close(error)

    def read(self) -> Cursor[AudioPacket]:
        """An own iterator over the packets, from the oldest kept to the end of the call."""
        return self._journal.read()

    def first_after(self, at: float) -> AudioPacket | None:
        """The first packet that arrived at or after `at`."""
        return next((packet for packet in self._journal if packet.at >= at), None)

    def samples(self, packets: Iterable[AudioPacket] | None = None) -> Samples:
        """The sound of these packets (default: of all kept) one after another, without the pauses
        between them, as ``int16[n]``, 16 kHz mono. Decodes anew at every call."""
        codec = codec_for(self.codec)
        import numpy as np

        chosen = self._journal if packets is None else packets
        pieces = [codec.decode(packet.data) for packet in chosen]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16)

    def timeline(self, start: float | None = None) -> Samples:
        """All that is kept with the pauses between packets as silence, ``int16[n]``, 16 kHz mono.

        It begins at `start` (monotonic seconds), or with the first packet. A packet that came while
        the one before still sounds is put behind it, so jitter makes no holes.
        """
        codec = codec_for(self.codec)
        import numpy as np

        pieces: list[Samples] = []
        filled = 0
        for packet in self._journal:
            start = packet.at if start is None else start
            sound = codec.decode(packet.data)
            gap = round((packet.at - start) * 16_000) - filled
            if gap > _JITTER:
                pieces.append(np.zeros(gap, dtype=np.int16))
                filled += gap
            pieces.append(sound)
            filled += len(sound)
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16)


_JITTER: Final = 1_600
"""Samples (100 ms): a smaller gap is the network's, not the speaker's."""
