"""A turn of the caller while it lasts: its recogniser, and what is known of its words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from salon.base import SalonError
from salon.media.frame import Samples
from salon.voice.events import Guess, MediaEvent, Partial, Recognized, Withdrawn
from salon.voice.stt.base import Transcription, Utterance


@dataclass(slots=True)
class OpenTurn:
    """One turn of a `Hearing`; it decides nothing."""

    index: int
    start_ms: int
    utterance: Utterance | None
    told: bool
    """`Speaking` went out for its speech."""
    began: float = 0.0
    """When its recognition began, monotonic seconds."""
    first: Recognized | None = None
    """How soon the first words came; told with them."""
    partial: str = field(default="")
    held: Partial | None = None
    """Interim words that wait for `Speaking` (G120)."""
    pausing: bool = False
    """The caller pauses, perhaps at the end of what they have to say."""
    guessed: bool = False
    """`Guess` went out and still holds."""
    pre_roll_ms: int = 0
    """How much of it lies before the onset."""
    sound: list[Samples] | None = None
    """All of it, at most `max_turn_ms`, where the recogniser may be asked for its last words and
    the caller go on: then another one hears it."""
    asking: asyncio.Task[None] | None = None
    """Waits for those."""
    words: Transcription | None = None
    """Those."""
    went_on: bool = False
    """The caller spoke on after that: the detector's newest segment is not all of it."""
    broken: SalonError | None = None
    """The recogniser failed to give them."""

    def interim(
        self, result: Transcription, recognizer: str, now_ms: int, now: float
    ) -> tuple[MediaEvent, ...]:
        """Other interim words; what may be told of them already. `now` in monotonic seconds."""
        if not self.partial:
            took = round((now - self.began) * 1000)
            self.first = Recognized(recognizer, self.index, took, final=False)
        self.partial = result.text
        words = Partial(self.index, result.text, self.start_ms, now_ms, result.confidence)
        if self.told:
            return self._tell(words)
        self.held = words
        return ()

    def spoken(self) -> tuple[MediaEvent, ...]:
        """`Speaking` went out; the words that waited for it (G120)."""
        self.told = True
        held, self.held = self.held, None
        return () if held is None else self._tell(held)

    def _tell(self, words: Partial) -> tuple[MediaEvent, ...]:
        first, self.first = self.first, None
        return (words,) if first is None else (words, first)

    def guess(self) -> Guess | None:
        """The caller pauses: perhaps these are all the words."""
        self.pausing = True
        if not self.partial:
            return None
        self.guessed = True
        return Guess(self.index, self.partial)

    def withdraw(self) -> Withdrawn | None:
        """The caller goes on."""
        self.pausing = False
        guessed, self.guessed = self.guessed, False
        return Withdrawn(self.index) if guessed else None

    async def last_words(self, utterance: Utterance) -> Transcription:
        """What `utterance` makes of the whole turn, unless it was asked before. Raises what the
        recogniser fails with."""
        if self.asking is not None:
            await asyncio.wait([self.asking])
        if self.broken is not None:
            raise self.broken
        return await utterance.finish() if self.words is None else self.words

    def give_up(self) -> None:
        """Free the recogniser, which knows this turn by what it is to tell its words."""
        if self.asking is not None:
            self.asking.cancel()
            self.asking = None
        utterance, self.utterance = self.utterance, None
        if utterance is not None:
            utterance.cancel()
