"""Several people and several agents in one room, by voice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from salon.app.agents import Answerer, agent_channels
from salon.app.guests import Guests
from salon.app.house import AgentInfo
from salon.channels.ai import AIChannel
from salon.channels.voice import Caller, VoiceChannel
from salon.core import RoomKit
from salon.gateway.handlers import CallHandler
from salon.gateway.query import CallQuery
from salon.gateway.room import RoomHandler
from salon.media import Samples
from salon.models import HookResult, HookTrigger, RoomContext, RoomEvent
from salon.testing import (
    CallPair,
    MockAIProvider,
    MockTextToSpeech,
    ScriptedRooms,
    scripted_engine,
    scripted_gateway,
    silence,
    tone,
    virtual_time,
)
from salon.voice.bridge_config import AudioBridgeConfig, BridgeStatistics
from salon.voice.engine import VoiceEngine
from salon.voice.packet_leg import PacketLeg
from salon.voice.session import MediaSession
from salon.voice.turns import TurnConfig

PEOPLE = ("ann", "ben", "cat")
PITCH = {"ann": 500.0, "ben": 700.0, "cat": 900.0}
OLIVER = "here is a long answer of the first agent"
BARBARA = "and this is what the second one says"
SERVER = "server-side-track"


class Voices(VoiceChannel):
    """Remembers who joined."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.joined: dict[str, Caller] = {}

    def join(self, caller: Caller) -> None:
        self.joined[caller.participant_id] = caller
        super().join(caller)


@dataclass
class Party:
    """A room with two agents, and whoever calls."""

    rooms: ScriptedRooms
    engine: VoiceEngine
    agents: dict[str, MockAIProvider]
    calls: dict[str, CallPair]

    async def enter(self, name: str) -> CallPair:
        call = self.rooms.call(participant=name, name=name.title())
        await call.invite()
        self.calls[name] = call
        return call

    def session(self, name: str) -> MediaSession:
        assert isinstance(self.rooms.voice, Voices)
        return self.rooms.voice.joined[name].session

    @property
    def bridge(self) -> BridgeStatistics:
        bridge = self.rooms.voice._bridge
        assert bridge is not None
        return bridge.bridge.statistics()

    async def chat(self, name: str, text: str) -> None:
        """Type, as a caller may."""
        self.calls[name].send({"command": "chat", "text": text})
        await asyncio.sleep(0.1)

    async def quiet(self) -> None:
        """Wait until no agent speaks and what they said is stored."""
        await self.rooms.voice.wait_playback_done("room", 60)
        await asyncio.sleep(0.1)

    async def said(self) -> list[tuple[str, str]]:
        """Who said what, as the timeline has it."""
        return [
            (str(event.metadata.get("sender_name")), text)
            for event, text in zip(
                await self.rooms.messages(), await self.rooms.said(), strict=True
            )
        ]

    @property
    def voices(self) -> list[tuple[str, str | None]]:
        """What was synthesized, and in which voice."""
        engine = self.engine.synthesizer()
        assert isinstance(engine, MockTextToSpeech)
        return [(text, settings.voice) for text, settings in engine.spoken]


@asynccontextmanager
async def party(
    heard: Sequence[str] = (),
    *,
    people: Sequence[str] = PEOPLE,
    places: int = 16,
    barbara: Sequence[str] = (BARBARA,),
) -> AsyncIterator[Party]:
    async with scripted_engine(heard) as engine:
        agents = {
            name: MockAIProvider(responses=texts, clock=engine.clock)
            for name, texts in (("Oliver", [OLIVER]), ("Barbara", barbara))
        }
        first, second = (Answerer(provider, AgentInfo(name)) for name, provider in agents.items())
        channels = agent_channels(first, [second])
        kit = RoomKit(clock=engine.clock)
        voice = Voices(
            engine=engine,
            speak_text_events=False,
            voice_map={"agent": "low", "barbara": "high"},
            bridge=AudioBridgeConfig(mixing_strategy="mix", max_participants=places),
        )
        for channel in (voice, *channels):
            kit.register_channel(channel)
        door = Guests(kit, (voice.channel_id, *(channel.channel_id for channel in channels)))

        def handler_for(query: CallQuery) -> CallHandler:
            return RoomHandler(query, kit=kit, channel=voice, door=door, turns=TurnConfig())

        async with kit, scripted_gateway(engine, handler_for=handler_for) as gateway:
            found = Party(ScriptedRooms(kit, voice, channels[0], gateway), engine, agents, {})
            for name in people:
                await found.enter(name)
            yield found


