"""How fast callers were answered, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from salon.app.house import House
from salon.app.measured import Spread
from salon.app.settings import Settings
from salon.channels.voice import MeasuredTurn, VoiceChannel

from .rest import ACME, BETA, MASTER, Api, serving, small_house

START = datetime(2026, 1, 5, 8, tzinfo=UTC)


class Measured(VoiceChannel):
    """A voice channel that has measured what the test says."""

    def __init__(self, channel_id: str = "voice") -> None:
        super().__init__(channel_id)
        self.measured: list[MeasuredTurn] = []

    def measured_turns(self, room_id: str) -> tuple[MeasuredTurn, ...]:
        return tuple(turn for turn in self.measured if turn.room_id == room_id)

    def add(
        self,
        room_id: str,
        index: int,
        known: int,
        word: int,
        sound: int,
        audio: int,
        at: float = 0.0,
    ) -> None:
        turn = MeasuredTurn(
            room_id,
            self.channel_id,
            "s1",
            "ann",
            index,
            START + timedelta(seconds=at or index),
            known,
            word,
            sound,
            audio,
            "ears",
            "voice",
        )
        self.measured.append(turn)


@pytest.fixture
def voices() -> list[Measured]:
    return []


@pytest.fixture
async def api(settings: Settings, voices: list[Measured]) -> AsyncIterator[Api]:
    def build(settings: Settings) -> House:
        house = small_house(settings)
        voices[:] = [Measured(), Measured("phone")]
        for voice in voices:
            house.kit.register_channel(voice)
        return house

    async with serving(settings, keys=True, build=build) as api:
        await api.ask("POST", "/rooms", MASTER, 201, json={"id": "r", "organization_id": "acme"})
        yield api


async def test_without_a_turn_there_is_nothing_to_sum_up(api: Api) -> None:
    assert await api.ask("GET", "/rooms/r/turns", MASTER) == {
        "turns": [],
        "until": None,
        "parts": None,
    }


async def test_turns_come_with_where_the_time_went(api: Api, voices: list[Measured]) -> None:
    voice, phone = voices
    voice.add("r", 0, 200, 300, 400, 420)
    voice.add("r", 1, 250, 700, 900, 910)
    phone.add("r", 0, 100, 300, 400, 400, at=0.5)
    voice.add("another", 0, 1, 1, 1, 1)
    found = await api.ask("GET", "/rooms/r/turns", ACME)
    assert [(turn["channel_id"], turn["index"]) for turn in found["turns"]] == [
        ("voice", 0),
        ("phone", 0),
        ("voice", 1),
    ]
    assert found["turns"][0] == {
        "index": 0,
        "channel_id": "voice",
        "session_id": "s1",
        "participant_id": "ann",
        "ended_at": "2026-01-05T08:00:00Z",
        "recognised_ms": 200,
        "first_word_ms": 300,
        "first_sound_ms": 400,
        "first_audio_ms": 420,
        "stt": "ears",
        "tts": "voice",
    }
    assert found["until"] == {
        "recognised": {"p50": 200, "p95": 250},
        "first_word": {"p50": 300, "p95": 700},
        "first_sound": {"p50": 400, "p95": 900},
        "first_audio": {"p50": 420, "p95": 910},
    }
    assert found["parts"] == {
        "stt": {"p50": 200, "p95": 250},
        "ai": {"p50": 200, "p95": 450},
        "tts": {"p50": 100, "p95": 200},
        "playout": {"p50": 10, "p95": 20},
    }


@pytest.mark.parametrize("access", ["read", "write"])
async def test_a_room_token_is_told_no_call_and_no_engines(
    api: Api, voices: list[Measured], access: str
) -> None:
    voices[0].add("r", 0, 200, 300, 400, 420)
    token = await api.token("r", access=access)
    (turn,) = (await api.ask("GET", "/rooms/r/turns", token))["turns"]
    assert (turn["session_id"], turn["stt"], turn["tts"]) == (None, None, None)
    assert turn["first_audio_ms"] == 420


async def test_R267_turns_are_for_those_who_may_have_the_room(
    api: Api, voices: list[Measured]
) -> None:
    voices[0].add("r", 0, 200, 300, 400, 420)
    await api.ask("POST", "/rooms", MASTER, 201, json={"id": "other"})
    foreign = await api.token("other")
    where = "/rooms/r/turns"
    await api.fails("GET", where, 401, "unauthorized")
    await api.fails("GET", where, 401, "unauthorized", "wrong-key")
    await api.fails("GET", where, 404, "room_not_found", BETA)
    await api.fails("GET", where, 404, "room_not_found", foreign)
    token = await api.token("r", participant_id="ann")
    people: dict[str, Any] = {"participant_id": "ann", "channel_id": "websocket"}
    await api.ask("POST", "/rooms/r/participants", MASTER, 201, json=people)
    await api.ask("DELETE", "/rooms/r/participants/ann?status=banned", MASTER)
    barred = await api.client.get(where, headers={"Authorization": f"Bearer {token}"})
    assert barred.status_code == 403


async def test_turns_of_a_room_that_is_gone_are_not_found(api: Api, voices: list[Measured]) -> None:
    voices[0].add("r", 0, 200, 300, 400, 420)
    await api.ask("DELETE", "/rooms/r", MASTER, 204)
    await api.fails("GET", "/rooms/r/turns", 404, "room_not_found", MASTER)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, (1, 1)), (2, (1, 2)), (20, (10, 19)), (100, (50, 95))]
)
def test_a_spread_is_by_nearest_rank(count: int, expected: tuple[int, int]) -> None:
    spread = Spread.of(range(count, 0, -1))
    assert (spread.p50, spread.p95) == expected
