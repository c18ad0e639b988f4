"""The same mixer under the name that says how it computes."""

from __future__ import annotations

from salon.voice.pipeline.mixer.python import PythonMixerProvider


class NumpyMixerProvider(PythonMixerProvider):
    """`PythonMixerProvider`, which uses numpy too."""

    @property
    def name(self) -> str:
        return "numpy"
