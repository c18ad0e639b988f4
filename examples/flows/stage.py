"""What the flows share: telephones and screens that print what reaches them, and the timeline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from salon import (
    ChannelBinding,
    ChannelOutput,
    EditContent,
    EventType,
    ProviderResult,
    RoomContext,
    RoomEvent,
    RoomKit,
    SMSProvider,
    SystemContent,
    TextContent,
    WebSocketChannel,
)


class Phones(SMSProvider):
    """Where text messages end up, in place of a provider that sends them."""

    name = "phones"

    async def send(self, event: RoomEvent, to: str, from_: str | None = None) -> ProviderResult:
        print(f"  {to} gets: {words(event)}")
        return ProviderResult(success=True, provider_message_id=f"sms-{event.index}")


class Screen(WebSocketChannel):
    """Somebody at a screen."""

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        print(f"  {self.channel_id} sees: {words(event)}")
        return await super().deliver(event, binding, context)


def words(event: RoomEvent) -> str:
    """What an event says, in a line."""
    match event.content:
        case TextContent(body=body):
            return body
        case SystemContent(code=code, body=body):
            return body or str(code)
        case EditContent(new_content=TextContent(body=body)):
            return f"(edited) {body}"
    return f"({event.content.type})"


async def show(kit: RoomKit, room_id: str) -> None:
    """Print the timeline of a room, what was refused too."""
    print("\nTimeline")
    for event in await kit.get_timeline(room_id, include_blocked=True):
        record = event.type not in (EventType.MESSAGE, EventType.EDIT)
        what = event.type.value if record else words(event)
        line = (
            f"  {event.index:>2}  {event.source.channel_id:<10} depth {event.chain_depth}  {what}"
        )
        print(line if event.blocked_by is None else f"{line}  [blocked by {event.blocked_by}]")


def run(make: Callable[[], RoomKit], play: Callable[[RoomKit], Awaitable[str]]) -> None:
    """Open the kit, play the flow in it, show the timeline it leaves."""

    async def whole() -> None:
        async with make() as kit:
            await show(kit, await play(kit))

    asyncio.run(whole())
