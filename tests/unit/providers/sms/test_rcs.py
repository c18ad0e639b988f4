"""Rich messages fall back to text messages."""

from __future__ import annotations

from salon.models import ChannelType, EventSource, RoomEvent, TextContent
from salon.providers.rcs import MockRCSProvider, RCSDeliveryResult, RCSProvider

RICH, PLAIN = "+15558675310", "+15558675311"
SOURCE = EventSource(channel_id="ai", channel_type=ChannelType.AI)
EVENT = RoomEvent(room_id="r", source=SOURCE, content=TextContent(body="x"))


async def test_a_phone_without_rcs_gets_sms_if_it_may() -> None:
    mock = MockRCSProvider(without_rcs=[PLAIN])
    assert (await mock.send(EVENT, RICH)).channel_used == "rcs"
    fallen = await mock.send(EVENT, PLAIN)
    assert (fallen.success, fallen.channel_used, fallen.fallback) == (True, "sms", True)
    refused = await mock.send(EVENT, PLAIN, fallback=False)
    assert (refused.success, refused.error) == (False, "rcs_unavailable")
    assert await mock.check_capability(RICH)
    assert not await mock.check_capability(PLAIN)
    assert [item["to"] for item in mock.sent] == [RICH, PLAIN, PLAIN]
    await mock.close()
    assert mock.closed


async def test_a_provider_need_only_send() -> None:
    class Plain(RCSProvider):
        async def send(
            self, event: RoomEvent, to: str, *, fallback: bool = True
        ) -> RCSDeliveryResult:
            return RCSDeliveryResult(success=True)

    plain = Plain()
    assert await plain.check_capability(RICH)
    await plain.close()
