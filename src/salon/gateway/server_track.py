"""The one server track of a call: `tts`, `play`, `interrupt`, `pause`, `resume` (G73-G82)."""

from __future__ import annotations

import base64
import binascii

import numpy as np

from salon.base import SalonError
from salon.gateway.commands import InterruptCommand, PlayCommand, TtsCommand
from salon.gateway.options import SynthesisOption
from salon.gateway.sounds import SoundError, SoundLoader
from salon.media.frame import Samples
from salon.voice.events import Failed, TrackEnded, TrackStarted
from salon.voice.playback import Playback, SoundTrack
from salon.voice.session import MediaSession
from salon.voice.speaking import SpeechTrack
from salon.voice.tts import remove_emoji
from salon.voice.tts.base import TextToSpeech, VoiceSettings

MAX_TEXT = 20_000


class PlaybackError(SalonError):
    """A playback command cannot be carried out; the text goes to the client (G32)."""

    code = "playback"


class ServerTrack:
    """Turns playback commands into playbacks of one `MediaSession`."""

    def __init__(self, media: MediaSession, sounds: SoundLoader) -> None:
        self._media = media
        self._sounds = sounds
        self.option: SynthesisOption | None = None
        """The call's `tts` option."""
        self.answered = False

    def tts(self, command: TtsCommand) -> None:
        """Speak, joining or replacing what plays (G74). Raises `PlaybackError`, or
        `ConfigurationError` if the voice is missing."""
        if len(command.text) > MAX_TEXT and not command.base64:
            raise PlaybackError(f"text is longer than {MAX_TEXT} characters")
        sound = self._decode(command.text) if command.base64 else None
        option = command.option.over(self.option) if command.option else self.option
        if option is None and not self.answered:
            raise PlaybackError("no tts option available")
        engine = self._media.engine.synthesizer(option.provider if option else None)
        settings = self._settings(command, option, engine)
        playback = self._joinable(command)
        if playback is None:
            speech = self._media.speech(engine, settings=settings, play_id=command.play_id)
            playback = Playback(
                SpeechTrack(speech),
                command.play_id,
                streaming=command.streaming and not command.end_of_stream,
            )
            self._media.play(playback)
        track = playback.speech
        if track is None:
            raise PlaybackError("the server track is not speech")
        text = "" if sound is not None else remove_emoji(command.text).strip()
        if sound is not None:
            track.speech.say_sound(sound)
        elif text:
            track.speech.say(text, settings, engine)
        playback.streaming = command.streaming and not command.end_of_stream
        playback.auto_hangup = command.auto_hangup or playback.auto_hangup
        if command.wait_input_timeout is not None:
            playback.wait_input_ms = command.wait_input_timeout

    def _joinable(self, command: TtsCommand) -> Playback | None:
        """The running playback if this text joins it (G74)."""
        running = self._media.player.current
        if running is None or running.speech is None or running.cut:
            return None
        if running.play_id != command.play_id or not running.speech.speech.reopen():
            return None
        return running

    @staticmethod
    def _settings(
        command: TtsCommand, option: SynthesisOption | None, engine: TextToSpeech
    ) -> VoiceSettings:
        wanted = command.speaker or (option.speaker if option else None)
        known = engine.voices()
        voice = wanted if wanted and (not known or wanted in known) else None
        if option is None:
            return VoiceSettings(voice)
        return VoiceSettings(
            voice,
            min(max(option.speed, 0.5), 2.0),
            float(min(max(option.volume, 0), 10)),
            option.language,
        )

    @staticmethod
    def _decode(text: str) -> Samples:
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise PlaybackError(f"text is not base64: {error}") from None
        if len(raw) % 2:
            raise PlaybackError("base64 audio is not a whole number of 16-bit samples")
        return np.frombuffer(raw, dtype="<i2").astype(np.int16)

    async def play(self, command: PlayCommand) -> None:
        """Play a file or URL (G80); a load failure is told by `error` and `trackEnd`."""
        playback = Playback(
            SoundTrack(np.zeros(0, dtype=np.int16)),
            command.identity,
            auto_hangup=command.auto_hangup,
            wait_input_ms=command.wait_input_timeout,
        )
        try:
            samples = await self._sounds.load(command.url)
        except SoundError as error:
            self._media.interrupt()
            post = self._media.events.post
            post(TrackStarted(command.identity, playback.ssrc))
            post(Failed(f"filetrack: {command.url}", str(error)))
            post(TrackEnded(command.identity, playback.ssrc, 0))
            return
        playback.track = SoundTrack(samples, command.offset_ms)
        self._media.play(playback)

    def interrupt(self, command: InterruptCommand) -> None:
        """Stop what plays; nothing plays: nothing happens (G76)."""
        self._media.interrupt(graceful=command.graceful, fade_ms=command.fade_out_ms or 0)

    def pause(self) -> None:
        """Freeze (G77); `PlaybackError` without a server track."""
        if not self._media.player.pause():
            raise PlaybackError("track not found: nothing plays")

    def resume(self) -> None:
        """Go on (G77); `PlaybackError` without a server track."""
        if not self._media.player.resume():
            raise PlaybackError("track not found: nothing plays")
