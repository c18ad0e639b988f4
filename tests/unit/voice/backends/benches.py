"""Every backend that runs without a network or over loopback, with a far end to play."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection
from tests.unit.transport.offerer import Offerer, ToneTrack
from tests.unit.voice.backends.hearing import of_client
from tests.unit.voice.backends.parts import PaperSocket

from salon.media.frame import FRAME_MS, FRAME_SAMPLES, AudioFrame, Samples
from salon.media.resample import resample
from salon.testing import VirtualClock
from salon.testing.contracts.voice_backend import CHANNEL, ROOM, VoiceBackendBench
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.pair import MemoryVoiceBackend
from salon.voice.backends.rtp import RTPVoiceBackend
from salon.voice.backends.session import VoiceSession
from salon.voice.backends.webrtc import WebRTCVoiceBackend
from salon.voice.backends.websocket import WebSocketVoiceBackend

NOTHING: Samples = np.zeros(0, dtype=np.int16)


class MockBench(VoiceBackendBench):
    backend: MockVoiceBackend
    plays = False

    def __init__(self) -> None:
        super().__init__(MockVoiceBackend(refuse_dtmf=True))

    async def dial(self, participant: str) -> VoiceSession:
        return await self.backend.connect(ROOM, participant, CHANNEL)

    async def say(self, session: VoiceSession, samples: Samples) -> None:
        for at in range(0, len(samples), FRAME_SAMPLES):
            frame = AudioFrame.of(samples[at : at + FRAME_SAMPLES])
            await self.backend.simulate_audio_received(session, frame)

    def heard(self, session: VoiceSession) -> Samples:
        data = b"".join(data for name, data in self.backend.sent_audio if name == session.id)
        return np.frombuffer(data, "<i2")

    async def hang_up(self, session: VoiceSession) -> None:
        await self.backend.simulate_client_disconnected(session)

    async def press(self, session: VoiceSession, digit: str) -> None:
        await self.backend.simulate_dtmf_received(session, digit)


class MemoryBench(VoiceBackendBench):
    """To be used in virtual time."""

    backend: MemoryVoiceBackend

    def __init__(self, **settings: Any) -> None:
        super().__init__(MemoryVoiceBackend(clock=VirtualClock(), **settings))
        self.callers: dict[str, Any] = {}

    async def dial(self, participant: str) -> VoiceSession:
        session = await self.backend.connect(ROOM, participant, CHANNEL)
        self.callers[session.id] = self.backend.caller(session)
        return session

    async def say(self, session: VoiceSession, samples: Samples) -> None:
        self.callers[session.id].say(samples)

    def heard(self, session: VoiceSession) -> Samples:
        return self.callers[session.id].sound()  # type: ignore[no-any-return]

    async def hang_up(self, session: VoiceSession) -> None:
        self.callers[session.id].hang_up()

    async def press(self, session: VoiceSession, digit: str) -> None:
        self.callers[session.id].press(digit)


class WebSocketBench(VoiceBackendBench):
    """Over a socket without network, to be used in virtual time; 24 kHz to the client."""

    backend: WebSocketVoiceBackend

    def __init__(self) -> None:
        super().__init__(WebSocketVoiceBackend(clock=VirtualClock(), output_sample_rate=24_000))
        self.sockets: dict[str, PaperSocket] = {}
        self.serving: list[asyncio.Task[None]] = []

    async def dial(self, participant: str) -> VoiceSession:
        session = await self.backend.connect(ROOM, participant, CHANNEL)
        socket = self.sockets[session.id] = PaperSocket()
        self.serving.append(asyncio.create_task(self.backend.serve(socket, session)))
        socket.say({"type": "start", "sample_rate": 8000, "output_sample_rate": 24_000})
        return session

    async def say(self, session: VoiceSession, samples: Samples) -> None:
        samples = resample(samples, 16_000, 8_000)
        for at in range(0, len(samples), 160):
            self.sockets[session.id].say_bytes(samples[at : at + 160].astype("<i2").tobytes())
            await asyncio.sleep(FRAME_MS / 1000)

    def heard(self, session: VoiceSession) -> Samples:
        data = b"".join(self.sockets[session.id].binary)
        return resample(np.frombuffer(data, "<i2"), 24_000, 16_000)

    async def hang_up(self, session: VoiceSession) -> None:
        self.sockets[session.id].leave()

    async def press(self, session: VoiceSession, digit: str) -> None:
        self.sockets[session.id].say(json.dumps({"type": "dtmf", "digit": digit}))

    async def close(self) -> None:
        await self.backend.close()
        async with asyncio.timeout(20):
            await asyncio.gather(*self.serving)


class RTPBench(VoiceBackendBench):
    """Two backends over loopback: the far end is one, too."""

    backend: RTPVoiceBackend

    def __init__(self, **settings: Any) -> None:
        super().__init__(RTPVoiceBackend(**settings))
        self.far = RTPVoiceBackend(**settings)
        self.ends: dict[str, VoiceSession] = {}
        self.sounds: dict[str, list[Samples]] = {}
        self.far.on_audio_received(self._hear)

    def _hear(self, session: VoiceSession, frame: AudioFrame) -> None:
        self.sounds.setdefault(session.id, []).append(frame.samples)

    async def dial(self, participant: str) -> VoiceSession:
        session = await self.backend.connect(ROOM, participant, CHANNEL)
        host, port = session.metadata["local_addr"]
        end = await self.far.connect(
            "far", "far", "far", metadata={"remote_host": host, "remote_port": port}
        )
        self.ends[session.id] = end
        return session

    async def say(self, session: VoiceSession, samples: Samples) -> None:
        await self.far.send_audio(self.ends[session.id], samples.astype("<i2").tobytes())

    def heard(self, session: VoiceSession) -> Samples:
        return np.concatenate(self.sounds.get(self.ends[session.id].id, [NOTHING]))

    async def hang_up(self, session: VoiceSession) -> None:
        await self.far.disconnect(self.ends[session.id])

    async def press(self, session: VoiceSession, digit: str) -> None:
        self.far.send_dtmf(self.ends[session.id], digit, 80)

    async def close(self) -> None:
        await self.backend.close()
        await self.far.close()


class Microphone(ToneTrack):
    """Silence, but for what is to be said."""

    def __init__(self) -> None:
        super().__init__()
        self.speech: deque[Samples] = deque()

    async def recv(self) -> av.AudioFrame:
        frame = await super().recv()
        piece = self.speech.popleft() if self.speech else np.zeros(960, dtype=np.int16)
        said = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout="mono")
        said.sample_rate, said.pts, said.time_base = 48_000, frame.pts, frame.time_base
        return said


class Client(Offerer):
    """Says what it is told to."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.microphone = Microphone()
        self.pc.addTrack(self.microphone)
        self.frames: list[Any] = []
        self._readers: list[asyncio.Task[None]] = []
        self.pc.on("track", self._on_track)


class WebRTCBench(VoiceBackendBench):
    """A real client of aiortc."""

    takes_keys = False
    backend: WebRTCVoiceBackend

    def __init__(self) -> None:
        super().__init__(WebRTCVoiceBackend())
        self.clients: dict[str, Client] = {}

    async def dial(self, participant: str) -> VoiceSession:
        client = Client()
        session, answer = await self.backend.answer(
            await client.offer(), room_id=ROOM, participant_id=participant, channel_id=CHANNEL
        )
        self.clients[session.id] = client
        await client.accept(answer)
        return session

    async def say(self, session: VoiceSession, samples: Samples) -> None:
        wide = resample(samples, 16_000, 48_000)
        speech = self.clients[session.id].microphone.speech
        speech.extend(wide[at : at + 960] for at in range(0, len(wide) - 959, 960))

    def heard(self, session: VoiceSession) -> Samples:
        frames = self.clients[session.id].frames
        if not frames:
            return NOTHING
        samples, rate = of_client(list(frames))
        return resample(samples.astype(np.int16), rate, 16_000)

    async def hang_up(self, session: VoiceSession) -> None:
        await self.clients[session.id].close()

    async def close(self) -> None:
        await self.backend.close()
        for client in self.clients.values():
            await client.close()
