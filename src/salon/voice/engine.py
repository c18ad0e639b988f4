"""What all calls of a process share: voice activity detection, the ticker, the speech engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError
from salon.models.speech import NO_HINTS, SpeechHints
from salon.transport.ticker import Phase, Ticker, TickHandle
from salon.voice.stt.base import SpeechToText
from salon.voice.tts.base import TextToSpeech
from salon.voice.vad.batch import BatchedVad


@dataclass(slots=True)
class VoiceEngine:
    """Process-wide services of the media plane.

    `recognizers` and `synthesizers` map provider names to engines; ``""`` is the default one. A
    missing engine leaves its reason in `missing` under ``"recognition"`` or ``"synthesis"``, and
    the command that needs it fails with that text.
    """

    vad: BatchedVad
    ticker: Ticker
    recognizers: Mapping[str, SpeechToText] = field(default_factory=dict)
    synthesizers: Mapping[str, TextToSpeech] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = SYSTEM_CLOCK
    hints: Callable[[], SpeechHints] = lambda: NO_HINTS
    on_decoder_wait: Callable[[float], None] = lambda _seconds: None
    _vad_tick: TickHandle | None = None

    def start(self) -> None:
        """Hook the batched detector into the ticker; idempotent."""
        if self._vad_tick is None:
            self._vad_tick = self.ticker.add(lambda _tick: self._run_vad(), phase=Phase.INBOUND)

    def _run_vad(self) -> None:
        self.vad.run()

    def stop(self) -> None:
        """Leave the ticker; idempotent."""
        if self._vad_tick is not None:
            self._vad_tick.cancel()
            self._vad_tick = None

    def recognizer(self, provider: str | None = None) -> SpeechToText:
        """The engine for a provider name; raises `ConfigurationError` naming what is missing."""
        engine = self.recognizers.get(provider or "") or self.recognizers.get("")
        if engine is None:
            raise ConfigurationError(
                self.missing.get("recognition")
                or 'no recogniser is installed: pip install "salon[recognition]"'
            )
        return engine

    def synthesizer(self, provider: str | None = None) -> TextToSpeech:
        """The engine for a provider name; raises `ConfigurationError` (G82)."""
        if provider and provider not in self.synthesizers:
            raise ConfigurationError(f"TTS type not found: {provider}")
        engine = self.synthesizers.get(provider or "")
        if engine is None:
            raise ConfigurationError(
                self.missing.get("synthesis")
                or 'no voice is installed: pip install "salon[espeak]"'
            )
        return engine