def speech(ms: int = 600) -> Samples:
    return np.concatenate((silence(320), tone(ms), silence(700)))


def strength(sound: Samples, hertz: float) -> float:
    """Of one tone in a sound, 0 to 1."""
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / 16_000)
    return float(abs(np.dot(sound.astype(np.float64), wave)) / max(len(sound), 1) / 5000)


def intervals(call: CallPair) -> list[tuple[float, float, str]]:
    """When agents were heard: begin, end and which utterance."""
    begun: dict[str, float] = {}
    found = []
    for event, at in zip(call.events, call.times, strict=True):
        if event.get("trackId") == SERVER and event["event"] == "trackStart":
            begun[event["playId"]] = at
        elif event.get("trackId") == SERVER and event["event"] == "trackEnd":
            found.append((begun[event["playId"]], at, event["playId"]))
    return found


# -- who said what --------------------------------------------------------------------------------


@virtual_time
async def test_everybody_is_recognised_under_their_own_name() -> None:
    words = {"ann": "good morning", "ben": "how are you", "cat": "what now"}
    async with party(list(words.values())) as room:
        for name in PEOPLE:
            await room.calls[name].send_audio(speech())
            await room.quiet()
        messages = await room.rooms.messages()
        assert [event.source.participant_id for event in messages[::2]] == list(PEOPLE)
        expected: list[tuple[str, str]] = []
        for name, text in words.items():
            expected += [(name.title(), text), ("Oliver", OLIVER)]
        assert await room.said() == expected


@virtual_time
async def test_V139_nobody_hears_themself_while_all_three_speak() -> None:
    async with party() as room:
        await asyncio.gather(
            *(room.calls[name].send_audio(tone(800, PITCH[name])) for name in PEOPLE)
        )
        for name, call in room.calls.items():
            levels = {other: strength(call.sound[4800:], PITCH[other]) for other in PEOPLE}
            own = levels.pop(name)
            assert min(levels.values()) > 0.2
            assert own < 0.1 * min(levels.values())


# -- who answers ----------------------------------------------------------------------------------


@virtual_time
async def test_the_first_agent_answers_and_the_second_when_it_is_called() -> None:
    async with party(["what is the weather", "Barbara what time is it"]) as room:
        await room.calls["ann"].send_audio(speech())
        await room.quiet()
        await room.calls["ben"].send_audio(speech())
        await room.quiet()
        assert await room.said() == [
            ("Ann", "what is the weather"),
            ("Oliver", OLIVER),
            ("Ben", "Barbara what time is it"),
            ("Barbara", BARBARA),
        ]
        assert room.voices == [(OLIVER, "low"), (BARBARA, "high")]
        assert [len(agent.contexts) for agent in room.agents.values()] == [1, 1]


@virtual_time
async def test_the_first_agent_answers_another_one_only_if_that_one_calls_it() -> None:
    answers = [BARBARA, "Oliver, what do you say?"]
    async with party(people=["ann"], barbara=answers) as room:
        await room.chat("ann", "barbara: please")
        await room.quiet()
        assert [who for who, _ in await room.said()] == ["Ann", "Barbara"]
        await room.chat("ann", "@barbara once more")
        await room.quiet()
        await room.quiet()  # Oliver begins when Barbara's words are stored
        assert [who for who, _ in await room.said()][2:] == ["Ann", "Barbara", "Oliver"]


