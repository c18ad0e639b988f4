"""Rich messages, and text messages in their stead."""

from __future__ import annotations

import pytest

from salon.channels import RCSChannel
from salon.models import (
    EditContent,
    ProviderDeliveryError,
    ProviderResult,
    RichContent,
    RoomEvent,
    TextContent,
    ToolCallContent,
)
from salon.providers.rcs import RCS_UNAVAILABLE, MockRCSProvider, RCSDeliveryResult
from salon.providers.sms import MockSMSProvider

from .transports import deliver

RICH, PLAIN = "+15558675310", "+15558675311"


def way(result: ProviderResult | None) -> tuple[str, bool, str | None]:
    assert isinstance(result, RCSDeliveryResult)
    return result.channel_used, result.fallback, result.provider_message_id


async def test_who_takes_rcs_gets_rcs() -> None:
    rcs, sms = MockRCSProvider(without_rcs=[PLAIN]), MockSMSProvider()
    output = await deliver(RCSChannel("rcs", provider=rcs, fallback=sms), phone_number=RICH)
    assert way(output.provider_result) == ("rcs", False, "mock-1")
    assert rcs.sent[0]["fallback"] is False
    assert not sms.sent


async def test_who_takes_none_gets_an_sms_in_words_it_can_carry() -> None:
    rcs, sms = MockRCSProvider(without_rcs=[PLAIN]), MockSMSProvider()
    channel = RCSChannel("rcs", provider=rcs, fallback=sms, from_number="+15550002222")
    card = RichContent(body="**Hi** " + "x" * 2000, buttons=[{"label": "Go"}])
    output = await deliver(channel, card, phone_number=PLAIN)
    assert way(output.provider_result) == ("sms", True, "mock-1")
    assert output.provider_message_id == "mock-1"
    (sent,) = sms.sent
    assert (sent["to"], sent["from"]) == (PLAIN, "+15550002222")
    assert isinstance(sent["event"].content, TextContent)
    assert len(sent["event"].content.body) == 1600
    assert rcs.sent[0]["event"].content == card


async def test_without_an_sms_provider_the_vendor_falls_back() -> None:
    rcs = MockRCSProvider(simulate_fallback=True)
    output = await deliver(RCSChannel("rcs", provider=rcs), phone_number=PLAIN)
    assert way(output.provider_result) == ("sms", True, "mock-1")
    assert rcs.calls[0]["fallback"] is True


@pytest.mark.parametrize("by_vendor", [True, False])
async def test_a_binding_may_forbid_the_fallback(by_vendor: bool) -> None:
    rcs, sms = MockRCSProvider(without_rcs=[PLAIN]), MockSMSProvider()
    channel = RCSChannel("rcs", provider=rcs, fallback=True if by_vendor else sms)
    with pytest.raises(ProviderDeliveryError) as caught:
        await deliver(channel, phone_number=PLAIN, fallback=False)
    assert (caught.value.code, caught.value.retryable) == (RCS_UNAVAILABLE, False)
    assert rcs.sent[0]["fallback"] is False
    assert not sms.sent


async def test_a_binding_cannot_allow_what_the_channel_forbids() -> None:
    rcs = MockRCSProvider(without_rcs=[PLAIN])
    with pytest.raises(ProviderDeliveryError, match="takes no RCS"):
        await deliver(
            RCSChannel("rcs", provider=rcs, fallback=False), phone_number=PLAIN, fallback=True
        )


async def test_a_vendor_that_cannot_fall_back_says_so() -> None:
    rcs = MockRCSProvider(without_rcs=[PLAIN], supports_fallback=False)
    with pytest.raises(ProviderDeliveryError, match="takes no RCS"):
        await deliver(RCSChannel("rcs", provider=rcs), phone_number=PLAIN)


async def test_other_failures_lead_to_no_second_message() -> None:
    sms = MockSMSProvider()
    broken = RCSChannel("rcs", provider=MockRCSProvider(simulate_failure=True), fallback=sms)
    with pytest.raises(ProviderDeliveryError) as caught:
        await deliver(broken, phone_number=RICH)
    assert caught.value.code == "simulated_failure"

    class Silent(MockRCSProvider):
        async def send(
            self, event: RoomEvent, to: str, *, fallback: bool = True
        ) -> RCSDeliveryResult:
            return RCSDeliveryResult(success=False, error=RCS_UNAVAILABLE, outcome_unknown=True)

    with pytest.raises(ProviderDeliveryError) as silent:
        await deliver(RCSChannel("rcs", provider=Silent(), fallback=sms), phone_number=RICH)
    assert not silent.value.retryable
    assert not sms.sent


async def test_an_sms_that_fails_is_what_is_raised() -> None:
    refusal = ProviderResult(success=False, error="queue_full", retryable=True, retry_after=3)
    sms = MockSMSProvider(refusal)
    channel = RCSChannel("rcs", provider=MockRCSProvider(without_rcs=[PLAIN]), fallback=sms)
    with pytest.raises(ProviderDeliveryError) as caught:
        await deliver(channel, phone_number=PLAIN)
    error = caught.value
    assert (error.code, error.retryable, error.retry_after) == ("queue_full", True, 3)
    assert way(error.result) == ("sms", True, None)


async def test_what_no_sms_can_say_is_not_sent_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sms = MockSMSProvider()
    channel = RCSChannel("rcs", provider=MockRCSProvider(without_rcs=[PLAIN]), fallback=sms)
    monkeypatch.setattr("salon.channels.rcs.transcode", lambda content, capabilities: None)
    tool = ToolCallContent(tool_name="t", tool_id="1")
    with pytest.raises(ProviderDeliveryError, match="takes no RCS"):
        await deliver(
            channel, EditContent(target_event_id="e", new_content=tool), phone_number=PLAIN
        )
    assert not sms.sent


async def test_both_providers_are_closed() -> None:
    rcs, sms = MockRCSProvider(), MockSMSProvider()
    await RCSChannel("rcs", provider=rcs, fallback=sms).close()
    assert rcs.closed
    assert sms.closed
    await RCSChannel("rcs").close()
