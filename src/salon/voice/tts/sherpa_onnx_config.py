"""Which sherpa-onnx voice speaks, and how it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from salon.base.errors import ConfigurationError
from salon.voice.sherpa import (
    check_compute,
    model_directory,
    model_file,
    onnx_file,
    sherpa_library,
    tokens_file,
)

TYPES: Final = ("vits", "kokoro", "kitten", "matcha")
_NEEDS: Final = {
    "vits": ("sample_rate", "n_speakers", "language", "comment"),
    "kokoro": ("sample_rate", "n_speakers", "style_dim"),
    "kitten": ("sample_rate", "n_speakers", "style_dim"),
    "matcha": ("sample_rate", "n_speakers", "use_eos_bos", "pad_id"),
}


@dataclass
class SherpaOnnxTTSConfig:
    """`model_type` ``vits`` (Piper, MMS, MeloTTS, ...), ``kokoro``, ``kitten`` or ``matcha``.

    `data_dir` is the directory of eSpeak NG's data that comes with Piper and most other voices;
    `lexicon` one or more files, separated by commas; `voices` the ``voices.bin`` of Kokoro and
    Kitten; `vocoder` the second model of Matcha. `voice_names` name the speakers in their order; a
    voice may also be asked for by its number. `sample_rate` is not used: the model tells its own.
    """

    model: str = ""
    tokens: str = ""
    data_dir: str = ""
    lexicon: str = ""
    speaker_id: int = 0
    speed: float = 1.0
    sample_rate: int = 22_050
    num_threads: int = 2
    provider: str = "cpu"
    model_type: str = "vits"
    voices: str = ""
    lang: str = ""
    voice_names: tuple[str, ...] = ()
    vocoder: str = ""

    def __post_init__(self) -> None:
        if self.model_type not in TYPES:
            types = ", ".join(TYPES)
            raise ConfigurationError(f"model_type is {self.model_type!r}, not one of {types}")
        if not 0.2 <= self.speed <= 5.0:
            raise ConfigurationError(f"speed is {self.speed}, not within 0.2..5")
        if self.speaker_id < 0:
            raise ConfigurationError(f"speaker_id is {self.speaker_id}, not 0 or more")
        check_compute(self.num_threads, self.provider)

    def speaker_id_for(self, voice: str | None) -> int:
        """The speaker of that name or number; None is `speaker_id`. `ValueError` for another."""
        if voice is None:
            return self.speaker_id
        if voice in self.voice_names:
            return self.voice_names.index(voice)
        if voice.isascii() and voice.isdecimal():
            return int(voice)
        known = ", ".join(self.voice_names) or "none has a name"
        raise ValueError(f"there is no voice {voice!r}; known are: {known}, and numbers")

    def check(self) -> None:
        """Look at all files. `ConfigurationError` for one that is missing or of another kind."""
        onnx_file(self.model, "model", _NEEDS[self.model_type])
        tokens_file(self.tokens, "tokens")
        if self.data_dir:
            model_directory(self.data_dir, "data_dir")
            model_file(f"{self.data_dir}/phontab", "data_dir")
        for path in filter(None, self.lexicon.split(",")):
            model_file(path, "lexicon")
        if self.model_type in ("kokoro", "kitten"):
            model_file(self.voices, "voices")
        if self.model_type == "matcha":
            onnx_file(self.vocoder, "vocoder")

    def load(self) -> Any:
        """The voice; takes seconds. Call `check` before: the library ends the process over a model
        it cannot use."""
        library = sherpa_library("speech with sherpa-onnx")
        model = library.OfflineTtsModelConfig(num_threads=self.num_threads, provider=self.provider)
        paths = {"tokens": self.tokens, "data_dir": self.data_dir}
        match self.model_type:
            case "vits":
                model.vits = library.OfflineTtsVitsModelConfig(
                    model=self.model, lexicon=self.lexicon, **paths
                )
            case "kokoro":
                model.kokoro = library.OfflineTtsKokoroModelConfig(
                    model=self.model,
                    voices=self.voices,
                    lexicon=self.lexicon,
                    lang=self.lang,
                    **paths,
                )
            case "kitten":
                model.kitten = library.OfflineTtsKittenModelConfig(
                    model=self.model, voices=self.voices, **paths
                )
            case _:
                model.matcha = library.OfflineTtsMatchaModelConfig(
                    acoustic_model=self.model, vocoder=self.vocoder, lexicon=self.lexicon, **paths
                )
        config = library.OfflineTtsConfig(model=model, max_num_sentences=1)
        if not config.validate():
            raise ConfigurationError(
                f"sherpa-onnx refuses the model {self.model!r}; see its output"
            )
        return library.OfflineTts(config)
