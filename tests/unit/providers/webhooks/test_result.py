"""Results, the errors made of them, and reports about sent messages."""

from __future__ import annotations

from typing import Any

import pytest

import salon.models
from salon.models import DeliveryStatus, ProviderDeliveryError, ProviderResult, RoomKitError


@pytest.mark.parametrize(
    ("said", "retryable"),
    [
        ({}, True),
        ({"retryable": False}, False),
        ({"retryable": True}, True),
        ({"outcome_unknown": True}, False),
        ({"metadata": {"retryable": False}}, False),
        ({"metadata": {"retryable": True}, "outcome_unknown": True}, True),
        ({"metadata": {"retryable": "no"}}, True),
        ({"metadata": {}}, True),
    ],
)
def test_a_failure_is_retryable_unless_it_says_otherwise(
    said: dict[str, Any], retryable: bool
) -> None:
    assert ProviderResult(success=False, error="x", **said).retryable is retryable


def test_a_success_is_not_retryable_and_raises_nothing() -> None:
    result = ProviderResult(success=True, provider_message_id="m")
    assert not result.retryable
    assert result.raise_for_error() is result
    assert ProviderResult.model_validate(result) is result


@pytest.mark.parametrize(
    ("result", "code", "text"),
    [
        (ProviderResult(success=False, error="boom"), "boom", "boom"),
        (ProviderResult(success=False, error="a", error_message="words"), "a", "words"),
        (ProviderResult(success=False, error="a", metadata={"code": "b"}), "b", "b"),
        (ProviderResult(success=False), "provider_delivery", "provider_delivery"),
    ],
)
def test_R56_a_failure_raises_its_code(result: ProviderResult, code: str, text: str) -> None:
    with pytest.raises(ProviderDeliveryError) as caught:
        result.raise_for_error()
    error = caught.value
    assert (error.code, str(error), error.retryable) == (code, text, True)
    assert error.result is error.provider_result is result
    assert isinstance(error, RoomKitError)
    assert ProviderDeliveryError.code == "provider_delivery"


def test_an_error_without_a_result() -> None:
    error = ProviderDeliveryError("full", "no room", retryable=True, retry_after=2.5)
    assert (error.code, str(error)) == ("full", "no room")
    assert (error.retryable, error.retry_after, error.result) == (True, 2.5, None)
    result = ProviderResult(success=False, error="x", retryable=True, retry_after=9)
    stricter = ProviderDeliveryError("y", retryable=False, retry_after=1, result=result)
    assert (stricter.code, stricter.retryable, stricter.retry_after) == ("y", False, 1)


def test_the_old_places_lead_to_the_same_classes() -> None:
    import salon.providers.sms.status as status
    import salon.providers.webhooks as webhooks

    assert status.DeliveryStatus is DeliveryStatus
    for module in (webhooks, webhooks.errors):
        assert module.ProviderDeliveryError is ProviderDeliveryError
    for module in (webhooks, webhooks.result):
        assert module.ProviderResult is ProviderResult
    names = {"DeliveryStatus", "ProviderResult", "ProviderDeliveryError", "RoomKitError"}
    assert names <= set(salon.models.__all__)


def test_R213_a_report_needs_no_addresses() -> None:
    status = DeliveryStatus(provider="twilio", message_id="SM1", status="delivered")
    assert (status.final, status.failed) == (True, False)
    assert status.idempotency_key == "twilio:SM1:delivered"
    assert (status.recipient, status.sender, status.room_id) == ("", "", None)


def test_the_paths_of_roomkit() -> None:
    import salon.providers.http as http
    import salon.providers.sms as sms
    import salon.providers.twilio as twilio
    import salon.providers.webhooks as webhooks

    for name in twilio.__all__:
        assert getattr(twilio, name) is getattr(sms, name)
    for name in http.__all__:
        assert getattr(http, name) is getattr(webhooks, name)
