"""Telephone keys over a packet track (RFC 4733)."""

from __future__ import annotations

import asyncio
from struct import unpack

import pytest
from tests.unit.voice.backends.hearing import chunk
from tests.unit.voice.backends.parts import EVENTS, PCMU, PaperPeer

from salon.media.telephone_event import telephone_event_packets
from salon.testing import VirtualClock, virtual_time
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import MediaPacket, PayloadFormat, PeerState
from salon.voice.backends import DTMFEvent, VoiceSession, VoiceSessionState, WebRTCVoiceBackend
from salon.voice.backends.dtmf import MAX_WAITING


async def calling(
    *formats: PayloadFormat,
) -> tuple[WebRTCVoiceBackend, VoiceSession, PaperPeer]:
    peer = PaperPeer(*formats)
    carrier = WebRtcCarrier("paper", lambda _options: peer)
    backend = WebRTCVoiceBackend(carrier=carrier, clock=VirtualClock())
    session, answer = await backend.answer("an offer", room_id="room", participant_id="ann")
    assert answer == "answer to an offer"
    assert backend.statistics(session).reception is None
    peer.reach(PeerState.CONNECTING)
    peer.reach(PeerState.CONNECTED)
    return backend, session, peer


@virtual_time
async def test_keys_take_the_place_of_sound_on_one_time_line() -> None:
    backend, session, peer = await calling()
    await backend.send_audio(session, chunk(500, 400).data)
    await asyncio.sleep(0.101)
    backend.send_dtmf(session, "5", 100)
    backend.send_dtmf(session, "#")
    await asyncio.sleep(1.5)
    sent = peer.track.sent
    events = [(at, packet) for at, packet in enumerate(sent) if packet[0] == 101]
    first = [packet for _, packet in events if packet[1][0] == 5]
    second = [packet for _, packet in events if packet[1][0] == 11]
    assert len(first) + len(second) == len(events)
    assert [unpack("!BBH", packet[1])[2] for packet in first] == [160, 320, 480, 640, 800, 800, 800]
    assert [packet[3] for packet in first] == [True] + 6 * [False]
    assert len({packet[2] for packet in first}) == len({packet[2] for packet in second}) == 1
    assert unpack("!BBH", second[-1][1])[2] == 1280
    before, after = sent[events[0][0] - 1], sent[events[len(first) - 1][0] + 1]
    assert first[0][2] - before[2] == 160
    assert after[2] - first[0][2] >= 800
    stamps = [packet[2] for packet in sent if packet[0] == 0]
    assert stamps == sorted(set(stamps))
    assert len([packet for packet in sent if packet[0] == 0]) >= 21  # no sound is lost
    await backend.close()
    assert peer.closed


@virtual_time
async def test_keys_pressed_at_the_far_end_are_told_once() -> None:
    backend, _, peer = await calling()
    keys: list[DTMFEvent] = []
    backend.on_dtmf_received(lambda _session, event: keys.append(event))
    for sequence, (payload, marker, _) in enumerate(telephone_event_packets("7", 100)):
        peer.track.on_packet(MediaPacket(payload, 101, sequence, 4000, marker, 0.0))
    assert keys == [DTMFEvent("7", 0.0, 1.0)]
    await backend.close()


@virtual_time
async def test_what_cannot_be_pressed_is_refused_at_once() -> None:
    backend, session, peer = await calling()
    for digit, duration in (("x", 160), ("12", 160), ("1", 0), ("1", 20_000)):
        with pytest.raises(ValueError, match=r"key|units"):
            backend.send_dtmf(session, digit, duration)
    for _ in range(MAX_WAITING):
        backend.send_dtmf(session, "1")
    with pytest.raises(ValueError, match="wait already"):
        backend.send_dtmf(session, "1")
    await backend.close()
    assert all(packet[0] == 0 for packet in peer.track.sent)


@virtual_time
async def test_V24_a_peer_without_telephone_events_gets_no_keys() -> None:
    backend, session, _ = await calling(PCMU)
    with pytest.raises(NotImplementedError):
        backend.send_dtmf(session, "1")
    await asyncio.sleep(0.1)
    await backend.close()


@virtual_time
async def test_events_on_another_clock_than_the_sound_are_stamped_by_their_own() -> None:
    wide = PayloadFormat(9, "L16", 16_000)
    backend, session, peer = await calling(wide, EVENTS)
    await asyncio.sleep(0.1)
    backend.send_dtmf(session, "1", 20)
    await asyncio.sleep(0.1)
    (stamp,) = {packet[2] for packet in peer.track.sent if packet[0] == 101}
    last = [packet[2] for packet in peer.track.sent if packet[0] == 9][-1]
    assert 0 < stamp <= last // 2 + 320
    await backend.close()


@virtual_time
async def test_a_connection_that_fails_ends_its_session() -> None:
    backend, session, peer = await calling()
    gone: list[str] = []
    backend.on_client_disconnected(lambda session: gone.append(session.id))
    peer.reach(PeerState.DISCONNECTED)
    peer.reach(PeerState.CONNECTED)  # it came back
    await asyncio.sleep(0.1)
    assert str(session.state) == "active"
    peer.reach(PeerState.FAILED)
    await asyncio.sleep(0.1)
    assert session.state is VoiceSessionState.ENDED
    assert gone == [session.id]
    peer.reach(PeerState.CLOSED)
    await backend.close()
