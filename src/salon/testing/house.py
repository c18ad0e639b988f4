"""A gateway and a room around scripted parts, for calls placed by `CallPair`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salon.app.guests import Guests
from salon.channels.ai import AIChannel
from salon.channels.voice import VoiceChannel
from salon.core import RoomKit
from salon.core.ports.ai import AIProvider
from salon.gateway import Gateway, SessionServices
from salon.gateway.bus import EventBus
from salon.gateway.handlers import CallHandler, ControllerHandler
from salon.gateway.query import CallQuery
from salon.gateway.room import RoomHandler
from salon.gateway.sounds import SoundLoader
from salon.models import EventType, RoomEvent, TextContent
from salon.testing.calls import CallPair
from salon.voice.engine import VoiceEngine
from salon.voice.turns import TurnConfig


@asynccontextmanager
async def scripted_gateway(
    engine: VoiceEngine,
    *,
    max_calls: int = 100,
    media: Path | None = None,
    handler_for: Callable[[CallQuery], CallHandler] = lambda _query: ControllerHandler(),
    **services: Any,
) -> AsyncIterator[Gateway]:
    """A gateway for `engine`; its calls are ended with the block. Sounds for `play` lie in
    `media`; `services` are further fields of `SessionServices`."""
    gateway = Gateway(
        SessionServices(
            engine=engine,
            bus=EventBus(),
            sounds=SoundLoader(roots=() if media is None else (media,)),
            handler_for=handler_for,
            **services,
        ),
        max_calls=max_calls,
    )
    try:
        yield gateway
    finally:
        await gateway.close()


@dataclass(slots=True)
class ScriptedRooms:
    """Rooms with one agent, and the door to them."""

    kit: RoomKit
    voice: VoiceChannel
    agent: AIChannel
    gateway: Gateway

    def call(self, room: str = "room", participant: str = "ann", **query: str) -> CallPair:
        """Somebody calls into a room; `query` are further parameters, such as ``name``."""
        asked = {"handler": "room", "room": room, "participant": participant, **query}
        return CallPair.connect(
            self.gateway.acceptor, "/ws?" + "&".join(f"{key}={asked[key]}" for key in asked)
        )

    async def messages(self, room: str = "room") -> list[RoomEvent]:
        """What was said and typed in a room so far, in order."""
        events = await self.kit.store.list_events(room, limit=500)
        return [event for event in events if event.type is EventType.MESSAGE]

    async def said(self, room: str = "room") -> list[str]:
        """The words of these messages."""
        contents = [event.content for event in await self.messages(room)]
        return [content.body for content in contents if isinstance(content, TextContent)]


@asynccontextmanager
async def scripted_rooms(
    engine: VoiceEngine,
    agent: AIProvider,
    *,
    turns: TurnConfig | None = None,
    max_calls: int = 100,
    voice_options: Mapping[str, Any] | None = None,
    **services: Any,
) -> AsyncIterator[ScriptedRooms]:
    """Rooms answered by `agent` (one of yours, or a `MockAIProvider`), all in memory. `turns` says
    how callers interrupt, `voice_options` are further ones of the `VoiceChannel`."""
    kit = RoomKit(clock=engine.clock)
    options = {"speak_text_events": False, **(voice_options or {})}
    voice = VoiceChannel(engine=engine, **options)
    ai = AIChannel(provider=agent)
    for channel in (voice, ai):
        kit.register_channel(channel)
    door = Guests(kit, (voice.channel_id, ai.channel_id))

    def handler_for(query: CallQuery) -> CallHandler:
        if query.handler == "room":
            return RoomHandler(
                query, kit=kit, channel=voice, door=door, turns=turns or TurnConfig()
            )
        return ControllerHandler()

    await agent.start()
    try:
        async with (
            kit,
            scripted_gateway(
                engine, max_calls=max_calls, handler_for=handler_for, **services
            ) as gateway,
        ):
            yield ScriptedRooms(kit, voice, ai, gateway)
    finally:
        await agent.close()
