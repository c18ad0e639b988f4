"""What takes the far end's echo out of the sound of the near end (V52, V59, V64-V66)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.media.frame import AudioFormat, AudioFrame


class AECProvider(ABC):
    """Cancels echo on many streams, each with a filter and a reference of its own (V42, V64).

    The reference is the sound the listener is played, fed at the pace at which it is played, in
    order and once (V59); `feed_reference` may be called from another thread than `process`. A
    captured frame gives a frame of the same length. The input is not written to.
    """

    required_format: AudioFormat | None = None
    """The only format of captured sound it takes; None: any (V38)."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def stream_count(self) -> int:
        """How many streams it holds state for."""
        return 0

    @abstractmethod
    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        """The captured frame without echo, with ``metadata["echo_cancelled"] = True`` (V66).

        While switched off, the sound passes as it is, without the note. `ValueError` for a format
        it cannot take (V65).
        """

    @abstractmethod
    def feed_reference(self, frame: AudioFrame, stream: str) -> None:
        """Sound that is being played to the same stream's listener (V64)."""

    def set_active(self, active: bool) -> None:  # noqa: B027 - always on
        """Switch cancelling on or off for every stream, those to come included. What is played
        is not heard back at once: an implementation may go on until the echo has died away."""

    def set_stream_active(self, stream: str, active: bool) -> None:  # noqa: B027 - always on
        """Switch cancelling on or off for one stream, until its reset; a later `set_active`
        takes precedence."""

    def reset(self, stream: str) -> None:  # noqa: B027 - nothing to forget
        """Forget a stream, as if never heard (V46)."""

    def close(self) -> None:  # noqa: B027 - nothing to free
        """Forget every stream and free what is held (V47)."""
