"""Somebody texts their social insurance number, and it goes no further.

A hook blocks the message, tells the sender and an advisor, and leaves an observation. The message
is in the timeline, refused; no agent was asked.
"""

from __future__ import annotations

import re

from stage import Phones, Screen, run

from salon import (
    AIChannel,
    EventSource,
    HookResult,
    HookTrigger,
    InboundMessage,
    InjectedEvent,
    Observation,
    RoomContext,
    RoomEvent,
    RoomKit,
    SMSChannel,
    TextContent,
    agent,
)

CUSTOMER = "+15550100"


@agent
async def shop(turn, room):
    yield "Noted."


def notice(event: RoomEvent, text: str, to: str) -> InjectedEvent:
    """Words of the house for one channel."""
    told = RoomEvent(
        room_id=event.room_id,
        source=EventSource(channel_id="system", channel_type="system"),
        content=TextContent(body=text),
        visibility=to,
    )
    return InjectedEvent(told, target_channel_ids=(to,))


def make() -> RoomKit:
    kit = RoomKit()
    kit.register_channel(SMSChannel("sms", provider=Phones()))
    kit.register_channel(Screen("advisor"))
    kit.register_channel(AIChannel("agent", provider=shop))

    @kit.hook(HookTrigger.BEFORE_BROADCAST, name="no_numbers")
    async def no_numbers(event: RoomEvent, context: RoomContext) -> HookResult:
        if not re.search(r"\b\d{3}[ -]?\d{3}[ -]?\d{3}\b", event.text or ""):
            return HookResult.allow()
        sender = event.source.channel_id
        return HookResult.block(
            "sensitive number",
            injected=(
                notice(event, "Please never send that number here.", sender),
                notice(event, "The customer sent a sensitive number.", "advisor"),
            ),
            observations=(
                Observation(
                    room_id=event.room_id,
                    channel_id=sender,
                    category="sensitive_number",
                    content="a nine-digit number was refused",
                ),
            ),
        )

    return kit


async def play(kit: RoomKit) -> str:
    room = await kit.create_room("insurance")
    await kit.attach_channel(room.id, "sms", metadata={"phone_number": CUSTOMER})
    await kit.attach_channel(room.id, "advisor")
    await kit.attach_channel(room.id, "agent")

    print(f"{CUSTOMER} writes a number")
    result = await kit.process_inbound(
        InboundMessage(
            channel_id="sms", sender_id=CUSTOMER, content=TextContent(body="It is 046 454 286")
        ),
        room_id=room.id,
    )
    print(f"  refused: {result.reason}")
    for observation in await kit.list_observations(room.id):
        print(f"  observed: {observation.content}")
    return room.id


def main() -> None:
    run(make, play)


if __name__ == "__main__":
    main()
