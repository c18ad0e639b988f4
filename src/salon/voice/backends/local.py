"""Voice through the microphone and the loudspeaker of this machine (extra ``local``)."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from salon.base import SYSTEM_CLOCK, Clock, LocalProtocolError, new_id
from salon.base.ids import IdFactory
from salon.media.frame import FRAME_MS, SAMPLE_RATE, SILENCE, AudioFrame, Samples
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler
from salon.transport.ticker import Ticker
from salon.voice.backends.base import AudioPlayedCallback, VoiceCapability
from salon.voice.backends.carried import CarriedVoiceBackend
from salon.voice.backends.connection import Connection
from salon.voice.backends.session import VoiceSession
from salon.voice.capture.base import AudioCaptureSource, CaptureMark, CaptureSubscription
from salon.voice.capture.device import DeviceModule, DeviceStream, opened, sound_device
from salon.voice.capture.local import LocalMicSource
from salon.voice.leg import AudioLeg, Hear, Post

if TYPE_CHECKING:
    from salon.voice.pipeline.aec.base import AECProvider

_MAX_BLOCKS: Final = 100
"""Blocks that may wait for the event loop (2 s); the oldest makes room."""


class SpeakerRing:
    """Samples between the event loop and the thread of the loudspeaker, bounded in bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()
        self._lock = threading.Lock()
        self._flowing = False
        self.dropped_bytes = 0
        self.underruns = 0
        """Blocks that were not filled although the sound was not over."""

    def __len__(self) -> int:
        return len(self._data)

    def put(self, data: bytes) -> None:
        """From the loop; the oldest gives way."""
        with self._lock:
            self._data += data
            excess = len(self._data) - self._most
            if excess > 0:
                del self._data[:excess]
                self.dropped_bytes += excess
            self._flowing = True

    def take(self, count: int) -> bytes:
        """From the device's thread: `count` bytes, silence where there are none."""
        with self._lock:
            found = bytes(self._data[:count])
            del self._data[: len(found)]
            if self._flowing and len(found) < count:
                self.underruns += 1
                self._flowing = False
        return found + bytes(count - len(found))

    def end(self) -> None:
        """An empty ring is no fault now."""
        with self._lock:
            self._flowing = False

    def clear(self) -> None:
        with self._lock:
            self._data.clear()
            self._flowing = False


class LocalLeg(AudioLeg):
    """Takes blocks from the threads of the devices to the loop, in the order they were made.

    Blocks heard and blocks played go one way, so that an echo canceller gets both as they were.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        output_rate: int,
        ring: SpeakerRing,
        played: Callable[[Samples], None],
        filtered: Callable[[Samples], Samples | None],
    ) -> None:
        self.dropped = 0
        """Blocks that the loop did not fetch in time."""
        self._loop = loop
        self._ring = ring
        self._played = played
        self._filtered = filtered
        self._out = Resampler(SAMPLE_RATE, output_rate)
        self._reference = Resampler(output_rate, SAMPLE_RATE)
        self._in = Resampler(SAMPLE_RATE, SAMPLE_RATE)
        self._blocks: deque[tuple[bytes, int, int, bool]] = deque(maxlen=_MAX_BLOCKS)
        self._due = False
        self._closed = False
        self._hear: Hear = _nothing
        self._packets = 0

    def open(self, hear: Hear, post: Post) -> None:
        del post
        self._hear = hear

    # -- from the devices' threads ----------------------------------------------------------------

    def captured(self, frame: AudioFrame) -> None:
        """A block of the microphone, 16 bit."""
        self._push((frame.data, frame.sample_rate, frame.channels, True))

    def spoken(self, data: bytes, rate: int) -> None:
        """A block of the loudspeaker, mono."""
        self._push((data, rate, 1, False))

    def _push(self, block: tuple[bytes, int, int, bool]) -> None:
        if self._closed:
            return
        self.dropped += len(self._blocks) == _MAX_BLOCKS
        self._blocks.append(block)
        if not self._due:
            self._due = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop was closed before the device
                self._closed = True

    # -- on the loop ------------------------------------------------------------------------------

    def _drain(self) -> None:
        self._due = False
        while self._blocks and not self._closed:
            data, rate, channels, heard = self._blocks.popleft()
            samples = decode_pcm(data, channels=channels)
            if not heard:
                self._played(self._reference.process(samples))
                continue
            self._packets += 1
            if rate != self._in.in_rate:
                self._in = Resampler(rate, SAMPLE_RATE)
            passed = self._filtered(self._in.process(samples))
            if passed is not None:
                self._hear(passed)

    def send(self, frame: Samples) -> None:
        if not self._closed and frame is not SILENCE:  # no decoder waits to be opened
            self._ring.put(self._out.process(frame).astype("<i2", copy=False).tobytes())

    def idle(self) -> None:
        self._ring.end()

    def close(self) -> None:
        self._closed = True
        self._blocks.clear()
        self._hear = _nothing

    @property
    def packets_in(self) -> int:
        return self._packets


class LocalConnection(Connection):
    """The two devices of one session."""

    transport: ClassVar[str] = "local"

    def __init__(self, leg: LocalLeg, ring: SpeakerRing, lead: int) -> None:
        self.leg: LocalLeg = leg
        self.ring = ring
        self.lead = lead
        self.speaker: DeviceStream | None = None
        self.listening: CaptureSubscription | None = None
        self.own_source: AudioCaptureSource | None = None

    def watch(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        del lost
        ready()

    @property
    def held(self) -> bool:
        return len(self.ring) > 0

    @property
    def dropped(self) -> int:
        return self.leg.dropped

    def flush(self) -> None:
        self.ring.clear()

    async def stop_listening(self) -> None:
        """Free the microphone, if it is this session's own."""
        listening, self.listening = self.listening, None
        source, self.own_source = self.own_source, None
        if listening is not None:
            listening.unsubscribe()
        if source is not None:
            await asyncio.to_thread(source.close)

    async def close(self) -> None:
        await self.stop_listening()
        speaker, self.speaker = self.speaker, None
        if speaker is not None:
            await asyncio.to_thread(_end, speaker)


