"""What carries the sound of one session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from salon.voice.leg import AudioLeg


class Connection(ABC):
    """A leg for the sound, and whoever stands behind it.

    `watch` is called once, when the connection is given to its session.
    """

    transport: ClassVar[str]
    """Its kind, as told in the session's metadata."""
    lead: int = 1
    """Frames that may be sent ahead of their time, for clients without a buffer of their own."""
    leg: AudioLeg

    @abstractmethod
    def watch(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        """Tell of the moment at which sound can pass, and of the end if it comes from outside; at
        once if it is so already."""

    def occupied(self) -> bool:
        """Called at each tick before sound is sent: whether something else has its place."""
        return False

    @property
    def busy(self) -> bool:
        """Whether `occupied` may say so at the next tick: then no sound leaves before it."""
        return False

    @property
    def concealed(self) -> bool:
        """Whether the sound told to the session last was made up for what got lost (V33)."""
        return False

    @property
    def dropped(self) -> int:
        """Pieces of sound that the client did not take in time (besides those of the queue)."""
        return 0

    @property
    def held(self) -> bool:
        """Whether sound that was sent waits here still."""
        return False

    def flush(self) -> None:  # noqa: B027 - optional to override
        """Playback was interrupted: what was sent ahead should not be heard."""

    def press(self, digit: str, duration_ms: int) -> None:
        """Press a key; `NotImplementedError` where there are none."""
        raise NotImplementedError(f"no keys can be sent over {self.transport}")

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; bounded in time, idempotent."""
