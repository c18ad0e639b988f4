"""Two agents answer each other: until the chain is too long, and then not at all.

An answer is one deeper than what it answers. At the limit it is stored, refused, and asks nobody.
Under ADDRESSED_ONLY an agent's words ask only agents they are addressed to.
"""

from __future__ import annotations

from stage import Screen, run

from salon import (
    AgentResponsePolicy,
    AIChannel,
    FrameworkEvent,
    InboundMessage,
    RoomKit,
    TextContent,
    agent,
)


@agent
async def analyst(turn, room):
    if turn.name == "Ann":
        yield "These are the numbers."
    else:
        yield "Here are more numbers."


@agent
async def writer(turn, room):
    if turn.name != "Ann":  # the analyst goes first
        yield "A text about that."


def make() -> RoomKit:
    kit = RoomKit(max_chain_depth=5)
    kit.register_channel(Screen("screen"))
    kit.register_channel(AIChannel("analyst", provider=analyst))
    kit.register_channel(AIChannel("writer", provider=writer))

    @kit.on("chain_depth_exceeded")
    def too_deep(event: FrameworkEvent) -> None:
        print(f"  {event.channel_id} is stopped at depth {event.data['depth']}")

    return kit


async def ask(kit: RoomKit, room_id: str, text: str) -> None:
    print(f"Ann writes: {text}")
    await kit.process_inbound(
        InboundMessage(
            channel_id="screen",
            sender_id="ann",
            content=TextContent(body=text),
            metadata={"sender_name": "Ann"},
        ),
        room_id=room_id,
    )
    await kit.idle(room_id)


async def play(kit: RoomKit) -> str:
    room = await kit.create_room("report")
    for channel_id in ("screen", "analyst", "writer"):
        await kit.attach_channel(room.id, channel_id)

    await ask(kit, room.id, "How was the year?")
    await kit.set_agent_response_policy(room.id, AgentResponsePolicy.ADDRESSED_ONLY)
    await ask(kit, room.id, "And the year before?")
    return room.id


def main() -> None:
    run(make, play)


if __name__ == "__main__":
    main()
