"""The contract of what carries a participant's voice: a transport and nothing else (V4, V21).

Speech detection, noise, echo and transcripts belong to the pipeline behind `on_audio_received`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from enum import Flag, auto
from typing import Any

from salon.media.frame import AudioChunk
from salon.voice.backends.session import VoiceSession


class VoiceCapability(Flag):
    """What a backend can do beyond carrying sound."""

    NONE = 0
    INTERRUPTION = auto()
    """Playback can be cancelled."""
    BARGE_IN = auto()
    """The backend itself notices sound from the client during playback."""
    NATIVE_AEC = auto()
    """Echo is cancelled by the backend: the pipeline's stage is skipped (V22)."""
    NATIVE_AGC = auto()
    """Gain is controlled by the backend: the pipeline's stage is skipped (V22)."""
    DTMF_INBAND = auto()
    """Keys arrive as tones within the sound."""
    DTMF_SIGNALING = auto()
    """Keys are sent and received beside the sound (RFC 4733)."""
    NATIVE_BRIDGE = auto()
    """The backend can relay sound from call to call."""


AudioCallback = Callable[[VoiceSession, Any], Any]
"""Takes a session and an `AudioFrame`; plain function, called on the event loop."""
SessionCallback = Callable[[VoiceSession], Any]
"""Takes a session; may be a coroutine function."""
AudioReceivedCallback = AudioCallback
AudioPlayedCallback = AudioCallback
BargeInCallback = SessionCallback
SessionReadyCallback = SessionCallback
TransportDisconnectCallback = SessionCallback
SpeakerChangeCallback = Callable[[VoiceSession, Any], Any]
AECTapCallback = Callable[[VoiceSession, str, Any], Any]
"""Takes a session, ``transport_raw`` or ``aec_reference``, and an `AudioFrame`."""


class VoiceBackend(ABC):
    """Carries voice for many sessions.

    What a backend need not offer has a default: registering a callback that will never be called
    does nothing, asking for the impossible raises `NotImplementedError`.
    """

    # -- what it is -------------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """Names the transport in events and logs (V18)."""

    @property
    def capabilities(self) -> VoiceCapability:
        """What it can do beyond carrying sound."""
        return VoiceCapability.NONE

    @property
    def auto_connect(self) -> bool:
        """Whether attaching its channel to a room makes a session (a local microphone does)."""
        return False

    @property
    def feeds_aec_reference(self) -> bool:
        """Whether it gives the echo canceller what is played, in place of the pipeline."""
        return False

    @property
    def supports_playback_callback(self) -> bool:
        """Whether `on_audio_played` callbacks are called."""
        return False

    # -- sessions ---------------------------------------------------------------------------------

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> VoiceSession:
        """Make a session. `NotImplementedError` where sessions only come from outside."""
        raise NotImplementedError(f"{self.name} makes no connections: connect()")

    async def accept(self, session: VoiceSession, connection: Any) -> Any:
        """Give `session` the connection that came from outside; what its protocol answers, if
        anything. `NotImplementedError` where none come."""
        raise NotImplementedError(f"{self.name} takes no connections: accept()")

    @abstractmethod
    async def disconnect(self, session: VoiceSession) -> None:
        """End a session and what carries it; idempotent, tells no callback."""

    def get_session(self, session_id: str) -> VoiceSession | None:
        """A session that has not ended."""
        return None

    def list_sessions(self, room_id: str) -> list[VoiceSession]:
        """The sessions of a room that have not ended."""
        return []

    async def close(self) -> None:  # noqa: B027 - optional to override
        """End every session and let go of everything; idempotent."""

    # -- sound out --------------------------------------------------------------------------------

    @abstractmethod
    async def send_audio(
        self, session: VoiceSession, audio: bytes | AsyncIterator[AudioChunk]
    ) -> None:
        """Play: signed 16-bit samples in the backend's output rate, or chunks as they come. Returns
        when the last is queued, not when it is heard."""

    @abstractmethod
    def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> None:
        """Queue one chunk without waiting, from any thread; a full queue loses its oldest."""

    def interrupt(self, session: VoiceSession) -> None:  # noqa: B027 - optional to override
        """Drop what is queued and end the `send_audio` that fills it."""

    async def cancel_audio(self, session: VoiceSession) -> bool:
        """`interrupt`; whether anything was playing."""
        playing = self.is_playing(session)
        self.interrupt(session)
        return playing

    def is_playing(self, session: VoiceSession) -> bool:
        """Whether something is being sent, or waits for it."""
        return False

    def end_of_response(self, session: VoiceSession) -> None:  # noqa: B027 - optional to override
        """What was sent last ends an answer; for backends whose pacing wants to know."""

    async def wait_playback(self, session: VoiceSession) -> bool:
        """Until what was queued has been played; False if it was dropped instead. True at once
        where nothing is queued."""
        return True

    def send_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        """Press a key: ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D``. `NotImplementedError` without
        `VoiceCapability.DTMF_SIGNALING` (V24)."""
        raise NotImplementedError(f"{self.name} sends no keys: send_dtmf()")

    async def send_transcription(  # noqa: B027 - optional to override
        self, session: VoiceSession, text: str, role: str = "user"
    ) -> None:
        """Show text at the client, where the transport has room for it."""

    # -- sound in ---------------------------------------------------------------------------------

    @property
    def audio_received_callback(self) -> AudioReceivedCallback | None:
        """What `on_audio_received` registered, where a backend keeps one."""
        return None

    @abstractmethod
    def on_audio_received(self, callback: AudioReceivedCallback) -> None:
        """Call `callback(session, frame)` with every `AudioFrame`; the last one registered counts.
        It runs on the event loop between two ticks: it must return at once."""

    def set_input_muted(self, session: VoiceSession, muted: bool) -> None:  # noqa: B027
        """Whether what the participant says is dropped."""

    def set_input_gated(self, session: VoiceSession, gated: bool) -> None:  # noqa: B027
        """Whether it is dropped for now because somebody else is listened to."""

    # -- what happens -----------------------------------------------------------------------------

    def on_session_ready(self, callback: SessionReadyCallback) -> None:  # noqa: B027
        """Call `callback(session)` once sound can pass both ways (V15)."""

    def on_client_disconnected(self, callback: TransportDisconnectCallback) -> None:  # noqa: B027
        """Call `callback(session)` when the far end or the link is gone; the session ends next."""

    def on_transport_disconnect(self, callback: TransportDisconnectCallback) -> None:
        """The same as `on_client_disconnected`."""
        self.on_client_disconnected(callback)

    def on_barge_in(self, callback: BargeInCallback) -> None:  # noqa: B027
        """Call `callback(session)` on sound from the client during playback; only with
        `VoiceCapability.BARGE_IN`."""

    def on_audio_played(self, callback: AudioPlayedCallback) -> None:  # noqa: B027
        """Call `callback(session, frame)` as each frame is heard; only with
        `supports_playback_callback`."""

    def on_speaker_change(self, callback: SpeakerChangeCallback) -> None:  # noqa: B027
        """Call `callback(session, result)` where the transport tells speakers apart."""

    def on_aec_tap(self, callback: AECTapCallback) -> None:  # noqa: B027
        """Call `callback(session, stage, frame)` with what its own echo canceller works on; only
        with `VoiceCapability.NATIVE_AEC` or `feeds_aec_reference`, and not by all of them."""

    def set_trace_emitter(self, emitter: Callable[..., Any] | None) -> None:  # noqa: B027
        """Where to tell of protocol messages, each a `ProtocolTrace`; None ends it (V213)."""
