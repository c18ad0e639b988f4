"""An advisor joins a conversation, and the agent goes on in a whisper.

From then on the customer's words reach both, the agent's only the advisor, the advisor's the
customer; until the agent is let out again.
"""

from __future__ import annotations

from stage import Phones, Screen, run

from salon import AIChannel, InboundMessage, RoomKit, SMSChannel, TextContent, agent

CUSTOMER = "+15550100"


@agent
async def bank(turn, room):
    if turn.name != "Vera":  # the advisor needs no answer
        yield f"About “{turn.text}”: the rate is 3 %."


def make() -> RoomKit:
    kit = RoomKit()
    kit.register_channel(SMSChannel("sms", provider=Phones()))
    kit.register_channel(Screen("advisor"))
    kit.register_channel(AIChannel("agent", provider=bank))
    return kit


async def say(kit: RoomKit, room_id: str, channel_id: str, name: str, text: str) -> None:
    print(f"{name} writes: {text}")
    sender = CUSTOMER if channel_id == "sms" else name.lower()
    await kit.process_inbound(
        InboundMessage(
            channel_id=channel_id,
            sender_id=sender,
            content=TextContent(body=text),
            metadata={"sender_name": name},
        ),
        room_id=room_id,
    )


async def play(kit: RoomKit) -> str:
    room = await kit.create_room("mortgage")
    await kit.attach_channel(room.id, "sms", metadata={"phone_number": CUSTOMER})
    await kit.attach_channel(room.id, "agent")
    await say(kit, room.id, "sms", "Ann", "What is the rate?")

    print("An advisor joins; the agent whispers")
    await kit.attach_channel(room.id, "advisor")
    await kit.mute(room.id, "agent")
    await kit.set_visibility(room.id, "agent", "advisor")
    await kit.unmute(room.id, "agent")
    await say(kit, room.id, "sms", "Ann", "And for ten years?")
    await say(kit, room.id, "advisor", "Vera", "For you 2.9 %.")

    print("The advisor lets the agent answer again")
    await kit.set_visibility(room.id, "agent", "all")
    await say(kit, room.id, "sms", "Ann", "And for twenty?")
    return room.id


def main() -> None:
    run(make, play)


if __name__ == "__main__":
    main()
