"""A voice backend without a network: what was sent is recorded, what is heard is simulated (V25).

For tests that want to look at every call. Where sound should flow in real or virtual time, with
loss or delay, take `salon.voice.backends.pair`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from salon.base import new_id
from salon.media.frame import AudioChunk, AudioFrame
from salon.voice.backends.base import (
    AudioReceivedCallback,
    BargeInCallback,
    SessionReadyCallback,
    TransportDisconnectCallback,
    VoiceBackend,
    VoiceCapability,
)
from salon.voice.backends.dtmf import DTMFEvent, DTMFReceivedCallback
from salon.voice.backends.session import VoiceSession, VoiceSessionState

_log = logging.getLogger("salon.voice")


@dataclass
class MockVoiceCall:
    """One call of a method, with the arguments worth comparing."""

    method: str
    args: dict[str, Any] = field(default_factory=dict)


class MockVoiceBackend(VoiceBackend):
    """Records what it is told and plays the client when asked to.

    Sessions are `ACTIVE` at once; `get_session` still knows one that has ended. Playback is not
    simulated: `is_playing` is what `start_playing` and `stop_playing` say. `simulate_...` awaits
    the callbacks one after another; one that raises stops no other: it is logged and kept in
    `errors`. Keys are recorded with any capabilities, for programs written against this mock's
    namesake; a real backend without `DTMF_SIGNALING` refuses them (V24), and so does this one with
    ``refuse_dtmf=True``.
    """

    def __init__(
        self,
        *,
        capabilities: VoiceCapability = VoiceCapability.NONE,
        refuse_dtmf: bool = False,
    ) -> None:
        self.calls: list[MockVoiceCall] = []
        """Every call, in order."""
        self.sent_audio: list[tuple[str, bytes]] = []
        """Session id and samples, once for each `send_audio` that came to its end and each
        `send_audio_sync`."""
        self.sent_chunks: list[tuple[str, AudioChunk]] = []
        """Session id and chunk as each was read, also of streams that were cut off."""
        self.sent_dtmf: list[tuple[str, str, int]] = []
        """Session id, digit, milliseconds."""
        self.sent_transcriptions: list[tuple[str, str, str]] = []
        """Session id, text, role."""
        self.errors: list[BaseException] = []
        """What callbacks raised."""
        self._capabilities = capabilities
        self._refuse_dtmf = refuse_dtmf
        self._sessions: dict[str, VoiceSession] = {}
        self._playing: set[str] = set()
        self._heard: list[AudioReceivedCallback] = []
        self._on_barge_in: list[BargeInCallback] = []
        self._on_ready: list[SessionReadyCallback] = []
        self._on_gone: list[TransportDisconnectCallback] = []
        self._on_dtmf: list[DTMFReceivedCallback] = []

    def _record(self, method: str, /, **args: Any) -> None:
        self.calls.append(MockVoiceCall(method, args))

    @property
    def name(self) -> str:
        return "MockVoiceBackend"

    @property
    def capabilities(self) -> VoiceCapability:
        return self._capabilities

    # -- sessions ---------------------------------------------------------------------------------

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> VoiceSession:
        """A session that is `ACTIVE` already; `on_session_ready` callbacks are called."""
        self._record(
            "connect",
            room_id=room_id,
            participant_id=participant_id,
            channel_id=channel_id,
            metadata=metadata,
        )
        session = VoiceSession(
            new_id(),
            room_id,
            participant_id,
            channel_id,
            VoiceSessionState.ACTIVE,
            metadata=dict(metadata or {}),
        )
        self._sessions[session.id] = session
        await self._tell(self._on_ready, session)
        return session

    async def disconnect(self, session: VoiceSession) -> None:
        self._record("disconnect", session_id=session.id)
        session.state = VoiceSessionState.ENDED
        self._playing.discard(session.id)

    def get_session(self, session_id: str) -> VoiceSession | None:
        """A session made by this backend, also one that has ended, until `close`."""
        return self._sessions.get(session_id)

    def list_sessions(self, room_id: str) -> list[VoiceSession]:
        return [
            session
            for session in self._sessions.values()
            if session.room_id == room_id and session.state is not VoiceSessionState.ENDED
        ]

    async def close(self) -> None:
        self._record("close")
        for session in self._sessions.values():
            session.state = VoiceSessionState.ENDED
        self._sessions.clear()
        self._playing.clear()

    # -- sound out --------------------------------------------------------------------------------

    async def send_audio(
        self, session: VoiceSession, audio: bytes | AsyncIterator[AudioChunk]
    ) -> None:
        """Records bytes at once, and what an iterator gave when it ends."""
        self._record("send_audio", session_id=session.id)
        if isinstance(audio, bytes | bytearray | memoryview):
            self.sent_audio.append((session.id, bytes(audio)))
            return
        parts = bytearray()
        async for chunk in audio:
            self.sent_chunks.append((session.id, chunk))
            parts += chunk.data
        self.sent_audio.append((session.id, bytes(parts)))

    def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> None:
        self._record("send_audio_sync", session_id=session.id, size=len(chunk.data))
        self.sent_chunks.append((session.id, chunk))
        self.sent_audio.append((session.id, chunk.data))

    async def cancel_audio(self, session: VoiceSession) -> bool:
        """Whether `start_playing` was called and `stop_playing` was not."""
        playing = session.id in self._playing
        self._playing.discard(session.id)
        self._record("cancel_audio", session_id=session.id, was_playing=playing)
        return playing

    def is_playing(self, session: VoiceSession) -> bool:
        """What `start_playing` and `stop_playing` said last."""
        return session.id in self._playing

    def send_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        """Recorded, whatever the digit; `NotImplementedError` with ``refuse_dtmf`` and without
        `DTMF_SIGNALING`."""
        if self._refuse_dtmf and VoiceCapability.DTMF_SIGNALING not in self._capabilities:
            super().send_dtmf(session, digit, duration_ms)
        self._record("send_dtmf", session_id=session.id, digit=digit, duration_ms=duration_ms)
        self.sent_dtmf.append((session.id, digit, duration_ms))

    async def send_transcription(
        self, session: VoiceSession, text: str, role: str = "user"
    ) -> None:
        self._record("send_transcription", session_id=session.id, text=text, role=role)
        self.sent_transcriptions.append((session.id, text, role))

    # -- callbacks --------------------------------------------------------------------------------

    def on_audio_received(self, callback: AudioReceivedCallback) -> None:
        """Every callback registered is called."""
        self._record("on_audio_received")
        self._heard.append(callback)

    def on_barge_in(self, callback: BargeInCallback) -> None:
        self._record("on_barge_in")
        self._on_barge_in.append(callback)

    def on_session_ready(self, callback: SessionReadyCallback) -> None:
        self._record("on_session_ready")
        self._on_ready.append(callback)

    def on_client_disconnected(self, callback: TransportDisconnectCallback) -> None:
        self._record("on_client_disconnected")
        self._on_gone.append(callback)

    def on_dtmf_received(self, callback: DTMFReceivedCallback) -> DTMFReceivedCallback:
        """Call `callback(session, event)` for each `simulate_dtmf_received`."""
        self._record("on_dtmf_received")
        self._on_dtmf.append(callback)
        return callback

    # -- playing the client -----------------------------------------------------------------------

    def start_playing(self, session: VoiceSession) -> None:
        """From now on something plays."""
        self._playing.add(session.id)

    def stop_playing(self, session: VoiceSession) -> None:
        """Nothing plays any more."""
        self._playing.discard(session.id)

    async def simulate_audio_received(self, session: VoiceSession, frame: AudioFrame) -> None:
        """The participant says `frame`."""
        await self._tell(self._heard, session, frame)

    async def simulate_barge_in(self, session: VoiceSession) -> None:
        """The participant talks into what plays."""
        await self._tell(self._on_barge_in, session)

    async def simulate_session_ready(self, session: VoiceSession) -> None:
        """The audio path is live."""
        await self._tell(self._on_ready, session)

    async def simulate_client_disconnected(self, session: VoiceSession) -> None:
        """The far end is gone. The session is left as it is."""
        await self._tell(self._on_gone, session)

    async def simulate_dtmf_received(
        self, session: VoiceSession, digit: str, duration_ms: float = 160.0
    ) -> None:
        """The participant presses a key that arrives beside the sound."""
        await self._tell(self._on_dtmf, session, DTMFEvent(digit, duration_ms))

    async def _tell(self, callbacks: Sequence[Callable[..., Any]], *args: Any) -> None:
        for callback in tuple(callbacks):
            try:
                result = callback(*args)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:  # noqa: BLE001 - the outer edge to other people's code
                self.errors.append(error)
                _log.exception("a callback of a mock voice backend failed")


__all__ = ["MockVoiceBackend", "MockVoiceCall"]