@virtual_time
async def test_V119_two_agents_called_at_once_are_heard_one_after_the_other() -> None:
    async with party() as room:
        await room.chat("ann", "@oliver @barbara introduce yourselves")
        await room.quiet()
        assert sorted(await room.said())[1:] == [("Barbara", BARBARA), ("Oliver", OLIVER)]
        assert sorted(room.voices) == [(BARBARA, "high"), (OLIVER, "low")]
        for call in room.calls.values():
            heard = intervals(call)
            assert len(heard) == 2
            assert all(one[1] <= other[0] for one, other in pairwise(heard))
        orders = {tuple(play for _, _, play in intervals(call)) for call in room.calls.values()}
        assert len(orders) == 1, "everybody hears them in the same order"


@virtual_time
async def test_one_persons_words_stop_the_agent_for_everybody() -> None:
    async with party(["stop it"]) as room:
        await room.chat("ann", "tell us")
        for call in room.calls.values():
            await call.expect("trackStart", trackId=SERVER)
        await asyncio.sleep(0.5)
        await room.calls["ben"].send_audio(speech())
        for call in room.calls.values():
            assert call.of("interruption", trackId=SERVER), call.names
        (begin, end, _), *_ = intervals(room.calls["cat"])
        assert end - begin < 0.06 * len(OLIVER)
        await room.quiet()
        answers = [event for event in await room.rooms.messages() if event.chain_depth == 1]
        assert answers[0].metadata["interrupted"]
        (_, typed), (who, heard), (_, spoken), *_ = await room.said()
        assert (typed, who, spoken) == ("tell us", "Oliver", "stop it")
        assert OLIVER.startswith(heard.rstrip())
        assert heard != OLIVER


# -- the bridge costs and carries -----------------------------------------------------------------


@virtual_time
async def test_who_is_alone_is_not_listened_to_for_the_bridge() -> None:
    async with party(people=["ann"]) as room:
        ann = room.session("ann")
        await room.calls["ann"].send_audio(tone(200))
        assert (ann.taps, ann.mix, room.bridge.frames) == ([], None, 0)
        ben = await room.enter("ben")
        await room.calls["ann"].send_audio(tone(200, PITCH["ann"]))
        assert strength(ben.sound, PITCH["ann"]) > 0.2
        frames = room.bridge.frames
        assert frames >= 10
        ben.send({"command": "hangup"})
        await asyncio.sleep(1)
        await room.calls["ann"].send_audio(tone(200))
        assert (ann.taps, ann.mix, room.bridge.frames) == ([], None, frames)


@virtual_time
async def test_V138_who_finds_no_place_gets_one_when_somebody_leaves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with party(places=2) as room:
        assert "not bridged" in caplog.text
        cat = room.calls["cat"]
        await room.calls["ann"].send_audio(tone(200, PITCH["ann"]))
        assert not cat.audio
        room.calls["ben"].send({"command": "hangup"})
        await asyncio.sleep(1)
        await room.calls["ann"].send_audio(tone(200, PITCH["ann"]))
        assert strength(cat.sound, PITCH["ann"]) > 0.2


@virtual_time
async def test_V141_what_a_hook_keeps_from_the_others_keeps_its_place_in_time() -> None:
    async with party(people=["ann", "ben"]) as room:
        seen = []

        @room.rooms.kit.hook(HookTrigger.BEFORE_BRIDGE_AUDIO)
        async def every_other(event: RoomEvent, context: RoomContext) -> HookResult:
            del context
            seen.append(event)
            return HookResult.block("no") if len(seen) % 2 else HookResult.allow()

        await room.calls["ann"].send_audio(tone(1000, PITCH["ann"]))
        await asyncio.sleep(0.3)
        sound = room.calls["ben"].sound
        frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
        loud = [bool(np.abs(frame.astype(int)).max() > 1000) for frame in frames]
        assert len(seen) >= 50
        assert 24 <= sum(loud) <= 26
        assert room.bridge.underruns <= 1


