"""Rich messages fall back to text messages."""

from __future__ import annotations

import pytest

from salon.models import ChannelType, EventSource, RoomEvent, TextContent
from salon.providers.rcs import RCS_UNAVAILABLE, MockRCSProvider, RCSDeliveryResult, RCSProvider

RICH, PLAIN = "+15558675310", "+15558675311"
SOURCE = EventSource(channel_id="ai", channel_type=ChannelType.AI)
EVENT = RoomEvent(room_id="r", source=SOURCE, content=TextContent(body="x"))


async def test_a_phone_without_rcs_gets_sms_if_it_may() -> None:
    mock = MockRCSProvider(without_rcs=[PLAIN])
    assert (await mock.send(EVENT, RICH)).channel_used == "rcs"
    fallen = await mock.send(EVENT, PLAIN)
    assert (fallen.success, fallen.channel_used, fallen.fallback) == (True, "sms", True)
    refused = await mock.send(EVENT, PLAIN, fallback=False)
    assert (refused.success, refused.error) == (False, RCS_UNAVAILABLE)
    assert refused.unreachable
    assert not fallen.unreachable
    assert await mock.check_capability(RICH)
    assert not await mock.check_capability(PLAIN)
    assert [item["to"] for item in mock.calls] == [RICH, PLAIN, PLAIN]
    await mock.close()
    assert mock.closed


async def test_all_phones_may_be_without_it_and_everything_may_fail() -> None:
    nobody = MockRCSProvider("agent", simulate_fallback=True)
    assert nobody.sender_id == "agent"
    assert (await nobody.send(EVENT, RICH)).fallback
    broken = await MockRCSProvider(simulate_failure=True).send(EVENT, RICH)
    assert (broken.error, broken.retryable, broken.unreachable) == (
        "simulated_failure",
        True,
        False,
    )


async def test_a_provider_need_only_send() -> None:
    class Plain(RCSProvider):
        async def send(
            self, event: RoomEvent, to: str, *, fallback: bool = True
        ) -> RCSDeliveryResult:
            return RCSDeliveryResult(success=True)

    plain = Plain()
    assert await plain.check_capability(RICH)
    with pytest.raises(NotImplementedError, match="Plain can't verify"):
        plain.verify_signature(b"", "")
    with pytest.raises(NotImplementedError, match="Plain takes no webhooks"):
        plain.parse_webhook({}, "rcs")
    await plain.close()
