"""How the sound of a call comes and goes, whatever carries it.

Everything here is called synchronously on the event loop and returns at once. A `MediaSession`
opens its leg once, gives it a frame at each tick at which something plays, and closes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from salon.media.codec import AudioCodec
from salon.media.frame import Samples
from salon.voice.events import MediaEvent
from salon.voice.speaking import Mix

Hear = Callable[[Samples], None]
"""Takes sound from the caller, ``int16[n]`` 16 kHz, any length; it may be read-only."""
Post = Callable[[MediaEvent], None]
"""Takes what the event plane should know."""


class AudioLeg(ABC):
    """One way to a caller's ear and from their mouth."""

    ready: bool = True
    """The caller can hear. Until then what plays waits, so that no greeting loses its first
    word."""

    @property
    def quiet(self) -> bool:
        """Nothing is being sent, so that a frame may leave between two ticks."""
        return True

    @abstractmethod
    def open(self, hear: Hear, post: Post) -> None:
        """Called once, by the `MediaSession` that uses the leg: `hear` takes every piece of
        decoded sound."""

    @abstractmethod
    def send(self, frame: Samples) -> None:
        """What the caller hears in this tick, ``int16[320]``. After `close`: no effect."""

    def send_shared(self, frame: Samples, mix: Mix, index: int) -> None:
        """The same, for a frame that others may hear too: number `index` of `mix`."""
        del mix, index
        self.send(frame)

    def idle(self) -> None:  # noqa: B027 - optional to override
        """A tick at which nothing plays."""

    def boundary(self) -> None:  # noqa: B027 - optional to override
        """What was sent last ends an utterance (V105)."""

    def flush(self) -> None:  # noqa: B027 - optional to override
        """Playback was cut: what was sent and is not heard yet should not be."""

    def send_digit(self, digit: str, ms: int = 160) -> None:  # noqa: B027 - optional to override
        """Press a key (``0``-``9``, ``*``, ``#``, ``A``-``D``) for the other side, `ms` long, after
        those pressed before. Without effect where there is no way to carry keys."""

    @abstractmethod
    def close(self) -> None:
        """Let go of whoever was opened for, and of the carrier. Idempotent."""

    @property
    @abstractmethod
    def packets_in(self) -> int:
        """Packets received so far, whatever is in them; inactivity looks at it (G136)."""


class SilentLeg(AudioLeg):
    """No sound either way: the leg of a call whose carrier is not agreed on yet."""

    def open(self, hear: Hear, post: Post) -> None:
        """Nothing will be heard."""

    def send(self, frame: Samples) -> None:
        """Nobody hears it."""

    def close(self) -> None:
        """There is nothing to let go of."""

    @property
    def packets_in(self) -> int:
        return 0


class SocketLeg(AudioLeg):
    """Packets of `codec` without timestamps, in order and without loss, as on a WebSocket (G40).

    `send` takes each packet for the caller. `codec` may be replaced between two packets.
    """

    def __init__(self, codec: AudioCodec, send: Callable[[bytes], None]) -> None:
        self.codec = codec
        self._send_packet = send
        self._hear: Hear = _nothing
        self._packets = 0
        self._closed = False

    def open(self, hear: Hear, post: Post) -> None:
        del post
        if not self._closed:
            self._hear = hear

    def receive(self, payload: bytes) -> None:
        """One packet from the caller; any size (G40). After `close`: no effect."""
        if self._closed:
            return
        self._packets += 1
        samples = self.codec.decode(payload)
        if len(samples):
            self._hear(samples)

    def send(self, frame: Samples) -> None:
        self._send_packet(self.codec.encode(frame))

    def close(self) -> None:
        self._closed = True
        self._hear = _nothing
        self._send_packet = _nothing

    @property
    def packets_in(self) -> int:
        return self._packets


def _nothing(_sound: object) -> None:
    """Takes the place of a callback that is let go of."""
