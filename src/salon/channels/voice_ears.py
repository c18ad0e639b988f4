"""What a voice channel listens for on the lines of its backends."""

from __future__ import annotations

from dataclasses import replace

from salon.base import ConfigurationError, TaskScope
from salon.channels.voice_modes import RecognitionModes
from salon.channels.voice_people import Caller
from salon.transport.ticker import Ticker
from salon.voice.backends.session import VoiceSession
from salon.voice.engine import VoiceEngine
from salon.voice.hearing import HearingConfig
from salon.voice.interruption import InterruptionConfig, classifier_of, turn_config_of
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.vad.silero import SileroVADProvider
from salon.voice.stt.base import SpeechToText
from salon.voice.vad.batch import BatchedVad
from salon.voice.vad.model import SileroModel


def engine_for(config: AudioPipelineConfig | None) -> VoiceEngine:
    """What a channel on its own needs: a ticker, and the built-in detector if it is asked for."""
    built_in = config is not None and isinstance(config.vad, SileroVADProvider)
    model = SileroModel.load() if built_in else None
    return VoiceEngine(vad=BatchedVad(model), ticker=Ticker())


class Ears:
    """Turns a pipeline's configuration into what each line listens for.

    The built-in detector runs batched over all calls of the process, in place of the stage; any
    other detector stays in the pipeline, and its events drive the turns. `ConfigurationError` for
    what can't work together (V214, V234).
    """

    def __init__(
        self,
        engine: VoiceEngine,
        recognizer: SpeechToText | None,
        config: AudioPipelineConfig | None,
        interruption: InterruptionConfig,
        *,
        own_engine: bool,
        batch: bool = False,
        speculate_after_ms: int | None = None,
    ) -> None:
        self._own = own_engine
        self._engine = engine
        self._recognizer = recognizer
        self._interruption = interruption
        self.batch = batch
        self._started = False
        self._languages: dict[str, str] = {}
        vad = config.vad if config is not None else None
        self._foreign = vad is not None and not isinstance(vad, SileroVADProvider)
        self._has_vad = vad is not None or (not own_engine and recognizer is not None and not batch)
        if batch and vad is not None:
            raise ConfigurationError("batch_mode has no detector: pass a pipeline without vad")
        if batch and recognizer is None:
            raise ConfigurationError("batch_mode needs stt")
        continuous = (
            not batch
            and not self._has_vad
            and recognizer is not None
            and recognizer.supports_streaming is True
        )
        if recognizer is not None and recognizer.supports_diarization is True and not continuous:
            raise ConfigurationError(
                f"{recognizer.name} labels speakers, and labels hold within one stream (V234): it "
                "needs a channel that recognises continuously, without vad and batch_mode"
            )
        detector = interruption.backchannel_detector
        if detector is None and config is not None:
            detector = config.backchannel_detector
        self._detector = detector
        self.modes = RecognitionModes(
            recognizer, interruption, detector, batch=batch, continuous=continuous
        )
        settings = config.vad_config if config is not None else None
        if settings is None and isinstance(vad, SileroVADProvider):
            settings = vad.config
        partials = recognizer is not None and recognizer.supports_partials
        turns = turn_config_of(interruption, settings, partials=partials)
        self._turns = replace(turns, speculate_after_ms=speculate_after_ms)
        if isinstance(vad, SileroVADProvider) and config is not None:
            config = replace(config, vad=None)
        self.pipeline = config

    def listening(self, session: VoiceSession) -> HearingConfig:
        """What to listen for on one line."""
        detector = self._detector
        return HearingConfig(
            turns=self._turns if self._has_vad else None,
            recognizer=self._recognizer,
            language=self._languages.get(session.id),
            external_vad=self._foreign,
            classify=None if detector is None else classifier_of(detector, session_id=session.id),
        )

    def join(self, caller: Caller) -> None:
        """Listen to a caller without a detector, if that is how the channel listens."""
        self.modes.attach(caller, self._languages.get(caller.session.id))

    def claimed(self, caller: Caller) -> None:
        """The transport noticed a caller's speech over the agent (V115, V122)."""
        session = caller.session
        if not session.barred and not session.muted:
            session.hearing.transport_barge_in()
            self.modes.claimed(caller)

    def leave(self, caller: Caller) -> None:
        """A caller is gone, and what was set for them; idempotent."""
        self.modes.detach(caller)
        self._languages.pop(caller.session.id, None)

    def start(self, scope: TaskScope) -> None:
        """Have the recogniser begin, once."""
        if self._recognizer is not None and not self._started:
            self._started = True
            scope.spawn(self._recognizer.start(), name="recogniser")
        self._engine.start()

    async def close(self) -> None:
        """Leave the ticker if the engine is the channel's own."""
        if self._own:
            self._engine.stop()

    def set_language(self, session_id: str, language: str | None) -> None:
        """For a session's next utterances; None: the recogniser's own. `RecognitionModeError` where
        the recogniser takes none."""
        self.modes.set_language(session_id, language)
        if language is None:
            self._languages.pop(session_id, None)
        else:
            self._languages[session_id] = language

    def language(self, session_id: str) -> str | None:
        return self._languages.get(session_id)
