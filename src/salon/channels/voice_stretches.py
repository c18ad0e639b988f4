"""From the results of a recogniser that hears everything to the turns of a line.

There is no detector: speech begins with the first sign of words and ends with their final result.
What it does to an agent that speaks is decided by the words (V245).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final as Constant

from salon.media.frame import FRAME_MS
from salon.voice.events import (
    Failed,
    Final,
    Partial,
    RecognitionFailed,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from salon.voice.interruption import InterruptionDecision, InterruptionHandler
from salon.voice.session import MediaSession
from salon.voice.speakers import LabelEpochs, SpokenBy
from salon.voice.stt.base import Transcription
from salon.voice.stt.gather import Gathered
from salon.voice.stt.result import SpeakerSegment, TranscriptionResult

QUIET_S: Constant = 10.0
"""Words that never become final have failed after this long without news; a final result that comes
later still counts."""
UNFINISHED: Constant = "its words did not become final"
CLAIM_MS: Constant = 1000
"""What only the transport noticed lasts so long at most, or for as long as the strategy looks."""
MS_PER_LETTER: Constant = 60
"""Nobody speaks much faster: words that are there took at least this long to say."""


@dataclass(slots=True, eq=False)
class _Stretch:
    """Speech that goes on, as far as words tell."""

    index: int
    start_ms: int
    began: float
    over: int | None
    """`ssrc` of what the agent was saying when it began."""
    words: str = ""
    cut: bool = False
    letters: int = 0
    look: asyncio.TimerHandle | None = None
    end: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Nothing is waited for any more."""
        for timer in (self.look, self.end):
            if timer is not None:
                timer.cancel()
        self.look = self.end = None


