"""Which sherpa-onnx model recognises, and how it is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from salon.base.errors import ConfigurationError
from salon.voice.sherpa import check_compute, onnx_file, sherpa_library, tokens_file

_STREAMING: Final = ("transducer", "paraformer", "zipformer2_ctc", "nemo_ctc")
_WHOLE: Final = ("whisper", "moonshine", "sense_voice", "offline_paraformer", "offline_nemo_ctc")
MODES: Final = (*_STREAMING, *_WHOLE)
_PARTS: Final = {
    "transducer": ("encoder", "decoder", "joiner"),
    "paraformer": ("encoder", "decoder"),
    "whisper": ("encoder", "decoder"),
    "moonshine": ("encoder", "decoder"),
}
_NEEDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "transducer": {"encoder": ("model_type",), "decoder": ("vocab_size", "context_size")},
    "zipformer2_ctc": {"model": ("encoder_dims", "decode_chunk_len", "T", "left_context_len")},
    "paraformer": {"encoder": ("vocab_size", "lfr_window_size")},
    "sense_voice": {"model": ("vocab_size",)},
    "nemo_ctc": {"model": ("window_size", "chunk_shift", "vocab_size")},
    "offline_nemo_ctc": {"model": ("vocab_size", "subsampling_factor")},
    "offline_paraformer": {"model": ("vocab_size", "lfr_window_size")},
    "whisper": {"encoder": ("n_mels", "sot_sequence")},
}


@dataclass
class SherpaOnnxSTTConfig:
    """Paths of a model's files, and how it is run.

    `mode` ``transducer`` (zipformer and others), ``paraformer``, ``zipformer2_ctc`` and
    ``nemo_ctc`` hear while somebody speaks and give interim results; ``whisper``, ``moonshine``,
    ``sense_voice``, ``offline_paraformer`` and ``offline_nemo_ctc`` hear the whole utterance at its
    end, as does a ``transducer`` with `model_type` (``nemo_transducer``, ``transducer``). Models of
    one file have it in `model`, the others in `encoder`, `decoder` and `joiner`; all have `tokens`.

    `language` and `task` are Whisper's and SenseVoice's; `stream_language` is for models that are
    told a language with each utterance. The ``rule`` times are seconds. `tail_padding_s` of silence
    follows an utterance, or a streaming model keeps its last word to itself.
    """

    mode: str = "transducer"
    tokens: str = ""
    encoder: str = ""
    decoder: str = ""
    joiner: str = ""
    model_type: str = ""
    language: str = "en"
    stream_language: str = ""
    task: str = "transcribe"
    sample_rate: int = 16_000
    num_threads: int = 2
    provider: str = "cpu"
    enable_endpoint_detection: bool = True
    rule1_min_trailing_silence: float = 2.4
    rule2_min_trailing_silence: float = 1.2
    rule3_min_utterance_length: float = 20.0
    tail_padding_s: float = 0.66
    model: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigurationError(f"mode is {self.mode!r}, not one of {', '.join(MODES)}")
        if self.task not in ("transcribe", "translate"):
            raise ConfigurationError(f"task is {self.task!r}, not transcribe or translate")
        if not 8_000 <= self.sample_rate <= 48_000:
            raise ConfigurationError(f"sample_rate is {self.sample_rate}, not 8000 to 48000")
        if not (math.isfinite(self.tail_padding_s) and 0 <= self.tail_padding_s <= 10):
            raise ConfigurationError(f"tail_padding_s is {self.tail_padding_s}, not within 0..10")
        check_compute(self.num_threads, self.provider)

    @property
    def streams(self) -> bool:
        """Whether the model hears while somebody speaks."""
        return self.mode in _STREAMING and not (self.mode == "transducer" and self.model_type)

    def check(self) -> None:
        """Look at all files. `ConfigurationError` for one that is missing or of another kind."""
        needs = _NEEDS.get(self.mode, {}) if self.streams or self.mode != "transducer" else {}
        for part in _PARTS.get(self.mode, ("model",)):
            onnx_file(getattr(self, part), part, needs.get(part, ()))
        tokens_file(self.tokens, "tokens")

    def load(self) -> Any:
        """The recogniser; takes seconds. Call `check` before: the library ends the process over a
        model it cannot use."""
        library = sherpa_library("recognition with sherpa-onnx")
        return self._online(library) if self.streams else self._offline(library)

    def _files(self) -> dict[str, Any]:
        parts = _PARTS.get(self.mode, ("model",))
        made: dict[str, Any] = {part: getattr(self, part) for part in parts}
        return made | {
            "tokens": self.tokens,
            "num_threads": self.num_threads,
            "provider": self.provider,
        }

    def _online(self, library: Any) -> Any:
        make = getattr(library.OnlineRecognizer, f"from_{self.mode}")
        return make(
            **self._files(),
            sample_rate=self.sample_rate,
            enable_endpoint_detection=self.enable_endpoint_detection,
            rule1_min_trailing_silence=self.rule1_min_trailing_silence,
            rule2_min_trailing_silence=self.rule2_min_trailing_silence,
            rule3_min_utterance_length=self.rule3_min_utterance_length,
        )

    def _offline(self, library: Any) -> Any:
        recognizer, files = library.OfflineRecognizer, self._files()
        match self.mode:
            case "transducer":
                return recognizer.from_transducer(
                    **files, sample_rate=self.sample_rate, model_type=self.model_type
                )
            case "whisper":
                return recognizer.from_whisper(**files, language=self.language, task=self.task)
            case "moonshine":
                return recognizer.from_moonshine_v2(**files)
            case "sense_voice":
                return recognizer.from_sense_voice(**files, language=self.language)
            case "offline_paraformer":
                files["paraformer"] = files.pop("model")
                return recognizer.from_paraformer(**files)
            case _:
                return recognizer.from_nemo_ctc(**files)
