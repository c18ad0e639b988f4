"""What Twilio's webhooks say, in common words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.models import CompositeContent, MediaContent, TextContent
from salon.providers.sms import extract_sms_meta, parse_twilio_status, parse_twilio_webhook
from salon.providers.webhooks import WebhookPayloadError

INBOUND = {
    "MessageSid": "SM0123",
    "SmsStatus": "received",
    "From": "+1 555-867-5310",
    "To": "+15017122661",
    "Body": "Hello",
    "NumMedia": "0",
    "NumSegments": "2",
    "FromCity": "ANYTOWN",
}
STATUS = {
    "MessageSid": "SM0123",
    "MessageStatus": "failed",
    "SmsStatus": "failed",
    "From": "+15017122661",
    "To": "+15558675310",
    "ErrorCode": "30008",
}


def test_R218_the_payload_stays_untouched() -> None:
    message = parse_twilio_webhook(INBOUND, "sms")
    assert message is not None
    assert message.raw_payload == INBOUND
    assert message.provider_message_id == "SM0123"


def test_R17_the_common_words_of_a_text_message() -> None:
    message = parse_twilio_webhook(INBOUND | {"OptOutType": "STOP"}, "sms")
    assert message is not None
    assert message.sender_id == "+15558675310"
    assert message.content == TextContent(body="Hello")
    assert message.metadata == {
        "provider": "twilio",
        "channel_type": "sms",
        "from_number": "+15558675310",
        "to_number": "+15017122661",
        "segments": 2,
        "opt_out_type": "STOP",
    }


def test_a_repeated_webhook_has_the_same_idempotency_key() -> None:
    first, second = (parse_twilio_webhook(INBOUND, "sms") for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.idempotency_key == second.idempotency_key == "SM0123"


def test_media_make_a_composite_and_the_channel_type_mms() -> None:
    media = {"MediaUrl0": "https://a.example/1", "MediaContentType0": "image/gif"}
    media |= {"MediaUrl1": "https://a.example/2", "MediaUrl2": "javascript:alert(1)"}
    message = parse_twilio_webhook(INBOUND | media, "sms")
    assert message is not None
    assert message.content == CompositeContent(
        parts=[
            TextContent(body="Hello"),
            MediaContent(url="https://a.example/1", mime_type="image/gif"),
            MediaContent(url="https://a.example/2", mime_type="application/octet-stream"),
        ]
    )
    assert message.metadata["channel_type"] == "mms"


def test_media_without_words_stand_alone() -> None:
    message = parse_twilio_webhook(
        INBOUND | {"Body": "", "MediaUrl0": "https://a.example/1"}, "sms"
    )
    assert message is not None
    assert isinstance(message.content, MediaContent)
    meta = extract_sms_meta("twilio", INBOUND | {"MediaUrl0": "https://a.example/1"})
    assert meta.media_urls == ["https://a.example/1"]


@pytest.mark.parametrize("sender", ["12345", "AcmeBank", "whatsapp:+15558675310"])
def test_a_sender_that_is_no_number_stays_as_it_is(sender: str) -> None:
    message = parse_twilio_webhook(INBOUND | {"From": sender}, "sms")
    assert message is not None
    assert message.sender_id == sender


def test_R213_a_status_is_no_message() -> None:
    assert parse_twilio_webhook(STATUS, "sms") is None
    status = parse_twilio_status(STATUS, channel_id="sms", room_id="r")
    assert status is not None
    assert (status.status, status.error_code, status.error_message) == ("failed", "30008", None)
    assert (status.sender, status.recipient) == ("+15017122661", "+15558675310")
    assert (status.provider, status.message_id, status.raw) == ("twilio", "SM0123", STATUS)
    assert (status.channel_id, status.room_id) == ("sms", "r")
    assert status.final
    assert status.failed
    assert status.idempotency_key == "twilio:SM0123:failed"


def test_a_message_is_no_status() -> None:
    assert parse_twilio_status(INBOUND) is None
    with pytest.raises(WebhookPayloadError):
        extract_sms_meta("twilio", INBOUND).to_status()
    with pytest.raises(WebhookPayloadError):
        extract_sms_meta("twilio", STATUS).to_inbound("sms")


def test_R217_what_is_neither_is_ignored() -> None:
    other = STATUS | {"MessageStatus": "brand-new", "SmsStatus": "brand-new"}
    meta = extract_sms_meta("Twilio", other)
    assert not meta.is_inbound
    assert not meta.is_status


@pytest.mark.parametrize(
    "change",
    [
        {"MessageSid": ""},
        {"MessageSid": "../etc"},
        {"From": "", "To": ""},
        {"Body": 7},
        {"Body": "x" * 70_000},
        {"NumSegments": "many"},
        {"NumSegments": "٣"},
    ],
)
def test_what_is_not_twilios_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WebhookPayloadError) as caught:
        parse_twilio_webhook(INBOUND | change, "sms")
    assert caught.value.status == 422


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ValueError, match="known are: twilio"):
        extract_sms_meta("pigeon", INBOUND)


@given(st.dictionaries(st.sampled_from([*INBOUND, *STATUS, "MediaUrl0"]), st.text(max_size=30)))
def test_any_form_is_read_or_refused(payload: dict[str, str]) -> None:
    try:
        meta = extract_sms_meta("twilio", payload)
    except WebhookPayloadError:
        return
    assert not (meta.is_inbound and meta.is_status)
    if meta.is_inbound:
        assert meta.to_inbound("sms").raw_payload == payload
    if meta.is_status:
        assert meta.to_status().raw == payload
