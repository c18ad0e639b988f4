"""What a `MediaSession` tells the event plane.

All instants are milliseconds since the epoch on the call's sample clock: arrival of the first
packet plus samples heard (G121).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Speaking:
    """The caller has been speaking long enough to count (G122)."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch of speech (or, with a silence timeout, of silence) is over (G122, G123)."""

    start_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The caller began to speak; recognition runs from `start_ms`."""

    index: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """What began as a turn was too short or held no words."""

    index: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class Partial:
    """Interim words of turn `index`; replaces the one before."""

    index: int
    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Final:
    """The words of turn `index`. `recognition_ms` is the time from the decision to the text."""

    index: int
    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None
    recognition_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class TrackStarted:
    """Playback `ssrc` was attached (G115)."""

    play_id: str | None
    ssrc: int


@dataclass(frozen=True, slots=True)
class TrackEnded:
    """Playback `ssrc` is over; `duration_ms` is wall time (G114)."""

    play_id: str | None
    ssrc: int
    duration_ms: int
    auto_hangup: bool = False
    wait_input_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A speech playback was cut (G113). `heard` is the text played in full words."""

    play_id: str | None
    ssrc: int
    subtitle: str
    position: int | None
    total_ms: int
    current_ms: int
    heard: str


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The caller talked over the agent and the strategy says stop; `onset_ms` is the start of the
    speech that did it."""

    onset_ms: int


@dataclass(frozen=True, slots=True)
class Synthesized:
    """A piece of text has become sound (G116, ``completed.tts.<engine>``)."""

    engine: str
    play_id: str | None
    length_bytes: int
    first_byte_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A part failed; the call goes on (G37, G82)."""

    sender: str
    message: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class TurnMeasured:
    """How long the answer to turn `index` took, in ms after the true end of the caller's speech."""

    index: int
    text: str
    recognised_ms: int
    first_word_ms: int
    first_audio_ms: int


@dataclass(frozen=True, slots=True)
class Level:
    """Sound level of the caller, at most ten a second."""

    dbfs: float


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The caller pressed a key: ``0``-``9``, ``*``, ``#``, ``A``-``D``; once per press (G160)."""

    digit: str


MediaEvent = (
    Speaking
    | Silence
    | TurnStarted
    | TurnDropped
    | Partial
    | Final
    | TrackStarted
    | TrackEnded
    | Interrupted
    | BargeIn
    | Synthesized
    | Failed
    | TurnMeasured
    | Level
    | Dtmf
)


@dataclass(slots=True)
class TurnClock:
    """Monotonic seconds at which the stages of one turn were reached; None = not yet."""

    index: int
    speech_end: float
    recognised: float | None = None
    first_word: float | None = None
    text: str = field(default="")

    def measured(self, first_audio: float) -> TurnMeasured:
        """The finished measurement."""

        def after(instant: float | None) -> int:
            return round(((first_audio if instant is None else instant) - self.speech_end) * 1000)

        return TurnMeasured(
            self.index,
            self.text,
            after(self.recognised),
            after(self.first_word),
            after(first_audio),
        )
