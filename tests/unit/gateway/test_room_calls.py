"""Calls whose driver is a room (RoomHandler): people in, words out, agents that speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from salon.core import RoomClosedError
from salon.gateway.query import CallQuery
from salon.gateway.room import RoomDoor, RoomHandler
from salon.media import Samples
from salon.models import RoomStatus
from salon.testing import (
    CallPair,
    MockAIProvider,
    ScriptedRooms,
    scripted_engine,
    scripted_gateway,
    scripted_rooms,
    silence,
    tone,
)
from salon.voice.turns import TurnConfig

ANSWER = "this is the answer of the agent"


def turn(speech_ms: int = 800) -> Samples:
    return np.concatenate((silence(500), tone(speech_ms), silence(800)))


@pytest.fixture
async def rooms() -> AsyncIterator[ScriptedRooms]:
    async with (
        scripted_engine(["what time is it", "and where"]) as engine,
        scripted_rooms(engine, MockAIProvider([ANSWER, "at home"], clock=engine.clock)) as made,
    ):
        yield made


async def test_a_caller_is_heard_and_answered(rooms: ScriptedRooms) -> None:
    call = rooms.call(name="Ann")
    await call.invite()
    await call.send_audio(turn())
    await call.expect("trackEnd", trackId="server-side-track")
    await asyncio.sleep(0.1)
    assert await rooms.said() == ["what time is it", ANSWER]
    question, _ = await rooms.messages()
    assert question.metadata["sender_name"] == "Ann"
    assert question.source.participant_id == "ann"
    assert len(call.audio) == pytest.approx(len(ANSWER) * 3, abs=1)
    assert call.of("metrics", key="turn.latency")


async def test_a_room_call_speaks_and_listens_without_options(rooms: ScriptedRooms) -> None:
    call = rooms.call()
    await call.invite()
    await call.send_audio(turn())
    assert call.of("speaking")
    assert call.of("asrFinal")


async def test_G283_typed_words_are_answered_too(rooms: ScriptedRooms) -> None:
    call = rooms.call(name="Ann")
    await call.invite()
    call.send({"command": "chat", "text": "hello there"})
    await call.expect("trackEnd", trackId="server-side-track")
    await asyncio.sleep(0.1)
    assert await rooms.said() == ["hello there", ANSWER]


async def test_G283_chat_before_invite_is_an_error(rooms: ScriptedRooms) -> None:
    call = rooms.call()
    call.send({"command": "chat", "text": "hello"})
    assert "chat" in (await call.expect("error"))["error"]


async def test_a_call_without_names_gets_a_room_of_its_own(rooms: ScriptedRooms) -> None:
    call = CallPair.connect(rooms.gateway.acceptor, "/ws?handler=room&id=somebody")
    await call.invite()
    session = rooms.gateway.get("somebody")
    assert session is not None
    assert session.room_id is not None
    people = await rooms.kit.store.list_participants(session.room_id)
    assert [person.id for person in people] == ["somebody"]
    call.send({"command": "chat", "text": "hello"})
    await call.expect("trackEnd", trackId="server-side-track")


async def test_an_answer_is_heard_by_everybody_and_spoken_once(rooms: ScriptedRooms) -> None:
    ann, ben = rooms.call(participant="ann"), rooms.call(participant="ben")
    for call in (ann, ben):
        await call.invite()
    ann.send({"command": "chat", "text": "hello"})
    for call in (ann, ben):
        await call.expect("trackEnd", trackId="server-side-track")
    assert len(ann.audio) == len(ben.audio)
    assert np.array_equal(ann.sound, ben.sound)


async def test_interrupt_ends_the_answer_for_the_whole_room(rooms: ScriptedRooms) -> None:
    ann, ben = rooms.call(participant="ann"), rooms.call(participant="ben")
    for call in (ann, ben):
        await call.invite()
    ann.send({"command": "chat", "text": "hello"})
    await ben.expect("trackStart", trackId="server-side-track")
    await asyncio.sleep(1)
    ann.send({"command": "interrupt"})
    await ben.expect("interruption", timeout=0.5)
    await asyncio.sleep(0.5)
    assert (await rooms.said())[1] == "this is the"


async def test_who_leaves_takes_nothing_along(rooms: ScriptedRooms) -> None:
    ann, ben = rooms.call(participant="ann"), rooms.call(participant="ben")
    for call in (ann, ben):
        await call.invite()
    ann.send({"command": "chat", "text": "hello"})
    await ben.expect("trackStart", trackId="server-side-track")
    ann.vanish()
    await ben.expect("trackEnd", trackId="server-side-track")
    await asyncio.sleep(0.1)
    assert await rooms.said() == ["hello", ANSWER]


@pytest.mark.parametrize("interruption", ["immediate", "confirmed", "disabled"])
async def test_V115_the_query_says_how_a_caller_interrupts(
    rooms: ScriptedRooms, interruption: str
) -> None:
    call = rooms.call(interruption=interruption)
    await call.invite()
    call.send({"command": "chat", "text": "hello"})
    await call.expect("trackStart", trackId="server-side-track")
    await asyncio.sleep(0.5)
    await call.send_audio(tone(200))
    await call.send_audio(silence(300))
    assert bool(call.of("interruption")) == (interruption == "immediate")


async def test_a_closed_room_refuses_the_call(rooms: ScriptedRooms) -> None:
    await rooms.kit.create_room("room")
    await rooms.kit.close_room("room")
    room = await rooms.kit.get_room("room")
    assert room is not None
    assert room.status is RoomStatus.CLOSED
    call = rooms.call()
    call.send({"command": "invite", "option": {}})
    assert (await call.expect("error"))["sender"] == "invite"
    assert await call.closed() == 1011


async def test_a_room_closed_later_refuses_words(rooms: ScriptedRooms) -> None:
    call = rooms.call()
    await call.invite()
    await rooms.kit.close_room("room")
    call.send({"command": "chat", "text": "hello"})
    assert "refused" in (await call.expect("error"))["error"]


class _Shut(RoomDoor):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def enter(
        self, room_id: str | None, participant_id: str, channel_id: str, name: str | None
    ) -> str:
        raise self._error


@pytest.mark.parametrize("error", [ValueError("too long"), RoomClosedError("room")])
async def test_a_door_that_stays_shut(error: Exception) -> None:

    async with (
        scripted_engine() as engine,
        scripted_rooms(engine, MockAIProvider()) as rooms,
    ):

        def handler_for(query: CallQuery) -> RoomHandler:
            return RoomHandler(
                query, kit=rooms.kit, channel=rooms.voice, door=_Shut(error), turns=TurnConfig()
            )

        async with scripted_gateway(engine, handler_for=handler_for) as gateway:
            call = CallPair.connect(gateway.acceptor, "/ws?handler=room")
            call.send({"command": "invite", "option": {}})
            message = (await call.expect("error"))["error"]
            assert ("cannot be entered: too long" in message) == isinstance(error, ValueError)
            assert await call.closed() == 1011


async def test_without_a_recogniser_the_call_runs_and_types() -> None:
    async with (
        scripted_engine(recognition=False, missing={"recognition": "salon[recognition]"}) as engine,
        scripted_rooms(engine, MockAIProvider([ANSWER])) as rooms,
    ):
        call = rooms.call()
        await call.invite()
        (error,) = call.of("error", sender="asr")
        assert error["error"] == "salon[recognition]"
        call.send({"command": "chat", "text": "hello"})
        await call.expect("trackEnd", trackId="server-side-track")


async def test_without_a_voice_answers_are_read(rooms: ScriptedRooms) -> None:
    async with (
        scripted_engine(synthesis=False, missing={"synthesis": "salon[espeak]"}) as engine,
        scripted_rooms(engine, MockAIProvider([ANSWER])) as mute,
    ):
        call = mute.call()
        await call.invite()
        call.send({"command": "chat", "text": "hello"})
        error = await call.expect("error", sender="tts")
        assert error["error"] == "salon[espeak]"
        await asyncio.sleep(0.5)
        assert await mute.said() == ["hello", ANSWER]


async def test_G62_nop_is_every_sound_in_a_room_too(rooms: ScriptedRooms) -> None:
    faint = np.zeros(8000, dtype=np.int16)
    faint[::300] = 1
    for kind, told in (("nop", True), ("silero", False)):
        call = rooms.call(participant=kind)
        await call.invite(vad={"type": kind})
        await call.send_audio(np.concatenate((silence(300), faint, silence(1000))))
        await asyncio.sleep(0.2)
        assert bool(call.of("speaking")) is told
        assert not call.of("error")


@pytest.mark.parametrize("waits", [False, True])
async def test_G64_start_when_answer_holds_in_a_room_too(rooms: ScriptedRooms, waits: bool) -> None:
    call = rooms.call()
    await call.send_audio(np.concatenate((tone(800), silence(100))))
    await call.invite(asr={"startWhenAnswer": waits}, vad={})
    await asyncio.sleep(0.5)
    await call.send_audio(silence(2000))
    heard = [event["text"] for event in call.of("asrFinal")]
    assert heard == ([] if waits else ["what time is it"])
