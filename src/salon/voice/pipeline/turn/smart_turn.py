"""A turn detector that listens: smart-turn v3 models in ONNX format, brought by the user."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from salon.base import ConfigurationError, MissingExtraError
from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector

logger = logging.getLogger(__name__)

SECONDS = 8
"""The model hears the last 8 s; what is shorter is padded with silence in front."""

INPUT = "input_features"


@dataclass
class SmartTurnConfig:
    """Raises `ConfigurationError` when a value makes no sense."""

    model_path: str
    """A smart-turn v3 ONNX file. None comes with Salon."""
    threshold: float = 0.5
    """A turn at least this probably complete is complete."""
    num_threads: int = 1
    provider: str = "cpu"
    """``cpu``, ``cuda`` or ``coreml``."""
    fallback_on_no_audio: bool = True
    """Without sound the turn is complete with confidence 0.0; False: incomplete."""
    max_consecutive_failures: int = 3
    """After so many failed inferences in a row the model is not asked again before `reset`; each
    such turn is complete with confidence 0.0."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ConfigurationError(f"threshold is {self.threshold}; it must lie between 0 and 1")
        if self.num_threads < 1 or self.max_consecutive_failures < 1:
            raise ConfigurationError("num_threads and max_consecutive_failures must be 1 or more")
        if self.provider not in _PROVIDERS:
            raise ConfigurationError(
                f"provider is {self.provider!r}; it must be one of {', '.join(_PROVIDERS)}"
            )


_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}


class SmartTurnDetector(TurnDetector):
    """Judges the intonation of the last 8 s, not the words. Keeps nothing of a session.

    `config` may be just the path of the model. Needs the extra ``smart-turn``
    (`MissingExtraError`). Raises `ConfigurationError` when there is no such file, it is no model,
    or not one that takes ``float32[1, 80, 800]``. The model is loaded when the object is made.
    """

    def __init__(self, config: SmartTurnConfig | str | Path) -> None:
        if not isinstance(config, SmartTurnConfig):
            config = SmartTurnConfig(str(config))
        self._config = config
        self._session: Any = _load(config)
        self.failures = 0
        """Inferences that failed, ever."""
        self._row = 0

    @property
    def name(self) -> str:
        return "SmartTurnDetector"

    def evaluate(self, context: TurnContext) -> TurnDecision:
        """Raises `ConfigurationError` when the sound is not whole samples of 1 Hz or more."""
        if not context.audio_bytes:
            complete = self._config.fallback_on_no_audio
            return TurnDecision(is_complete=complete, confidence=0.0, reason="no audio")
        if self._session is None or self._row >= self._config.max_consecutive_failures:
            return TurnDecision(is_complete=True, confidence=0.0, reason="model unavailable")
        features = features_of(context.audio_bytes, context.audio_sample_rate)
        try:
            (output, *_) = self._session.run(None, {INPUT: features})
        except _runtime_errors() as error:
            return self._failed(error)
        self._row = 0
        probability = float(output.reshape(-1)[0])
        complete = probability >= self._config.threshold
        return TurnDecision(
            is_complete=complete,
            confidence=probability if complete else 1.0 - probability,
            reason="prosody",
        )

    def reset(self) -> None:
        self._row = 0

    def close(self) -> None:
        self._session = None

    def _failed(self, error: Exception) -> TurnDecision:
        self.failures += 1
        self._row += 1
        if self._row == self._config.max_consecutive_failures:
            logger.error("the smart-turn model failed %d times in a row: %s", self._row, error)
        return TurnDecision(is_complete=True, confidence=0.0, reason="model failed")


def features_of(audio: bytes, sample_rate: int) -> Any:
    """``float32[1, 80, 800]`` of the last 8 s of mono pcm_s16le."""
    import numpy as np

    from salon.media.resample import resample
    from salon.voice.pipeline.turn.mel import SAMPLE_RATE, log_mel, normalised

    if len(audio) % 2 or sample_rate < 1:
        raise ConfigurationError(
            f"{len(audio)} bytes at {sample_rate} Hz are no 16-bit samples to judge"
        )
    samples = np.frombuffer(audio, dtype=np.int16)[-SECONDS * sample_rate :]
    if sample_rate != SAMPLE_RATE:
        samples = resample(samples, sample_rate, SAMPLE_RATE)
    sound = np.zeros(SECONDS * SAMPLE_RATE)
    samples = samples[-len(sound) :]
    sound[len(sound) - len(samples) :] = samples / 32768.0
    return log_mel(normalised(sound))[None]


def _load(config: SmartTurnConfig) -> Any:
    try:
        import_module("numpy")
        onnxruntime = import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError("smart-turn", "SmartTurnDetector") from error
    path = Path(config.model_path)
    if not path.is_file():
        raise ConfigurationError(f"model_path is {config.model_path!r}; there is no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=[_PROVIDERS[config.provider]]
        )
    except _runtime_errors() as error:
        raise ConfigurationError(f"{config.model_path!r} is no ONNX model: {error}") from error
    inputs = {put.name: list(put.shape) for put in session.get_inputs()}
    if list(inputs) != [INPUT] or not _fits(inputs[INPUT]):
        raise ConfigurationError(
            f"{config.model_path!r} takes {inputs}; a smart-turn v3 model takes "
            f"{INPUT} [batch, 80, 800]"
        )
    return session


def _fits(shape: list[int | str]) -> bool:
    """Whether the dimensions are those of the features; one without a number takes any."""
    wanted = (1, 80, 800)
    return len(shape) == len(wanted) and all(
        isinstance(size, str) or size == want for size, want in zip(shape, wanted, strict=True)
    )


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What the runtime raises: its error types have no common base below `Exception`."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    kinds = (getattr(state, name) for name in dir(state))
    own = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))
    return (RuntimeError, ValueError, *own)