async def ticks_until_heard(room: Party, *, even: bool) -> int:
    """How many ticks pass from a frame of Ann's to Ben's ear."""
    ann, ben = room.session("ann"), room.calls["ben"]
    if even:
        ann.use(PacketLeg(room.engine.ticker, room.engine.clock))
    before = len(ben.audio)
    for number in range(10):
        ann.hear(tone(20))
        await asyncio.sleep(0.02)
        if len(ben.audio) > before:
            return number + 1
    return 0


@virtual_time
async def test_sound_that_comes_evenly_waits_for_no_second_frame() -> None:
    async with party(people=["ann", "ben"]) as room:
        assert await ticks_until_heard(room, even=False) == 2
        await asyncio.sleep(1)
        assert await ticks_until_heard(room, even=True) == 1


@virtual_time
async def test_the_noise_of_a_silent_microphone_is_not_sent_to_others() -> None:
    async with party(people=["ann", "ben"]) as room:
        hiss = np.tile(np.array([1, -2], dtype=np.int16), 16_000)
        await room.calls["ann"].send_audio(hiss)
        assert not room.calls["ben"].audio
        await room.calls["ann"].send_audio(tone(200))
        await room.calls["ann"].send_audio(hiss)
        assert 10 <= len(room.calls["ben"].audio) <= 22


@virtual_time
async def test_who_found_no_place_may_leave_and_hooks_end_with_who_leaves() -> None:
    async with party(places=2) as room:

        @room.rooms.kit.hook(HookTrigger.BEFORE_BRIDGE_AUDIO)
        async def pass_on(event: RoomEvent, context: RoomContext) -> HookResult:
            del event, context
            return HookResult.allow()

        room.calls["cat"].send({"command": "hangup"})
        await asyncio.sleep(1)
        await room.calls["ann"].send_audio(tone(400, PITCH["ann"]))
        assert strength(room.calls["ben"].sound[3200:], PITCH["ann"]) > 0.2
        assert room.bridge.sessions == 2
        for name in ("ann", "ben"):
            room.calls[name].send({"command": "hangup"})
        await asyncio.sleep(1)
        assert room.bridge.sessions == 0


@virtual_time
async def test_hooks_that_are_too_slow_lose_the_oldest_frames() -> None:
    async with party(people=["ann", "ben"]) as room:
        never = asyncio.Event()

        @room.rooms.kit.hook(HookTrigger.BEFORE_BRIDGE_AUDIO)
        async def wait(event: RoomEvent, context: RoomContext) -> HookResult:
            del event, context
            await never.wait()
            return HookResult.allow()

        await room.calls["ann"].send_audio(tone(1000))
        bridge = room.rooms.voice._bridge
        assert bridge is not None
        assert bridge.dropped >= 30


@virtual_time
async def test_a_closed_bridge_lets_go_of_everybody() -> None:
    async with party(people=["ann", "ben"]) as room:
        bridge = room.rooms.voice._bridge
        assert bridge is not None
        bridge.close()
        ann = room.session("ann")
        assert (ann.taps, ann.mix, room.bridge.sessions) == ([], None, 0)
        bridge.close()


def test_every_agent_has_a_channel_of_its_own() -> None:
    first = Answerer(MockAIProvider(), AgentInfo("Oliver"))
    second = Answerer(MockAIProvider(), AgentInfo("Anna Lee"))
    channels = agent_channels(first, [second])
    assert [type(channel) is AIChannel for channel in channels] == [False, True]
    assert [(channel.channel_id, channel.name) for channel in channels] == [
        ("agent", "Oliver"),
        ("anna-lee", "Anna Lee"),
    ]
