"""After recognition, before routing: utterances are gathered until the caller's turn is complete.

Knows: texts, when speech starts and ends, what a turn detector said.
Does not know: detectors, clocks, who routes.

Without a detector each utterance is routed at once (V112). With one, one row per transition:

    state     signal      next      what happens
    --------  ----------  --------  --------------------------------------------------------------
    EMPTY     TEXT        JUDGING   Judge
    JUDGING   TEXT        JUDGING   the text is added; Judge the whole again, the older is void
    JUDGING   COMPLETE    READY     (a failure and a timeout are complete, with confidence 0.0)
    JUDGING   INCOMPLETE  HELD      TurnIncomplete (V111)
    READY     TEXT        JUDGING   the text is added; Judge
    READY     CLEAR       EMPTY     Route: nobody speaks (V241)
    HELD      TEXT        JUDGING   the text is added; Judge
    HELD      EXPIRED     EMPTY     Route with confidence 0.0 (V241)
    any       CANCEL      EMPTY

CLEAR: no speech is going on, and the speech since the judgement, if any, has brought no words (it
is told so, or `words_wait_ms` have passed since its end). EXPIRED: CLEAR, and the silence of the
wait has passed since the end of the last speech; speech that brought no words does not count as an
end, so it cannot hold the turn (V241). Nor can speech that goes on for `speech_hold_ms`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from math import isnan

from salon.base import ConfigurationError
from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnEntry

MAX_TEXT_CHARS = 16_000
"""A turn gathered to this length is routed without being judged."""

MAX_AUDIO_S = 8
"""How much sound is kept for the detector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """How turns are gathered. Times in ms.

    Raises `ConfigurationError` naming the field when a value makes no sense.
    """

    detector: bool = True
    """Whether somebody answers `Judge`."""
    incomplete_wait_ms: float = 1500.0
    """Silence that ends an incomplete turn when the detector suggests none."""
    max_wait_ms: float = 10_000.0
    """A suggested wait is cut to this."""
    slow_ms: int = 200
    """A judgement that took longer is flagged (V113)."""
    judge_limit_ms: int = 2000
    """A turn is complete when it has not been judged by then."""
    words_wait_ms: int = 2000
    """How long after its end speech may still bring words."""
    speech_hold_ms: int = 30_000
    """Speech that goes on for longer without words holds nothing."""
    session_id: str = ""
    history: int = 20
    """Entries of the conversation told to the detector."""

    def __post_init__(self) -> None:
        for name in (
            *("incomplete_wait_ms", "max_wait_ms", "slow_ms", "words_wait_ms", "history"),
            *("judge_limit_ms", "speech_hold_ms"),
        ):
            value = getattr(self, name)
            if not value >= 0:
                raise ConfigurationError(f"{name} is {value}; it must be 0 or more")


class RouteReason(StrEnum):
    """Why a turn is routed now."""

    UTTERANCE = "utterance"
    """There is no detector."""
    COMPLETE = "complete"
    WAITED = "waited"
    """Judged incomplete, but nothing more came."""
    FAILED = "failed"
    """The detector failed."""
    TIMEOUT = "timeout"
    """The detector took too long."""
    TOO_LONG = "too_long"
    FLUSHED = "flushed"


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask the detector, and give what it says to `TurnGate.decision` with this `id`. Questions
    with a smaller `id` need no answer any more."""

    id: int
    context: TurnContext


@dataclass(frozen=True, slots=True)
class TurnIncomplete:
    """Nothing is routed: `text` is kept for `wait_ms` of silence (V111, V241)."""

    text: str
    confidence: float
    reason: str | None = None
    wait_ms: int = 0
    judged_ms: int = 0
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """The turn is complete: route `text` as one event (V110). `judged_ms` is how long the last
    judgement took, `slow` that it took more than 200 ms (V113)."""

    text: str
    confidence: float
    reason: RouteReason
    detail: str | None = None
    """The detector's own reason."""
    judged_ms: int = 0
    slow: bool = False
    utterances: int = 1


GateAction = Judge | TurnIncomplete | Route


class GateState(Enum):
    """Where the turn is."""

    EMPTY = auto()
    JUDGING = auto()
    READY = auto()
    HELD = auto()


class GateSignal(Enum):
    """What can happen to it."""

    TEXT = auto()
    COMPLETE = auto()
    INCOMPLETE = auto()
    CLEAR = auto()
    EXPIRED = auto()
    CANCEL = auto()


_TRANSITIONS: Mapping[tuple[GateState, GateSignal], GateState] = {
    (GateState.EMPTY, GateSignal.TEXT): GateState.JUDGING,
    (GateState.JUDGING, GateSignal.TEXT): GateState.JUDGING,
    (GateState.JUDGING, GateSignal.COMPLETE): GateState.READY,
    (GateState.JUDGING, GateSignal.INCOMPLETE): GateState.HELD,
    (GateState.READY, GateSignal.TEXT): GateState.JUDGING,
    (GateState.READY, GateSignal.CLEAR): GateState.EMPTY,
    (GateState.HELD, GateSignal.TEXT): GateState.JUDGING,
    (GateState.HELD, GateSignal.EXPIRED): GateState.EMPTY,
    **{(state, GateSignal.CANCEL): GateState.EMPTY for state in GateState},
}


