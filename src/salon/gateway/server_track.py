"""The one server track of a call: `tts`, `play`, `interrupt`, `pause`, `resume` (G73-G82)."""

from __future__ import annotations

import base64
import binascii

import numpy as np

from salon.base import ConfigurationError, SalonError
from salon.gateway.ahead import SpeechAhead
from salon.gateway.commands import InterruptCommand, PlayCommand, TtsCommand
from salon.gateway.options import SynthesisOption
from salon.gateway.rights import ALL_RIGHTS, CallRights, permitted_voice
from salon.gateway.sounds import SoundError, SoundLoader
from salon.gateway.spoken_text import SpokenText
from salon.gateway.voices import Voices
from salon.media.frame import Samples
from salon.voice.events import Failed, TrackEnded, TrackStarted
from salon.voice.playback import Playback, SoundTrack
from salon.voice.session import MediaSession
from salon.voice.speaking import Speech, SpeechTrack
from salon.voice.tts import remove_emoji
from salon.voice.tts.base import TextToSpeech, VoiceSettings

MAX_TEXT = 20_000

_Voice = tuple[TextToSpeech, VoiceSettings]


class PlaybackError(SalonError):
    """A playback command cannot be carried out; the text goes to the client (G32)."""

    code = "playback"


class ServerTrack:
    """Turns playback commands into playbacks of one `MediaSession`."""

    def __init__(
        self,
        media: MediaSession,
        sounds: SoundLoader,
        voices: Voices,
        rights: CallRights = ALL_RIGHTS,
    ) -> None:
        self._media = media
        self._sounds = sounds
        self._voices = voices
        self._rights = rights
        self._streamed: tuple[Playback, SpokenText] | None = None
        self._voice: _Voice | None = None
        """What speaks the streamed text."""
        self._ahead: tuple[Playback, SpeechAhead] | None = None
        """Pieces of the running playback that are made beforehand."""
        self._tasks = 1
        """Syntheses that may run at once, as the newest command says (G142)."""
        self._ringtone: Playback | None = None
        self.option: SynthesisOption | None = None
        """The call's `tts` option."""
        self.answered = False

    # -- speech -----------------------------------------------------------------------------------

    def tts(self, command: TtsCommand) -> None:
        """Speak, joining or replacing what plays (G74). Raises `PlaybackError`, or
        `ConfigurationError` if there is no such voice."""
        if len(command.text) > MAX_TEXT and not command.base64:
            raise PlaybackError(f"text is longer than {MAX_TEXT} characters")
        sound = self._decode(command.text) if command.base64 else None
        text = "" if sound is not None else remove_emoji(command.text)
        voice, broken = None, None
        if text.strip():
            try:
                voice = self._choose(command)
            except (PlaybackError, ConfigurationError):
                raise
            except SalonError as error:  # the engine cannot start (G82)
                broken = error
        joined = self._joinable(command)
        playback, speech = joined or self._attach(command, voice)
        if broken is not None:
            self._media.events.post(Failed("tts", str(broken), 500))
        self._say(command, playback, speech, text, voice, sound)
        if joined:
            playback.auto_hangup = command.auto_hangup or playback.auto_hangup
        if command.wait_input_timeout is not None:
            playback.wait_input_ms = command.wait_input_timeout

    def _choose(self, command: TtsCommand) -> _Voice:
        option = self.option
        if command.option is not None:
            option = permitted_voice(command.option, self._rights).over(option)
        if option is None and not self.answered:
            raise PlaybackError("no tts option available")
        self._tasks = (option.max_concurrent_tasks if option is not None else None) or 1
        if not self._rights.files:  # what others will hear under a name is not theirs to say
            command = command.model_copy(update={"cache_key": None})
        return self._voices.voice(option, command)

    def _attach(self, command: TtsCommand, voice: _Voice | None) -> tuple[Playback, Speech]:
        engine, settings = voice if voice is not None else (None, VoiceSettings())
        speech = self._media.speech(engine, settings=settings, play_id=command.play_id)
        playback = Playback(
            SpeechTrack(speech),
            command.play_id,
            auto_hangup=command.auto_hangup,
            streaming=_goes_on(command),
        )
        self._media.play(playback)
        return playback, speech

    def _say(
        self,
        command: TtsCommand,
        playback: Playback,
        speech: Speech,
        text: str,
        voice: _Voice | None,
        sound: Samples | None,
    ) -> None:
        """What is kept of streamed text goes out before anything of another kind."""
        streamed = self._text_of(playback, speech)
        if voice is not None and voice != self._voice:
            streamed.flush()  # in the voice it was meant for
            self._voice = voice
        if sound is not None:
            streamed.flush()
            speech.say_sound(sound)
        elif voice is not None and command.streaming:
            streamed.feed(text)
        elif voice is not None:
            streamed.flush()
            said = text.strip()
            engine = self._engine(playback, said, voice)
            speech.say(said, voice[1], engine, sequence=playback.texts)
            playback.texts += 1
        if not _goes_on(command):
            streamed.flush()
        playback.streaming = _goes_on(command)

    def _text_of(self, playback: Playback, speech: Speech) -> SpokenText:
        """The text of the running playback; that of another is forgotten."""
        if self._streamed is not None:
            running, text = self._streamed
            if running is playback:
                return text
            text.drop()

        def say(sentence: str) -> None:
            if self._voice is not None and not playback.cut:
                engine = self._engine(playback, sentence, self._voice)
                speech.say(sentence, self._voice[1], engine)

        self._voice = None
        self._streamed = playback, SpokenText(say)
        return self._streamed[1]

    def _engine(self, playback: Playback, text: str, voice: _Voice) -> TextToSpeech:
        """What speaks a piece: the voice, or the voice that has begun with it already."""
        engine, settings = voice
        if self._ahead is not None and self._ahead[0] is not playback:
            self._give_up()
        if self._ahead is None:
            if self._tasks <= 1:
                return engine
            self._ahead = playback, SpeechAhead(self._media.scope, self._tasks)
        ahead = self._ahead[1]
        ahead.allow(self._tasks)
        return ahead.piece(engine, text, settings)

    def _give_up(self) -> None:
        """Nothing that was made beforehand and is not being spoken will be."""
        if self._ahead is not None:
            self._ahead[1].drop()
            self._ahead = None

    def ended(self, ssrc: int) -> None:
        """The playback with this number plays no more."""
        if self._ahead is not None and self._ahead[0].ssrc == ssrc:
            self._give_up()
        if self._streamed is not None and self._streamed[0].ssrc == ssrc:
            self._streamed[1].drop()
            self._streamed = None

    def _joinable(self, command: TtsCommand) -> tuple[Playback, Speech] | None:
        """The running playback if this text joins it (G74)."""
        running = self._media.player.current
        if running is None or running.speech is None or running.cut:
            return None
        speech = running.speech.speech
        if running.play_id != command.play_id or not speech.reopen():
            return None
        return running, speech

    @staticmethod
    def _decode(text: str) -> Samples:
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise PlaybackError(f"text is not base64: {error}") from None
        if len(raw) % 2:
            raise PlaybackError("base64 audio is not a whole number of 16-bit samples")
        return np.frombuffer(raw, dtype="<i2").astype(np.int16)

    # -- sounds -----------------------------------------------------------------------------------

    async def play(self, command: PlayCommand) -> Playback | None:
        """Play a file or URL (G80); a load failure is told by `error` and `trackEnd`, then nothing
        plays and None comes back. Raises `PlaybackError` if the call may not read files."""
        if not self._rights.files and not command.url.lower().startswith(("http://", "https://")):
            raise PlaybackError("this call may not play files of the server")
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
            post(
                TrackEnded(
                    command.identity,
                    playback.ssrc,
                    0,
                    playback.auto_hangup,
                    playback.wait_input_ms,
                )
            )
            return None
        playback.track = SoundTrack(samples, command.offset_ms)
        self._media.play(playback)
        return playback

    async def ring(self, url: str) -> None:
        """Play a ringing tone until the call is answered, or something else plays."""
        self._ringtone = await self.play(PlayCommand(url=url))

    def stop_ringing(self) -> bool:
        """The call is answered; whether a ringing tone was still playing."""
        ringtone, self._ringtone = self._ringtone, None
        if ringtone is None or self._media.player.current is not ringtone:
            return False
        self._media.interrupt()
        return True

    # -- both -------------------------------------------------------------------------------------

    def interrupt(self, command: InterruptCommand) -> None:
        """Stop what plays; nothing plays: nothing happens (G76)."""
        self._media.interrupt(graceful=command.graceful, fade_ms=command.fade_out_ms or 0)
        playing = self._media.player.current
        if playing is not None and playing.last_piece is not None:
            self._give_up()  # nothing follows the piece that ends now

    def mute(self, muted: bool) -> None:
        """Silence what plays now, and only that (G87)."""
        if self._media.player.current is not None:
            self._media.player.current.muted = muted

    def pause(self) -> None:
        """Freeze (G77); `PlaybackError` without a server track, `NotPausableError` if it can't."""
        if not self._media.player.pause():
            raise PlaybackError("track not found: nothing plays")

    def resume(self) -> None:
        """Go on (G77); `PlaybackError` without a server track."""
        if not self._media.player.resume():
            raise PlaybackError("track not found: nothing plays")


def _goes_on(command: TtsCommand) -> bool:
    """More text may come for this track."""
    return command.streaming and not command.end_of_stream