class Stretches:
    """Takes the results of one session's streams and posts its turns.

    `handler` decides about the agent. `epochs` not None: final results become one `SpokenBy` per
    segment. Finals hold what was said since the final before; interim results replace each other.
    While the engine is `busy` whoever watches it tells of it, not the words it left.
    """

    def __init__(
        self,
        session: MediaSession,
        name: str,
        handler: InterruptionHandler,
        *,
        epochs: LabelEpochs | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._session = session
        self._name = name
        self._handler = handler
        self._epochs = epochs
        self._busy = busy
        self._stretch: _Stretch | None = None
        self._next_index = 0

    @property
    def words(self) -> str | None:
        """Of the speech that goes on; None if there is none."""
        return None if self._stretch is None else self._stretch.words

    def close(self) -> None:
        """No more events; idempotent."""
        if self._stretch is not None:
            self._stretch.stop()
            self._stretch = None

    def take(self, result: TranscriptionResult, base_ms: int) -> bool:
        """One result of a stream that began at `base_ms`; whether it brought anything. Garbage is
        `SpeechError`."""
        gathered = Gathered(self._name)
        interim = gathered.add(result)
        if not result.is_final:
            if interim is not None and interim.text:
                self._interim(interim)
            elif result.is_speech_start:
                self._open()
            return interim is None or bool(interim.text)
        whole = gathered.result()
        if whole.text:
            self._final(whole, base_ms)
        else:
            self._drop()
        return bool(whole.text)

    def stream_over(self, base_ms: int, error: str | None) -> None:
        """The stream has ended; what it left interim counts as said, unless it failed (V96)."""
        stretch = self._stretch
        if error is None:
            if stretch is not None and stretch.words:
                self._final(Transcription(stretch.words, is_final=True), base_ms)
            else:
                self._drop()
            return
        index = self._next_index if stretch is None else stretch.index
        if stretch is not None:
            self._ended(stretch)
        self._failed(index, error)

    def _failed(self, index: int, error: str) -> None:
        self._session.events.post(Failed(self._name, error, 500))
        self._session.events.post(RecognitionFailed(index, self._name, error))

    def claimed(self) -> None:
        """The transport noticed speech over the agent: it is speech that goes on, and the strategy
        decides (V115). It names no end; without words it is over soon."""
        if self._stretch is not None or not self._audible():
            return
        stretch = self._open()
        config = self._handler.config
        wait_ms = max(CLAIM_MS, config.min_speech_ms, config.transcript_wait_ms) + 1
        self._give_up(stretch, wait_ms / 1000)

    # -- speech -----------------------------------------------------------------------------------

    def _give_up(self, stretch: _Stretch, after_s: float) -> None:
        """Unless there is news by then."""
        if stretch.end is not None:
            stretch.end.cancel()
        stretch.end = asyncio.get_running_loop().call_later(after_s, self._lapsed)

    def _lapsed(self) -> None:
        """There was none: words that somebody said are lost, which is told."""
        stretch = self._stretch
        if stretch is None or not stretch.words or self._busy():
            self._drop()
            return
        self._ended(stretch)
        self._failed(stretch.index, f"{self._name}: {UNFINISHED} within {QUIET_S:g} s")

    def _open(self) -> _Stretch:
        stretch = self._stretch
        if stretch is None:
            session = self._session
            playback = session.player.current if self._audible() else None
            stretch = self._stretch = _Stretch(
                self._next_index,
                session.hearing.now_ms(),
                session.engine.clock.monotonic(),
                None if playback is None else playback.ssrc,
            )
            self._next_index += 1
            session.events.post(TurnStarted(stretch.index, stretch.start_ms))
            self._look(stretch)
        self._give_up(stretch, QUIET_S)
        return stretch

    def _interim(self, heard: Transcription) -> None:
        stretch = self._open()
        if heard.text == stretch.words:
            return
        self._said(stretch, heard.text)
        session = self._session
        session.events.post(
            Partial(
                stretch.index,
                heard.text,
                stretch.start_ms,
                session.hearing.now_ms(),
                heard.confidence,
            )
        )
        self._look(stretch)

    @staticmethod
    def _said(stretch: _Stretch, text: str) -> None:
        stretch.words = text
        stretch.letters = max(stretch.letters, sum(map(str.isalnum, text)))

    def _drop(self) -> None:
        """It came to nothing."""
        stretch, self._stretch = self._stretch, None
        if stretch is not None:
            stretch.stop()
            self._session.events.post(TurnDropped(stretch.index, stretch.start_ms))

    def _ended(self, stretch: _Stretch, *, queued: bool = False) -> int:
        stretch.stop()
        self._stretch = None
        end_ms = self._session.hearing.now_ms()
        self._session.events.post(TurnEnded(stretch.index, stretch.start_ms, end_ms, queued))
        return end_ms

    def _final(self, heard: Transcription, base_ms: int) -> None:
        stretch = self._open()
        self._said(stretch, heard.text)
        decision = self._decide(stretch, final=True)
        queued = decision is not None and decision.queue_speech
        if decision is not None and not queued:
            if not _cuts(decision):
                stretch.stop()
                self._stretch = None
                said = stretch.words if decision.is_backchannel else ""
                self._session.events.post(
                    TurnDropped(stretch.index, stretch.start_ms, decision.is_backchannel, said)
                )
                return
            self._cut(stretch)
        # words are there only after they were said
        spoken_ms = stretch.letters * MS_PER_LETTER
        start_ms = max(min(stretch.start_ms, self._session.hearing.now_ms() - spoken_ms), base_ms)
        end_ms = max(self._ended(stretch, queued=queued), start_ms)
        whole = Final(
            stretch.index,
            heard.text,
            start_ms,
            end_ms,
            heard.confidence,
            language=heard.language,
            queued=queued,
        )
        if self._epochs is None:
            self._session.events.post(whole)
        else:
            self._by_speaker(whole, heard.segments, base_ms, self._epochs)

    def _by_speaker(
        self,
        whole: Final,
        segments: tuple[SpeakerSegment, ...],
        base_ms: int,
        epochs: LabelEpochs,
    ) -> None:
        """Each segment on its own, in order (V235)."""
        said = [segment for segment in segments if segment.text.strip()]
        for segment in said or [SpeakerSegment(None, whole.text)]:
            changed, is_new = epochs.heard(segment.speaker)
            start, end = segment.start_ms, segment.end_ms
            self._session.events.post(
                SpokenBy(
                    whole.index,
                    segment.text.strip(),
                    whole.start_ms if start is None else base_ms + start,
                    whole.end_ms if end is None else base_ms + end,
                    whole.confidence,
                    language=whole.language,
                    queued=whole.queued,
                    label=segment.speaker,
                    epoch=epochs.epoch,
                    changed=changed,
                    is_new=is_new,
                )
            )

    # -- the agent --------------------------------------------------------------------------------

    def _audible(self) -> bool:
        player = self._session.player
        if player.current is None or not player.audible:
            return False
        speech = player.current.speech
        return speech is None or speech.played > 0

    def _decide(self, stretch: _Stretch, *, final: bool) -> InterruptionDecision | None:
        """What the speech does to the agent; None: there is none to be interrupted by it."""
        session = self._session
        playback = session.player.current
        if stretch.cut or playback is None or not self._audible():
            return None
        if final and playback.ssrc != stretch.over:
            return None
        clock = session.engine.clock
        speech = playback.speech
        lasted = round((clock.monotonic() - stretch.began) * 1000)
        played = round((clock.monotonic() - playback.began) * 1000)
        said = "" if speech is None else " ".join(piece.text for piece in speech.speech.pieces)
        return self._handler.evaluate(
            playback_position_ms=played if speech is None else speech.played_ms,
            speech_duration_ms=max(lasted, stretch.letters * MS_PER_LETTER),
            speech_text=stretch.words,
            transcript_expected=True,
            response_text=said,
            session_played_ms=session.frames_out * FRAME_MS,
            speech_final=final,
        )

    def _look(self, stretch: _Stretch) -> None:
        """Judge the latest words of speech that goes on, now and again when the strategy says so
        (V116). What is a backchannel is judged again only when other words come (V245)."""
        if stretch.look is not None:
            stretch.look.cancel()
            stretch.look = None
        decision = self._decide(stretch, final=False)
        if decision is None:
            return
        if decision.should_interrupt:
            self._cut(stretch)
        elif decision.pending_confirmation:
            wait = max(decision.confirm_after_ms, 1) / 1000
            stretch.look = asyncio.get_running_loop().call_later(wait, self._look, stretch)

    def _cut(self, stretch: _Stretch) -> None:
        stretch.cut = True
        self._session.barge_in(stretch.start_ms)


def _cuts(decision: InterruptionDecision) -> bool:
    """Of speech that is over: words that a detector still cannot place are meant."""
    undecided = decision.pending_confirmation and decision.awaiting_transcript
    return decision.should_interrupt or undecided