@dataclass(slots=True)
class _Verdict:
    confidence: float
    reason: RouteReason
    detail: str | None
    judged_ms: int
    slow: bool
    wait_ms: int = 0


class TurnGate:
    """Gathers utterances into turns. One per session.

    Every method returns the actions to carry out, in order. Instants in ms must not go back. `tick`
    must come at `due_ms`, or every few ten ms.
    """

    def __init__(self, config: GateConfig | None = None) -> None:
        self.config = config or GateConfig()
        self.state = GateState.EMPTY
        self._history: deque[TurnEntry] = deque(maxlen=self.config.history)
        self._texts: list[str] = []
        self._speech_ms = 0.0
        self._audio = b""
        self._rate = 16000
        self._id = 0
        self._asked_ms = 0
        self._verdict: _Verdict | None = None
        self._speaking_since: int | None = None
        self._silent_since: int | None = None
        """The end of the last speech, whatever it brought."""
        self._before: int | None = None
        """The same without the speech whose words are still awaited."""
        self._words_due: int | None = None
        """Until when words of speech that ended may come."""
        self._awaited = 0
        """Stretches of speech that ended and whose words have not been reported."""
        self._worded = False
        """Words came while the speech lasted."""
        self._gap_ms: int | None = None
        """The pause after which the caller went on in an incomplete turn."""

    @property
    def text(self) -> str:
        """What is kept, unrouted."""
        return " ".join(self._texts)

    @property
    def due_ms(self) -> int | None:
        """When to call `tick` at the latest; None: nothing depends on time now."""
        verdict = self._verdict
        if self.state is GateState.JUDGING:
            return self._asked_ms + self.config.judge_limit_ms
        if verdict is None:
            return None
        if self._speaking_since is not None:
            return self._speaking_since + self.config.speech_hold_ms
        if self.state is GateState.READY:
            return self._words_due
        assert self._silent_since is not None
        return max(self._silent_since + verdict.wait_ms, self._words_due or 0)

    def transcript(
        self,
        text: str,
        t_ms: int,
        speech_ms: float = 0.0,
        *,
        audio: bytes | None = None,
        sample_rate: int = 16000,
    ) -> tuple[GateAction, ...]:
        """The final words of one utterance; `audio` is its sound, mono pcm_s16le. Without words it
        is `no_words`."""
        text = text.strip()
        if not text:
            return self.no_words(t_ms)
        self._locate(t_ms)
        if not self.config.detector:
            self._said("user", text, speech_ms)
            return (Route(text, 1.0, RouteReason.UTTERANCE),)
        self._signal(GateSignal.TEXT)
        self._verdict = None
        self._texts.append(text)
        self._speech_ms += speech_ms
        self._keep(audio, sample_rate)
        self._id += 1
        self._asked_ms = t_ms
        if sum(map(len, self._texts)) >= MAX_TEXT_CHARS:
            return self._finish(_Verdict(0.0, RouteReason.TOO_LONG, None, 0, False))
        return (Judge(self._id, self._context(t_ms)),)

    def no_words(self, t_ms: int) -> tuple[GateAction, ...]:
        """The speech that ended last brought no words."""
        if self._awaited:
            self._awaited -= 1
            if not self._awaited:
                self._settle()
        return self.tick(t_ms)

    def decision(self, id: int, decision: TurnDecision | None, t_ms: int) -> tuple[GateAction, ...]:
        """What the detector said to `Judge`; None, or what makes no sense: it failed. An answer
        that is void is ignored."""
        if id != self._id or self.state is not GateState.JUDGING:
            return ()
        took = t_ms - self._asked_ms
        slow = took > self.config.slow_ms
        if not _makes_sense(decision):
            decision = None
        if decision is None:
            self._decide(_Verdict(0.0, RouteReason.FAILED, None, took, slow))
            return self.tick(t_ms)
        if decision.is_complete:
            reason = RouteReason.COMPLETE
            self._decide(_Verdict(decision.confidence, reason, decision.reason, took, slow))
            return self.tick(t_ms)
        wait = decision.suggested_wait_ms
        wait = self.config.incomplete_wait_ms if wait is None else wait
        wait_ms = round(min(max(wait, 0.0), self.config.max_wait_ms))
        self._signal(GateSignal.INCOMPLETE)
        waited = RouteReason.WAITED
        self._verdict = _Verdict(0.0, waited, decision.reason, took, slow, wait_ms)
        told = TurnIncomplete(self.text, decision.confidence, decision.reason, wait_ms, took, slow)
        return (told, *self.tick(t_ms))

    def speech_started(self, t_ms: int) -> tuple[GateAction, ...]:
        """The caller speaks."""
        out = self.tick(t_ms)
        if self._speaking_since is None:
            self._speaking_since = t_ms
            if self.state is not GateState.EMPTY and self._silent_since is not None:
                self._gap_ms = t_ms - self._silent_since
        return out

    def speech_ended(self, t_ms: int) -> tuple[GateAction, ...]:
        """The caller pauses. Words of this speech may follow: `transcript` or `no_words`."""
        if self._speaking_since is None:
            return self.tick(t_ms)
        self._speaking_since = None
        if self._worded:
            self._worded = False
            self._before = t_ms
        else:
            if not self._awaited:
                self._before = self._silent_since
            self._awaited += 1
            self._words_due = t_ms + self.config.words_wait_ms
        self._silent_since = t_ms
        return self.tick(t_ms)

    def tick(self, t_ms: int) -> tuple[GateAction, ...]:
        """Nothing else happened until `t_ms`."""
        config = self.config
        if self._words_due is not None and t_ms >= self._words_due:
            self._settle()
        if self.state is GateState.JUDGING and t_ms - self._asked_ms >= config.judge_limit_ms:
            took = t_ms - self._asked_ms
            self._decide(_Verdict(0.0, RouteReason.TIMEOUT, None, took, True))
        verdict = self._verdict
        if verdict is None or not self._clear(t_ms):
            return ()
        if self.state is GateState.READY:
            self._signal(GateSignal.CLEAR)
            return self._finish(verdict)
        since = self._silent_since
        if since is None or t_ms - since >= verdict.wait_ms:
            self._signal(GateSignal.EXPIRED)
            return self._finish(verdict)
        return ()

    def flush(self, t_ms: int) -> tuple[GateAction, ...]:
        """Route what is kept, whatever is going on."""
        if self.state is GateState.EMPTY:
            return ()
        self._signal(GateSignal.CANCEL)
        return self._finish(_Verdict(0.0, RouteReason.FLUSHED, None, 0, False))

    def cancel(self, t_ms: int) -> tuple[GateAction, ...]:
        """Forget what is kept."""
        self._signal(GateSignal.CANCEL)
        self._empty()
        return ()

    def answered(self, text: str) -> None:
        """What the agent said, for the detector's history."""
        self._said("assistant", text, None)

    def _signal(self, signal: GateSignal) -> None:
        self.state = _TRANSITIONS[self.state, signal]

    def _locate(self, t_ms: int) -> None:
        """Words came: of speech that ended, of speech that lasts, or of some nobody reported."""
        if self._awaited:
            self._awaited -= 1
            if not self._awaited:
                self._words_due = None
        elif self._speaking_since is not None:
            self._worded = True
        else:
            self._silent_since = t_ms
        if self._silent_since is None:
            self._silent_since = t_ms
        self._before = self._silent_since

    def _settle(self) -> None:
        """No words are awaited any more: the last speech was no end of anything."""
        self._awaited = 0
        self._words_due = None
        self._silent_since = self._before

    def _clear(self, t_ms: int) -> bool:
        since = self._speaking_since
        if since is not None:
            return t_ms - since >= self.config.speech_hold_ms
        return self._words_due is None

    def _decide(self, verdict: _Verdict) -> None:
        self._signal(GateSignal.COMPLETE)
        self._verdict = verdict

    def _finish(self, verdict: _Verdict) -> tuple[GateAction, ...]:
        text, count = self.text, len(self._texts)
        self._said("user", text, self._speech_ms)
        self.state = GateState.EMPTY
        self._empty()
        return (
            Route(
                text,
                verdict.confidence,
                verdict.reason,
                verdict.detail,
                verdict.judged_ms,
                verdict.slow,
                count,
            ),
        )

    def _empty(self) -> None:
        self._texts = []
        self._speech_ms = 0.0
        self._audio = b""
        self._verdict = None
        self._gap_ms = None
        self._id += 1

    def _said(self, role: str, text: str, speech_ms: float | None) -> None:
        self._history.append(TurnEntry(text, role, speech_ms or None))

    def _keep(self, audio: bytes | None, sample_rate: int) -> None:
        if not audio:
            return
        if sample_rate != self._rate:
            self._rate, self._audio = sample_rate, b""
        self._audio = (self._audio + audio)[-2 * sample_rate * MAX_AUDIO_S :]

    def _context(self, t_ms: int) -> TurnContext:
        silent = self._silent_since
        return TurnContext(
            conversation_history=list(self._history),
            silence_duration_ms=float(t_ms - silent) if silent is not None else 0.0,
            transcript=self.text,
            is_final=True,
            speech_duration_ms=self._speech_ms,
            session_id=self.config.session_id,
            metadata={} if self._gap_ms is None else {"resumed_after_ms": self._gap_ms},
            audio_bytes=self._audio or None,
            audio_sample_rate=self._rate,
        )


def _makes_sense(decision: object) -> bool:
    """Whether a detector, which may be anybody's, gave a decision with numbers in it."""
    if not isinstance(decision, TurnDecision):
        return False
    wait: object = decision.suggested_wait_ms
    return _is_number(decision.confidence) and (wait is None or _is_number(wait))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isnan(value)
