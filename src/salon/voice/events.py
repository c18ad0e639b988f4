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
    """A stretch of speech is over, or, `lasting`, a stretch of silence has lasted for long (G122,
    G123)."""

    start_ms: int
    duration_ms: int
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The caller began to speak; recognition runs from `start_ms`."""

    index: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The speech of turn `index` is over; its words come in `Final`. `queued`: it was said over an
    agent that may not be interrupted (V125)."""

    index: int
    start_ms: int
    end_ms: int
    queued: bool = False


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """What began as a turn was too short or held no words, or was a backchannel of these `words`,
    perhaps none (V118, V119)."""

    index: int
    start_ms: int
    backchannel: bool = False
    words: str = ""


@dataclass(frozen=True, slots=True)
class Guess:
    """The caller pauses, perhaps at the end of turn `index`: an answer to `text` may be prepared,
    unheard. `Withdrawn` or `Final` follows."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The caller went on: what was prepared for turn `index` is of no use."""

    index: int


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
    language: str | None = None
    """As the engine reported it (V231)."""
    speech_ms: int | None = None
    """How long the speech lasted, without the sound before its onset."""
    queued: bool = False
    """Said over an agent that may not be interrupted (V125)."""


@dataclass(frozen=True, slots=True)
class RecognitionFailed:
    """The words of turn `index` are lost (V96)."""

    index: int
    engine: str
    message: str


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
    cached: bool = False
    """It was made before and only read back."""
    speaker: str | None = None
    sequence: int | None = None
    """Which text of its utterance it was, from 0 on; None for text that came in pieces."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """Words of turn `index` took `duration_ms` from the beginning of its recognition, or, `final`,
    from its end (G116, ``ttfb.asr.<engine>`` and ``completed.asr.<engine>``)."""

    engine: str
    index: int
    duration_ms: int
    final: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A part failed; the call goes on (G37, G82)."""

    sender: str
    message: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class TurnMeasured:
    """How long the answer to turn `index` took, in ms after the true end of the caller's speech:
    until its words were known, the agent's first word, the first sound from the voice, the first
    frame on its way to the caller."""

    index: int
    text: str
    recognised_ms: int
    first_word_ms: int
    first_audio_ms: int
    first_sound_ms: int = 0
    speech_end: float = 0.0
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Level:
    """Sound level, at most ten a second: of what the caller hears, or of the caller; then
    `is_speech` is what the detector makes of it, if there is one."""

    dbfs: float
    outbound: bool = False
    is_speech: bool | None = None


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The caller pressed a key: ``0``-``9``, ``*``, ``#``, ``A``-``D``; once per press (G160)."""

    digit: str
    duration_ms: float = 0.0
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class SpeakerChanged:
    """Another voice on the same line (V77, V246)."""

    speaker_id: str
    confidence: float | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class Paused:
    """Playback was paused, because the caller seems to have something to say."""

    onset_ms: int


MediaEvent = (
    Speaking
    | Silence
    | TurnStarted
    | TurnEnded
    | TurnDropped
    | Guess
    | Withdrawn
    | RecognitionFailed
    | SpeakerChanged
    | Paused
    | Partial
    | Final
    | TrackStarted
    | TrackEnded
    | Interrupted
    | BargeIn
    | Synthesized
    | Recognized
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
    first_sound: float | None = None
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
            after(self.first_sound),
            self.speech_end,
        )