class LocalAudioBackend(CarriedVoiceBackend):
    """A session on this machine's sound card; attaching its channel to a room makes one.

    Devices are PortAudio's, by number or part of the name; None for the default. `connect` opens
    the loudspeaker, and the microphone unless `auto_listen` is False: `start_listening` does it
    then. A `source` that is shared is listened to in place of a microphone of our own, from
    ``metadata["capture_since"]`` (a `CaptureMark`) on, if that is given to `connect`.

    `aec` takes the loudspeaker's sound out of the microphone's; the backend feeds its reference
    itself (V59). Without, what is heard while something plays is dropped, since it would be our own
    voice, unless `mute_mic_during_playback` is False (headphones, or a canceller in the pipeline,
    which `on_audio_played` feeds). `rt_prebuffer_ms` of sound wait before the loudspeaker, against
    unevenness.
    """

    def __init__(
        self,
        *,
        input_sample_rate: int | None = None,
        output_sample_rate: int = 24_000,
        channels: int | None = None,
        block_duration_ms: int | None = None,
        input_device: int | str | None = None,
        output_device: int | str | None = None,
        aec: AECProvider | None = None,
        mute_mic_during_playback: bool | None = None,
        rt_prebuffer_ms: int = 120,
        source: AudioCaptureSource | None = None,
        auto_listen: bool = True,
        audio_queue_maxsize: int = 1000,
        module: DeviceModule | None = None,
        ticker: Ticker | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
    ) -> None:
        """`MissingExtraError` without `sounddevice`; `module` may stand in for it."""
        rate = input_sample_rate or (source.sample_rate if source is not None else SAMPLE_RATE)
        super().__init__(
            input_sample_rate=rate,
            output_sample_rate=output_sample_rate,
            audio_queue_maxsize=audio_queue_maxsize,
            ticker=ticker,
            clock=clock,
            ids=ids,
        )
        self._module = sound_device() if module is None else module
        self._channels = channels or 1
        self._block_ms = block_duration_ms or FRAME_MS
        self._devices = input_device, output_device
        self._aec = aec
        muted = mute_mic_during_playback
        self._mute_while_playing = aec is None if muted is None else muted
        self._lead = max(1, rt_prebuffer_ms // FRAME_MS)
        self._source = source
        self._auto_listen = auto_listen
        self._on_played: list[AudioPlayedCallback] = []

    @property
    def name(self) -> str:
        return "LocalAudio"

    @property
    def capabilities(self) -> VoiceCapability:
        native = VoiceCapability.NONE if self._aec is None else VoiceCapability.NATIVE_AEC
        return VoiceCapability.INTERRUPTION | native

    @property
    def auto_connect(self) -> bool:
        return True

    @property
    def feeds_aec_reference(self) -> bool:
        return self._aec is not None

    @property
    def supports_playback_callback(self) -> bool:
        return True

    # -- sessions ---------------------------------------------------------------------------------

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> VoiceSession:
        """A session with sound. `UnavailableError` if a device refuses."""
        session = await super().connect(room_id, participant_id, channel_id, metadata=metadata)
        session.metadata["backend"] = "local_audio"
        connection: LocalConnection | None = None
        try:
            connection = await self._open(session)
            self.attach(session, connection)  # it may be over by now
            if self._auto_listen:
                await self.start_listening(session)
        except BaseException:
            await self.disconnect(session)
            if connection is not None:
                await connection.close()
            raise
        return session

    async def _open(self, session: VoiceSession) -> LocalConnection:
        loop = asyncio.get_running_loop()
        rate = self._output_rate
        ring = SpeakerRing(rate * 2)  # a second
        leg = LocalLeg(
            loop,
            output_rate=rate,
            ring=ring,
            played=lambda samples: self._played(session, samples),
            filtered=lambda samples: self._filtered(session, samples),
        )

        def play(outdata: Any, frames: int, time: Any, status: Any) -> None:
            del time, status
            block = ring.take(frames * 2)
            outdata[:] = block
            leg.spoken(block, rate)

        connection = LocalConnection(leg, ring, self._lead)
        connection.speaker = await asyncio.to_thread(
            opened,
            self._module.RawOutputStream,
            "loudspeaker",
            samplerate=rate,
            blocksize=rate * self._block_ms // 1000,
            channels=1,
            dtype="int16",
            device=self._devices[1],
            callback=play,
        )
        return connection

    async def start_listening(self, session: VoiceSession) -> None:
        """Open the microphone; idempotent. `UnavailableError` if it refuses, `LocalProtocolError`
        for a session that is over."""
        connection = self._connection_of(session)
        if connection.listening is not None:
            return
        source = self._source
        if source is None:
            source = connection.own_source = LocalMicSource(
                input_device=self._devices[0],
                sample_rate=self._input_rate,
                channels=self._channels,
                block_duration_ms=self._block_ms,
                backlog_seconds=0.0,
                module=self._module,
                clock=self._clock,
            )
        since = session.metadata.get("capture_since")
        connection.listening = source.subscribe(
            connection.leg.captured,
            since=since if isinstance(since, CaptureMark) else None,
            name=f"voice session {session.id}",
        )
        if source is not self._source:
            try:
                await asyncio.to_thread(source.start)
            except BaseException:
                await connection.stop_listening()
                raise

    async def stop_listening(self, session: VoiceSession) -> None:
        """Free the microphone; what plays goes on. Idempotent."""
        call = self._calls.get(session.id)
        if call is not None and isinstance(call.connection, LocalConnection):
            await call.connection.stop_listening()

    async def disconnect(self, session: VoiceSession) -> None:
        await super().disconnect(session)
        if self._aec is not None:
            self._aec.reset(session.id)

    def _connection_of(self, session: VoiceSession) -> LocalConnection:
        connection = self._call_of(session).connection
        if not isinstance(connection, LocalConnection):
            raise LocalProtocolError(f"voice session {session.id} has no devices")
        return connection

    # -- sound ------------------------------------------------------------------------------------

    def _filtered(self, session: VoiceSession, samples: Samples) -> Samples | None:
        """What the pipeline should hear of the microphone."""
        if self._mute_while_playing and self.is_playing(session):
            return None
        if self._aec is not None:
            try:
                return self._aec.process(AudioFrame.of(samples), session.id).samples
            except Exception:  # noqa: BLE001 - a stage that fails lets the sound pass (V204)
                self._failed(session)
        return samples

    def _played(self, session: VoiceSession, samples: Samples) -> None:
        """A block is heard, ``int16[n]`` at 16 kHz, silence too."""
        frame = AudioFrame.of(samples)
        takers: list[Callable[[], Any]] = []
        if self._aec is not None:
            takers.append(partial(self._aec.feed_reference, frame, session.id))
        if self._on_played and np.any(samples):
            takers.extend(partial(callback, session, frame) for callback in self._on_played)
        for take in takers:
            try:
                take()
            except Exception:  # noqa: BLE001 - the outer edge to other people's code; logged there
                self._failed(session)

    def on_audio_played(self, callback: AudioPlayedCallback) -> None:
        """On the event loop, with each block of 16 kHz mono that is not silent."""
        self._on_played.append(callback)

    @property
    def rt_underruns(self) -> int:
        """Blocks of the loudspeaker that came too late, in all present sessions."""
        return sum(
            call.connection.ring.underruns
            for call in self._calls.values()
            if isinstance(call.connection, LocalConnection)
        )


def _end(stream: DeviceStream) -> None:
    stream.stop()
    stream.close()


def _nothing(_item: object) -> None:
    """Takes the place of a callback that is let go of."""


__all__ = ["LocalAudioBackend"]
