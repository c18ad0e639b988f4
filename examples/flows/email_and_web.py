"""One room for e-mail and a screen, with an agent that uses a tool.

The customer mails, a colleague reads along at a screen, and the agent looks the order up before it
answers. The answer goes out as mail, in the thread of the question.
"""

from __future__ import annotations

from stage import Screen, run, words

import salon
from salon import (
    AIChannel,
    EmailChannel,
    EmailProvider,
    HookExecution,
    HookResult,
    HookTrigger,
    InboundMessage,
    MockAIProvider,
    ProviderResult,
    RoomContext,
    RoomEvent,
    RoomKit,
    TextContent,
    ToolCallEvent,
)
from salon.providers.ai import AIToolCall

ORDERS = {7: "on its way"}


@salon.tool
def find_order(number: int) -> str:
    """Where an order is.

    number: the number on the bill
    """
    return ORDERS.get(number, "unknown")


class Mail(EmailProvider):
    """Prints what a mail server would get."""

    name = "mail"

    async def send(
        self, event: RoomEvent, to: str, from_: str | None = None, subject: str | None = None
    ) -> ProviderResult:
        print(f"  {to} gets: {words(event)}")
        return ProviderResult(success=True, provider_message_id=event.id)


def make() -> RoomKit:
    kit = RoomKit()
    # A language model goes here, see `salon.OpenAIProvider`. This one plays its part.
    model = MockAIProvider(
        [[AIToolCall("call-1", "find_order", {"number": 7})], "Order 7 is on its way."]
    )
    kit.register_channel(EmailChannel("email", provider=Mail(), from_address="shop@example.org"))
    kit.register_channel(Screen("web"))
    kit.register_channel(
        AIChannel("agent", provider=model, system_prompt="You help customers.", tools=[find_order])
    )

    @kit.hook(HookTrigger.ON_ROOM_CREATED, HookExecution.ASYNC)
    async def furnish(event: RoomEvent, context: RoomContext) -> HookResult:
        for channel_id in ("web", "agent"):
            await kit.attach_channel(event.room_id, channel_id)
        return HookResult.allow()

    @kit.hook(HookTrigger.ON_TOOL_CALL, HookExecution.ASYNC)
    async def looked_up(call: ToolCallEvent, context: RoomContext) -> HookResult:
        print(f"  the agent calls {call.name}({call.arguments}) and reads: {call.result}")
        return HookResult.allow()

    return kit


async def play(kit: RoomKit) -> str:
    print("ann@example.org mails")
    result = await kit.process_inbound(
        InboundMessage(
            channel_id="email",
            sender_id="ann@example.org",
            content=TextContent(body="Where is order 7?"),
            thread_id="<q1@example.org>",
            metadata={"subject": "My order"},
        )
    )
    room_id = result.event.room_id
    print("A colleague adds")
    await kit.send_event(room_id, "web", "I have sent you a voucher, too.", addressed_to=[])
    return room_id


def main() -> None:
    run(make, play)


if __name__ == "__main__":
    main()
