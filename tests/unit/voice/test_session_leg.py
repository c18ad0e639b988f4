"""How a session's sound comes and goes (G40, G136)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.unit.voice.scripted_call import calling

from salon.media import make_codec
from salon.media.frame import Samples
from salon.testing import scripted_engine, silence, tone, virtual_time
from salon.voice.events import Level, MediaEvent
from salon.voice.leg import Hear, Post, SilentLeg, SocketLeg
from salon.voice.playback import Playback, SoundTrack
from salon.voice.session import MediaSession


class Counted(SilentLeg):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.post: Post | None = None
        self.hear: Hear | None = None

    def open(self, hear: Hear, post: Post) -> None:
        super().open(hear, post)
        self.hear, self.post = hear, post
        self.log.append("open")

    def send(self, frame: Samples) -> None:
        super().send(frame)
        self.log.append("send")

    def idle(self) -> None:
        super().idle()
        self.log.append("idle")

    def close(self) -> None:
        super().close()
        self.log.append("close")


def test_G136_every_packet_counts_and_only_sound_is_heard() -> None:
    heard: list[Samples] = []
    leg = SocketLeg(make_codec("pcm"), lambda _packet: None)
    leg.receive(tone(20).tobytes())  # nobody listens yet
    leg.open(heard.append, lambda _event: None)
    for payload in (b"", b"\x01", tone(20).tobytes()):
        leg.receive(payload)
    assert leg.packets_in == 4
    assert len(heard) == 1


def test_a_socket_leg_decodes_and_encodes_in_its_codec_which_may_change() -> None:
    heard: list[Samples] = []
    sent: list[bytes] = []
    leg = SocketLeg(make_codec("pcm"), sent.append)
    leg.open(heard.append, lambda _event: None)
    leg.send(silence(20))
    leg.codec = make_codec("pcmu")
    leg.receive(bytes([0xFF]) * 160)
    leg.send(silence(20))
    assert [len(packet) for packet in sent] == [640, 160]
    assert [len(samples) for samples in heard] == [320]


def test_a_closed_leg_does_nothing() -> None:
    heard: list[Samples] = []
    sent: list[bytes] = []
    leg = SocketLeg(make_codec("pcm"), sent.append)
    leg.open(heard.append, lambda _event: None)
    leg.close()
    leg.close()
    leg.open(heard.append, lambda _event: None)
    leg.receive(tone(20).tobytes())
    leg.send(silence(20))
    assert (heard, sent, leg.packets_in) == ([], [], 0)


def test_a_silent_leg_has_no_packets() -> None:
    assert SilentLeg().packets_in == 0


@virtual_time
async def test_a_leg_gets_a_frame_or_an_idle_at_each_tick() -> None:
    leg = Counted()
    async with scripted_engine() as engine:
        session = MediaSession("call", engine, leg=leg)
        await asyncio.sleep(0.5)
        session.play(Playback(SoundTrack(tone(100)), "bell"))
        await asyncio.sleep(0.5)
        await session.close()
    assert leg.log[0] == "open"
    assert leg.log[-1] == "close"
    ticks = leg.log[1:-1]
    assert ticks.count("send") == 5
    assert 48 <= len(ticks) <= 51
    start = ticks.index("send")
    assert ticks[start : start + 6] == ["send"] * 5 + ["idle"]


@virtual_time
async def test_a_paused_playback_is_idle() -> None:
    leg = Counted()
    async with scripted_engine() as engine:
        session = MediaSession("call", engine, leg=leg)
        session.play(Playback(SoundTrack(tone(1000)), "bell"))
        await asyncio.sleep(0.2)
        session.player.pause()
        before = len(leg.log)
        await asyncio.sleep(0.2)
        assert set(leg.log[before:]) == {"idle"}
        await session.close()


@virtual_time
async def test_a_new_leg_takes_over_what_plays() -> None:
    old, new = Counted(), Counted()
    heard: list[MediaEvent] = []
    async with scripted_engine() as engine:
        session = MediaSession("call", engine, leg=old)
        session.play(Playback(SoundTrack(tone(400)), "bell"))
        await asyncio.sleep(0.2)
        session.use(old)
        assert "close" not in old.log
        session.use(new)
        await asyncio.sleep(0.3)
        assert old.log[-1] == "close"
        assert old.log.count("send") + new.log.count("send") == 20
        assert new.hear is not None
        assert new.post is not None
        new.hear(tone(20))
        assert session.frames_in == 1
        new.post(Level(-20.0))
        await session.close()
        new.hear(tone(20))
        assert session.frames_in == 1
        async for event in session.events:
            heard.append(event)
    assert Level(-20.0) in heard
    assert new.log.count("close") == 1


@virtual_time
async def test_a_leg_that_comes_after_the_end_is_closed() -> None:
    leg = Counted()
    async with calling() as call:
        await call.session.close()
        call.session.use(leg)
        assert leg.log == ["close"]
        assert call.session.leg is leg


@virtual_time
async def test_G87_what_a_muted_caller_says_stays_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Samples] = []
    async with calling() as call:
        call.session.muted = True
        monkeypatch.setattr(call.session.hearing, "receive", heard.append)
        call.leg.receive(tone(20).tobytes())
        assert len(heard[0]) == 320
        assert not np.any(heard[0])
