"""Calls over `/ws` on scripted engines, in virtual time, for the rules that need no network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salon.gateway import Gateway, Session
from salon.testing import CallPair, MockTextToSpeech, scripted_engine, scripted_gateway
from salon.voice.engine import VoiceEngine
from salon.voice.stt.mock import Scripted

WORDS = ("first words", "second words", "third words")
"""What the recogniser understands, turn by turn."""


@dataclass(slots=True)
class House:
    """A gateway with its engine."""

    gateway: Gateway
    engine: VoiceEngine

    def connect(self, url: str = "/ws?id=call-1", **options: Any) -> CallPair:
        """A client that has sent nothing yet."""
        return CallPair.connect(self.gateway.acceptor, url, **options)

    async def call(self, url: str = "/ws?id=call-1", **option: Any) -> CallPair:
        """A client whose invite with these options was answered."""
        made = self.connect(url)
        await made.invite(**option)
        return made

    def session(self, session_id: str = "call-1") -> Session:
        """The server's side of a live call."""
        found = self.gateway.get(session_id)
        assert found is not None
        return found

    @property
    def voice(self) -> MockTextToSpeech:
        """What speaks unless a test brings another."""
        found = self.engine.synthesizers[""]
        assert isinstance(found, MockTextToSpeech)
        return found


@asynccontextmanager
async def house(
    heard: Iterable[Scripted] = WORDS,
    *,
    max_calls: int = 10,
    media: Path | None = None,
    parts: dict[str, Any] | None = None,
    **services: Any,
) -> AsyncIterator[House]:
    """`parts` go to the engine, `services` to `SessionServices`."""
    async with (
        scripted_engine(heard, **(parts or {})) as engine,
        scripted_gateway(engine, max_calls=max_calls, media=media, **services) as gateway,
    ):
        yield House(gateway, engine)


def server(call: CallPair) -> list[tuple[str, str | None]]:
    """Events of the server track with their playId."""
    return [
        (event["event"], event.get("playId"))
        for event in call.events
        if event.get("trackId") == "server-side-track"
    ]
