"""Three people share a telephone; who wrote is settled later, by an advisor."""

from __future__ import annotations

from stage import Phones, Screen, run

from salon import (
    HookExecution,
    HookResult,
    HookTrigger,
    IdentificationStatus,
    Identity,
    IdentityHookResult,
    IdentityResolver,
    IdentityResult,
    InboundMessage,
    RoomContext,
    RoomEvent,
    RoomKit,
    SMSChannel,
    TextContent,
)

PHONE = "+15550100"
FAMILY = [Identity(id=name.lower(), display_name=name) for name in ("Ann", "Bob", "Cleo")]


class OnePhone(IdentityResolver):
    """Knows that the family has one telephone."""

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        if message.sender_id == PHONE:
            return IdentityResult(status=IdentificationStatus.AMBIGUOUS, candidates=tuple(FAMILY))
        return IdentityResult(status=IdentificationStatus.UNKNOWN)


def make() -> RoomKit:
    kit = RoomKit(identity_resolver=OnePhone())
    kit.register_channel(SMSChannel("sms", provider=Phones()))
    kit.register_channel(Screen("advisor"))

    @kit.identity_hook(HookTrigger.ON_IDENTITY_AMBIGUOUS)
    async def settle_later(
        event: RoomEvent, context: RoomContext, result: IdentityResult
    ) -> IdentityHookResult:
        return IdentityHookResult.pending(display_name="Somebody of the family")

    @kit.hook(HookTrigger.ON_PARTICIPANT_IDENTIFIED, HookExecution.ASYNC)
    async def known_now(event: RoomEvent, context: RoomContext) -> HookResult:
        print(f"  identified: {event.content.data['identity_id']}")
        return HookResult.allow()

    return kit


async def who(kit: RoomKit, room_id: str) -> None:
    for person in await kit.list_members(room_id):
        name, status = person.display_name, person.identification.value
        print(f"  {name} is {status}, candidates: {person.candidates or 'none'}")


async def play(kit: RoomKit) -> str:
    for person in FAMILY:
        await kit.store.create_identity(person)
    room = await kit.create_room("family")
    await kit.attach_channel(room.id, "sms", metadata={"phone_number": PHONE})
    await kit.attach_channel(room.id, "advisor")

    print(f"{PHONE} writes")
    result = await kit.process_inbound(
        InboundMessage(
            channel_id="sms", sender_id=PHONE, content=TextContent(body="We lost our key.")
        ),
        room_id=room.id,
    )
    await who(kit, room.id)

    print("The advisor has asked: it is Bob")
    sender = result.event.source.participant_id
    await kit.resolve_participant(room.id, sender, "bob", resolved_by="advisor")
    await kit.idle(room.id)
    await who(kit, room.id)
    return room.id


def main() -> None:
    run(make, play)


if __name__ == "__main__":
    main()
