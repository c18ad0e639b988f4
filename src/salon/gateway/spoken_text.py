"""Text that comes in pieces, on its way to the voice (G75)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from salon.voice.sentences import SentenceSplitter

FLUSH_S = 0.3
"""What is no whole sentence is spoken if nothing follows it for so long."""


class SpokenText:
    """Joins pieces and gives them out sentence by sentence, so that how the text was divided on its
    way is not to be heard.

    `say` takes each sentence. What is kept back is bounded by the splitter and goes out after
    300 ms without another piece, or with `flush`.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._splitter = SentenceSplitter()
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, piece: str) -> None:
        """One more piece of the text."""
        for sentence in self._splitter.feed(piece):
            self._say(sentence)
        self.drop()
        self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Give out what is kept; the next piece begins a new sentence."""
        self.drop()
        for sentence in self._splitter.flush():
            self._say(sentence)

    def drop(self) -> None:
        """Wait for no more text; what is kept stays."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
