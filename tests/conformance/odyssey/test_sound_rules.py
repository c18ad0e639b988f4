"""A streamer that offers sound as well: O47."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from tests.conformance.odyssey.scripted_signaling import ScriptedSignaling, silent, within
from websockets.asyncio.server import ServerConnection

from salon.clients.odyssey import AudioFrame
from salon.testing.odyssey.peer import allow_loopback


async def streamer_with_sound(socket: ServerConnection) -> None:
    """Offers a picture, sound and both channels."""
    peer: Any = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        peer.addTrack(VideoStreamTrack())
        peer.addTrack(AudioStreamTrack())
        for label in ("streamerToClient", "clientToStreamer"):
            peer.createDataChannel(label)
        offer = await peer.createOffer()
        for item in peer.getTransceivers():
            allow_loopback(item.sender.transport.transport)
        await peer.setLocalDescription(offer)
        await socket.send(json.dumps({"type": "offer", "sdp": peer.localDescription.sdp}))
        answer = json.loads(await socket.recv())
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        await silent(socket)
    finally:
        await peer.close()


async def test_O47_sound_is_read_and_handed_on() -> None:
    heard: list[AudioFrame] = []

    async def hear(frame: AudioFrame) -> None:
        heard.append(frame)

    async with (
        ScriptedSignaling(streamer_with_sound).running() as server,
        server.client() as client,
    ):
        await within(client.connect(on_audio_frame=hear))
        sound = client.audio()
        frames = [await within(anext(sound)) for _ in range(5)]
        picture = await within(anext(client.frames()))
        await client.disconnect()
        async for _ in sound:  # what had come
            pass
        assert await within(anext(sound, None)) is None
    assert heard
    for frame in frames:
        assert frame.data.dtype == np.int16
        assert frame.data.ndim == 2
        assert frame.data.shape[1] == frame.channels
        assert frame.rate > 0
    times = [frame.timestamp_ms for frame in frames]
    assert times == sorted(times)
    assert picture.data.shape[2] == 3
