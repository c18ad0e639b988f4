"""What Deepgram is asked to do with sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from salon.media.frame import SAMPLE_RATE
from salon.models.speech import SpeechHints
from salon.voice.deepgram_wire import BASE_URL

MAX_KEYTERMS: Final = 50
MAX_KEYTERM_CHARS: Final = 1000
"""The service takes 500 tokens of key terms; longer lists are refused."""
_FLAGS: Final = (
    "punctuate",
    "smart_format",
    "numerals",
    "dictation",
    "profanity_filter",
    "detect_entities",
    "diarize",
    "filler_words",
    "multichannel",
    "mip_opt_out",
)
_VALUES: Final = ("version", "diarize_model", "tag")
_LISTS: Final = ("redact", "replace", "keywords", "keyterm", "search", "extra")

Query = list[tuple[str, str]]


@dataclass
class DeepgramConfig:
    """The service's own options under its own names; what is false, None or empty is not sent.

    `endpointing` (ms of silence that end what was said, or false), `utterance_end_ms`,
    `vad_events` and `interim_results` hold for continuous streams: an utterance that is cut by
    Salon has no endpointing of the service. `diarize_model` makes results carry `segments`;
    `diarize` alone only numbers the `words`. `base_url` is for hosts of one's own.
    """

    api_key: str = field(repr=False)
    model: str = "nova-2"
    language: str = "en"
    version: str | None = None
    punctuate: bool = True
    smart_format: bool = True
    numerals: bool = False
    dictation: bool = False
    profanity_filter: bool = False
    redact: list[str] | None = None
    replace: list[str] | None = None
    detect_entities: bool = False
    diarize: bool = False
    diarize_model: str | None = None
    filler_words: bool = False
    multichannel: bool = False
    keywords: list[str] = field(default_factory=list)
    keyterm: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    interim_results: bool = True
    endpointing: int | bool = 300
    utterance_end_ms: int | None = None
    vad_events: bool = True
    tag: str | None = None
    extra: list[str] = field(default_factory=list)
    mip_opt_out: bool = False
    base_url: str = BASE_URL

    def recording_query(self, language: str | None) -> Query:
        """The parameters of a request with a whole recording."""
        query = [("model", self.model)]
        if language and language != "auto":
            query.append(("language", language.replace("_", "-")))
        elif self.language:
            query.append(("language", self.language))
        query += [(name, "true") for name in _FLAGS if getattr(self, name)]
        query += [(name, value) for name in _VALUES if (value := getattr(self, name))]
        return query + [(name, value) for name in _LISTS for value in getattr(self, name) or ()]

    def stream_query(self, language: str | None) -> Query:
        """The parameters of a stream in which the service finds the ends (V91)."""
        query = [*self._sound_query(language), ("endpointing", _spelled(self.endpointing))]
        if self.interim_results:
            query.append(("interim_results", "true"))
        if self.utterance_end_ms is not None:
            query.append(("utterance_end_ms", str(self.utterance_end_ms)))
        if self.vad_events:
            query.append(("vad_events", "true"))
        return query

    def utterance_query(self, language: str | None, hints: SpeechHints, partials: bool) -> Query:
        """The parameters of a stream that holds one utterance."""
        query = [*self._sound_query(language), ("endpointing", "false")]
        if partials:
            query.append(("interim_results", "true"))
        if self.model.startswith("nova-3"):
            query += [("keyterm", phrase) for phrase in _terms(hints, self.keyterm)]
        return query

    def _sound_query(self, language: str | None) -> Query:
        sound = [("encoding", "linear16"), ("sample_rate", str(SAMPLE_RATE)), ("channels", "1")]
        return self.recording_query(language) + sound


def _terms(hints: SpeechHints, known: list[str]) -> list[str]:
    """As many phrases as the service takes beside those of the configuration."""
    terms: list[str] = []
    room = MAX_KEYTERM_CHARS - sum(map(len, known))
    for phrase in hints.phrases:
        room -= len(phrase)
        if room < 0 or len(terms) + len(known) >= MAX_KEYTERMS:
            break
        terms.append(phrase)
    return terms


def _spelled(value: int | bool) -> str:
    return str(value).lower()
