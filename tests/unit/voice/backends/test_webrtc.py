"""A real client calls a `WebRTCVoiceBackend`: aiortc's own peer connection over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.unit.transport.offerer import Offerer, candidates_of, offering, without_candidates
from tests.unit.voice.backends.hearing import chunk, frequency, of_client, of_frames, until

from salon.base import LocalProtocolError
from salon.media import AudioChunk, AudioFrame
from salon.transport.carriers import choose_carrier
from salon.transport.packets import AnotherSession, NegotiationError
from salon.transport.ticker import Ticker
from salon.voice.backends import (
    DTMFEvent,
    VoiceCapability,
    VoiceSession,
    VoiceSessionState,
    WebRTCVoiceBackend,
)


class Notes:
    """What a backend tells."""

    def __init__(self, backend: WebRTCVoiceBackend) -> None:
        self.frames: list[AudioFrame] = []
        self.ready: list[VoiceSession] = []
        self.gone: list[VoiceSession] = []
        self.keys: list[DTMFEvent] = []
        backend.on_audio_received(lambda _session, frame: self.frames.append(frame))
        backend.on_session_ready(self.ready.append)
        backend.on_transport_disconnect(self.gone.append)
        backend.on_dtmf_received(lambda _session, event: self.keys.append(event))


@pytest.fixture
async def backend() -> AsyncIterator[WebRTCVoiceBackend]:
    made = WebRTCVoiceBackend()
    yield made
    await made.close()


async def called(backend: WebRTCVoiceBackend, client: Offerer) -> VoiceSession:
    """A session whose client is connected."""
    session, answer = await backend.answer(
        await client.offer(), room_id="lobby", participant_id="ann", metadata={"lang": "fr"}
    )
    await client.accept(answer)
    await until(lambda: session.state is VoiceSessionState.ACTIVE)
    return session


def loud(client: Offerer, count: int) -> bool:
    """Whether the last `count` frames at the client are sound."""
    last = client.frames[-count:]
    return len(last) == count and all(np.abs(frame.to_ndarray()).max() > 1000 for frame in last)


async def test_a_whole_call(backend: WebRTCVoiceBackend) -> None:
    notes = Notes(backend)
    async with offering() as client:
        session = await called(backend, client)
        assert notes.ready == [session]
        assert (session.room_id, session.participant_id) == ("lobby", "ann")
        assert session.metadata["transport"] == "webrtc"
        assert session.metadata["lang"] == "fr"
        assert backend.get_session(session.id) is session
        assert backend.list_sessions("lobby") == [session]
        assert backend.list_sessions("cellar") == []

        await until(lambda: len(notes.frames) >= 60)
        heard = notes.frames[-40:]
        assert {(len(one.data), one.sample_rate) for one in heard} == {(640, 16_000)}
        stamps = [one.timestamp_ms or 0.0 for one in heard]
        assert stamps == sorted(stamps)
        assert frequency(*of_frames(heard)) == pytest.approx(440, abs=5)

        sending = asyncio.create_task(backend.send_audio(session, chunk(1000, 5000).data))
        await until(lambda: loud(client, 30))
        assert frequency(*of_client(client.frames[-25:])) == pytest.approx(1000, abs=10)
        assert backend.is_playing(session)

        assert await backend.cancel_audio(session)
        await sending
        await until(lambda: not backend.is_playing(session))
        assert not await backend.cancel_audio(session)
        await asyncio.sleep(0.5)
        assert not loud(client, 1)

        statistics = backend.statistics(session)
        assert statistics.packets.packets_received > 50
        assert statistics.reception is not None
        assert statistics.reception.packets_lost == 0

        await backend.disconnect(session)
        assert session.state is VoiceSessionState.ENDED
        assert backend.get_session(session.id) is None
        assert notes.gone == []
        await backend.disconnect(session)
        await backend.send_audio(session, b"\0" * 640)
        assert not backend.is_playing(session)


async def test_a_client_that_leaves_is_told_of_and_its_session_ends(
    backend: WebRTCVoiceBackend,
) -> None:
    notes = Notes(backend)
    async with offering() as client:
        session = await called(backend, client)
    await until(lambda: session.state is VoiceSessionState.ENDED)
    assert notes.gone == [session]


async def test_a_session_made_before_its_offer_says_what_waits(
    backend: WebRTCVoiceBackend,
) -> None:
    session = await backend.connect("lobby", "ann", "voice")
    assert session.state is VoiceSessionState.CONNECTING

    async def greeting() -> AsyncIterator[AudioChunk]:
        for _ in range(20):
            yield chunk(700, 50, 24_000)

    await backend.send_audio(session, greeting())
    async with offering() as client:
        offer = await client.offer()
        answer = await backend.accept(session, without_candidates(offer))
        for candidate in candidates_of(offer):
            backend.add_candidate(session, candidate)
        backend.add_candidate(session, "")
        await client.accept(answer)
        await until(lambda: loud(client, 30))
        assert frequency(*of_client(client.frames[-25:])) == pytest.approx(700, abs=10)

        again = await backend.accept(session, offer)  # the same ICE session: renegotiated
        assert "m=audio" in again
        async with offering() as other:
            with pytest.raises(AnotherSession):
                await backend.accept(session, await other.offer())


async def test_a_page_that_offers_a_data_channel_too_is_heard(
    backend: WebRTCVoiceBackend,
) -> None:
    notes = Notes(backend)
    async with offering() as client:
        client.pc.createDataChannel("text")
        await called(backend, client)
        await until(lambda: len(notes.frames) >= 10)


async def test_V24_keys_are_refused_where_the_client_takes_none(
    backend: WebRTCVoiceBackend,
) -> None:
    assert VoiceCapability.DTMF_SIGNALING in backend.capabilities
    assert VoiceCapability.INTERRUPTION in backend.capabilities
    waiting = await backend.connect("lobby", "ann", "voice")
    with pytest.raises(LocalProtocolError):
        backend.send_dtmf(waiting, "1")
    async with offering() as client:  # aiortc offers no telephone events
        session = await called(backend, client)
        with pytest.raises(NotImplementedError):
            backend.send_dtmf(session, "1")


async def test_an_offer_that_cannot_be_used_leaves_nothing_behind(
    backend: WebRTCVoiceBackend,
) -> None:
    with pytest.raises(NegotiationError):
        await backend.answer("v=0", room_id="lobby", participant_id="ann")
    assert backend.list_sessions("lobby") == []
    session = await backend.connect("lobby", "ann", "voice")
    with pytest.raises(NegotiationError):
        await backend.accept(session, "v=0")
    with pytest.raises(LocalProtocolError):
        backend.add_candidate(session, "candidate:1 1 udp 1 127.0.0.1 9 typ host")
    async with offering() as client:
        offer = await client.offer()
        await backend.disconnect(session)
        with pytest.raises(LocalProtocolError):
            await backend.accept(session, offer)
        await backend.close()
        with pytest.raises(LocalProtocolError):
            await backend.answer(offer, room_id="lobby", participant_id="ann")


async def test_a_session_that_ends_while_its_offer_is_answered() -> None:
    backend = WebRTCVoiceBackend()
    session = await backend.connect("lobby", "ann", "voice")
    async with offering() as client:
        accepting = asyncio.create_task(backend.accept(session, await client.offer()))
        await asyncio.sleep(0)
        await backend.disconnect(session)
        with pytest.raises(LocalProtocolError):
            await accepting
    await backend.close()


async def test_a_carrier_may_be_shared() -> None:
    ticker = Ticker()
    closed: list[bool] = []
    carrier = await choose_carrier("stock", ticker)
    carrier = type(carrier)(carrier.name, carrier.make, close=lambda: closed.append(True))
    backend = WebRTCVoiceBackend(carrier=carrier, ticker=ticker)
    async with offering() as client:
        await called(backend, client)
        await backend.close()
    assert closed == []
    assert not ticker.running
