"""What the caller's sound passes before it is listened to: `denoise` and `agc` (G63, G140)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from salon.base import MissingExtraError, SalonError
from salon.gateway.commands import HangupReason
from salon.gateway.companions import Companion
from salon.gateway.gain import AdaptiveGain
from salon.gateway.options import AGCOption, CallOption
from salon.media.frame import AudioFrame, Samples
from salon.voice.pipeline.denoiser import DenoiserProvider, SpectralDenoiserProvider

if TYPE_CHECKING:
    from salon.gateway.session import Session

_log = logging.getLogger("salon.gateway")

_STREAM = "call"
Stage = Callable[[Samples], Samples]


class CleaningError(SalonError):
    """The caller's sound cannot be worked on as asked for."""

    code = "cleaning"


def best_denoiser() -> DenoiserProvider:
    """The suppressor of WebRTC if the extra "denoise" or "echo" is installed, else the built-in
    one, which is 20 ms late and costs more."""
    from salon.voice.pipeline.denoiser import WebRTCNoiseSuppressorProvider

    try:
        return WebRTCNoiseSuppressorProvider()
    except MissingExtraError:
        return SpectralDenoiserProvider()


class Cleaner:
    """Stages in their order. One that raises is left out from then on, and `on_failure` told its
    name: the call goes on with the sound as it was."""

    def __init__(
        self, stages: dict[str, Stage], on_failure: Callable[[str], None] = lambda _name: None
    ) -> None:
        self._stages = stages
        self._on_failure = on_failure

    def __call__(self, samples: Samples) -> Samples:
        """``int16[n]`` 16 kHz in, as many out."""
        for name, stage in tuple(self._stages.items()):
            try:
                samples = stage(samples)
            except Exception:  # noqa: BLE001 - the edge to other people's code
                _log.exception("%s failed and is left out", name)
                del self._stages[name]
                self._on_failure(name)
        return samples


class Cleaning(Companion):
    """Noise suppression, then gain, of one call. Whatever listens takes what comes out, so that the
    detector hears what is amplified; the gain follows what it found a moment ago."""

    name = "cleaning"
    serves = frozenset({"denoise", "agc"})

    def __init__(self, denoiser: Callable[[], DenoiserProvider] = best_denoiser) -> None:
        self._make = denoiser
        self._denoiser: DenoiserProvider | None = None
        self._session: Session | None = None

    async def begin(self, session: Session, option: CallOption) -> None:
        """What can't be had is told by its option's name; the other is had all the same."""
        stages: dict[str, Stage] = {}
        self._session = session
        if option.denoise:
            try:
                denoise = self._denoise()
            except SalonError as error:
                session.error("denoise", str(error))
            else:
                stages["denoise"] = denoise
        if option.agc is not None:
            try:
                stages["agc"] = self._gain(session, option, option.agc)
            except CleaningError as error:
                session.error("agc", str(error))
        if stages:
            session.media.clean = Cleaner(stages, self._failed)

    def _denoise(self) -> Stage:
        denoiser = self._denoiser = self._make()
        return lambda samples: denoiser.process(AudioFrame.of(samples), _STREAM).samples

    def _is_speech(self) -> bool:
        """What the detector made of the newest window (G125)."""
        session = self._session
        return session is not None and bool(session.media.hearing.is_speech)

    def _gain(self, session: Session, option: CallOption, agc: AGCOption) -> Stage:
        """G271: without a detector nothing tells speech from noise."""
        if option.vad is None and session.room_id is None:
            raise CleaningError("agc needs vad, the gain is left as it is")
        try:
            return AdaptiveGain(agc, self._is_speech).process
        except ValueError as error:
            raise CleaningError(str(error)) from None

    def _failed(self, name: str) -> None:
        if self._session is not None and not self._session.ending:
            self._session.error(name, "failed, the sound is taken as it is", 500)

    async def end(self, reason: HangupReason | str) -> None:
        """The media is closed: nothing passes any more."""
        del reason
        if self._session is not None and isinstance(self._session.media.clean, Cleaner):
            self._session.media.clean = None
        denoiser, self._denoiser = self._denoiser, None
        if denoiser is not None:
            denoiser.close()
