"""Somebody corrects a WhatsApp message, and each channel shows it as it can.

A screen gets the edit. An SMS can't be changed, so the telephone gets a correction. In the
timeline the earlier message has its new words, and the edit is an event of its own.
"""

from __future__ import annotations

from stage import Phones, Screen, run

from salon import (
    EditContent,
    EventType,
    HookExecution,
    HookResult,
    HookTrigger,
    InboundMessage,
    MockWhatsAppProvider,
    RoomContext,
    RoomEvent,
    RoomKit,
    SMSChannel,
    TextContent,
    WhatsAppChannel,
)

ANN, BOB = "+15550100", "+15550101"


def make() -> RoomKit:
    kit = RoomKit()
    kit.register_channel(WhatsAppChannel("whatsapp", provider=MockWhatsAppProvider()))
    kit.register_channel(SMSChannel("sms", provider=Phones()))
    kit.register_channel(Screen("screen"))

    @kit.hook(HookTrigger.ON_EVENT_UPDATED, HookExecution.ASYNC)
    async def corrected(event: RoomEvent, context: RoomContext) -> HookResult:
        print(f"  event {event.index} now says: {event.text}")
        return HookResult.allow()

    return kit


async def play(kit: RoomKit) -> str:
    room = await kit.create_room("trip")
    await kit.attach_channel(room.id, "whatsapp", metadata={"phone_number": ANN})
    await kit.attach_channel(room.id, "sms", metadata={"phone_number": BOB})
    await kit.attach_channel(room.id, "screen")

    print("Ann writes on WhatsApp")
    first = await kit.process_inbound(
        InboundMessage(
            channel_id="whatsapp", sender_id=ANN, content=TextContent(body="We meet at six.")
        ),
        room_id=room.id,
    )
    print("Ann corrects it")
    await kit.process_inbound(
        InboundMessage(
            channel_id="whatsapp",
            sender_id=ANN,
            event_type=EventType.EDIT,
            content=EditContent(
                target_event_id=first.event.id,
                new_content=TextContent(body="We meet at seven."),
                edit_source="sender",
            ),
        ),
        room_id=room.id,
    )
    await kit.idle(room.id)
    return room.id


def main() -> None:
    run(make, play)


if __name__ == "__main__":
    main()
