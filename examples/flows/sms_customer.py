"""A customer sends a text message, and an agent answers.

Nobody prepared a room: it is made for the first message, and its ON_ROOM_CREATED hook brings the
agent in. The customer is known by their number.
"""

from __future__ import annotations

from stage import Phones, run

from salon import (
    AIChannel,
    HookExecution,
    HookResult,
    HookTrigger,
    Identity,
    InboundMessage,
    InMemoryIdentityResolver,
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
    yield f"Hello {turn.name}, your parcel comes tomorrow."


def make() -> RoomKit:
    ann = Identity(id="ann", display_name="Ann", channel_addresses={"sms": [CUSTOMER]})
    kit = RoomKit(identity_resolver=InMemoryIdentityResolver([ann]))
    kit.register_channel(SMSChannel("sms", provider=Phones(), from_number="+15550199"))
    kit.register_channel(AIChannel("agent", provider=shop))

    @kit.hook(HookTrigger.ON_ROOM_CREATED, HookExecution.ASYNC)
    async def furnish(event: RoomEvent, context: RoomContext) -> HookResult:
        await kit.attach_channel(event.room_id, "agent")
        return HookResult.allow()

    return kit


async def play(kit: RoomKit) -> str:
    print(f"{CUSTOMER} writes")
    result = await kit.process_inbound(
        InboundMessage(
            channel_id="sms",
            sender_id=CUSTOMER,
            content=TextContent(body="Where is my parcel?"),
            idempotency_key="SM1",  # the provider's id of the message: it may be delivered twice
        )
    )
    return result.event.room_id


def main() -> None:
    run(make, play)


if __name__ == "__main__":
    main()
