"""What providers tell us: signatures, messages, reports (chapter 21; R213, R216-R218)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, bodies

from salon.models import DeliveryStatus, HookTrigger, RoomStatus
from salon.providers.sms.meta import WebhookMeta, extract_sms_meta
from salon.providers.sms.twilio_signature import verify_twilio_signature
from salon.providers.sms.twilio_webhook import parse_twilio_webhook
from salon.providers.webhooks import (
    WebhookPayloadError,
    WebhookSignatureError,
    parse_http_webhook,
)
from salon.providers.webhooks.replay import ReplayWindow
from salon.providers.webhooks.signing import WebhookSigner, WebhookVerifier
from salon.testing import VirtualClock

SECRET = "whsec_" + base64.b64encode(b"a secret of enough length").decode()
BODY = json.dumps({"sender_id": "ann", "body": "hello"}).encode()


def signed(clock: VirtualClock, body: bytes = BODY, name: str = "msg_1") -> dict[str, str]:
    return WebhookSigner(SECRET, clock=clock).headers(name, body)


# -- R216: signatures before anything else --------------------------------------------------------


def test_R216_a_genuine_webhook_passes() -> None:
    clock = VirtualClock()
    proof = WebhookVerifier(SECRET, clock=clock).verify(signed(clock), BODY)
    assert proof.id == "msg_1"


def forged(headers: dict[str, str]) -> dict[str, str]:
    return {**headers, "webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()}


TAMPERED: dict[str, tuple[Any, bytes, str]] = {
    "another body": (lambda headers: headers, BODY.replace(b"hello", b"hallo"), "mismatch"),
    "a forged signature": (forged, BODY, "mismatch"),
    "another id": (lambda headers: {**headers, "webhook-id": "msg_2"}, BODY, "mismatch"),
    "no signature": (
        lambda headers: {k: v for k, v in headers.items() if k != "webhook-signature"},
        BODY,
        "missing",
    ),
    "a moved time": (
        lambda headers: {
            **headers,
            "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1),
        },
        BODY,
        "mismatch",
    ),
}


@pytest.mark.parametrize("name", TAMPERED, ids=[n.replace(" ", "-") for n in TAMPERED])
def test_R216_what_was_tampered_with_is_refused(name: str) -> None:
    change, body, reason = TAMPERED[name]
    clock = VirtualClock()
    headers = change(signed(clock))
    with pytest.raises(WebhookSignatureError) as caught:
        WebhookVerifier(SECRET, clock=clock).verify(headers, body)
    assert caught.value.reason == reason


def test_R216_another_secret_is_refused() -> None:
    clock = VirtualClock()
    headers = WebhookSigner("another secret", clock=clock).headers("msg_1", BODY)
    with pytest.raises(WebhookSignatureError):
        WebhookVerifier(SECRET, clock=clock).verify(headers, BODY)


@pytest.mark.parametrize(("seconds", "reason"), [(299, None), (301, "expired")])
async def test_R216_an_old_webhook_is_refused(seconds: float, reason: str | None) -> None:
    clock = VirtualClock()
    headers = signed(clock)
    await clock.sleep(seconds)
    verifier = WebhookVerifier(SECRET, clock=clock)
    if reason is None:
        assert verifier.verify(headers, BODY).id == "msg_1"
        return
    with pytest.raises(WebhookSignatureError) as caught:
        verifier.verify(headers, BODY)
    assert caught.value.reason == reason


def test_R216_an_exact_repetition_is_refused() -> None:
    clock = VirtualClock()
    verifier = WebhookVerifier(SECRET, window=ReplayWindow(), clock=clock)
    headers = signed(clock)
    verifier.verify(headers, BODY)
    with pytest.raises(WebhookSignatureError) as caught:
        verifier.verify(headers, BODY)
    assert caught.value.reason == "replayed"


def twilio(url: str, form: dict[str, str], token: str = "token") -> str:
    words = url + "".join(key + form[key] for key in sorted(form))
    return base64.b64encode(
        hmac.new(token.encode(), words.encode(), hashlib.sha1).digest()
    ).decode()


FORM = {"MessageSid": "SM0123456789", "From": "+15550100123", "To": "+15550100199", "Body": "hello"}
HOOK = "https://example.org/webhooks/sms/twilio"


@pytest.mark.parametrize("tampered", [None, "body", "url", "token", "nothing"])
def test_R216_twilios_signature_covers_url_and_form(tampered: str | None) -> None:
    signature = twilio(HOOK, FORM, "other" if tampered == "token" else "token")
    body = urlencode({**FORM, "Body": "hallo"} if tampered == "body" else FORM).encode()
    url = HOOK + ("?a=b" if tampered == "url" else "")
    given = "" if tampered == "nothing" else signature
    assert verify_twilio_signature("token", url, body, given) is (tampered is None)


# -- R217: what comes in goes its way -------------------------------------------------------------


def sms(direction: str, kind: str = "received", **more: Any) -> WebhookMeta:
    return WebhookMeta(
        provider="twilio",
        sender="+15550100123",
        recipient="+15550100199",
        body="hello",
        external_id="SM1",
        direction=direction,
        event_type=kind,
        raw={"Body": "hello", "odd": ["x", 1]},
        **more,
    )


async def test_R217_a_message_goes_into_the_pipeline(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    result = await stage.kit.process_webhook(sms("inbound"), "sms")
    assert result is not None
    assert result.event is not None
    assert result.event.source.participant_id == "+15550100123"
    assert web.bodies == ["hello"]


async def test_R217_a_report_is_told_and_nothing_else_happens(stage: Stage) -> None:
    heard = stage.hear(HookTrigger.ON_DELIVERY_STATUS)
    await stage.room(RecordingTransport("sms"))
    before = await stage.timeline()
    assert await stage.kit.process_webhook(sms("outbound", "delivered"), "sms") is None
    await stage.settle()
    assert [(item.status, item.channel_id) for item in heard] == [("delivered", "sms")]
    assert await stage.timeline() == before


async def test_R217_the_rest_is_left_alone(stage: Stage) -> None:
    heard = stage.hear(HookTrigger.ON_DELIVERY_STATUS)
    await stage.room(RecordingTransport("sms"))
    before = await stage.timeline()
    assert await stage.kit.process_webhook(sms("unknown", "typing"), "sms") is None
    await stage.settle()
    assert (heard, await stage.timeline()) == ([], before)


async def test_R217_a_repeated_webhook_is_one_message(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    results = [await stage.kit.process_webhook(sms("inbound"), "sms") for _ in range(3)]
    assert [result is not None and result.duplicate for result in results] == [False, True, True]
    assert bodies(await stage.messages()) == ["hello"]


# -- R218: nothing of it is lost ------------------------------------------------------------------


async def test_R218_payload_and_id_are_kept_as_they_came(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    result = await stage.kit.process_webhook(sms("inbound"), "sms")
    assert result is not None
    assert result.event is not None
    stored = await stage.kit.store.get_event(result.event.id)
    assert stored is not None
    assert stored.source.raw_payload == {"Body": "hello", "odd": ["x", 1]}
    assert stored.source.provider_message_id == "SM1"


def test_R218_each_parser_keeps_the_payload() -> None:
    form = {**FORM, "FutureField": "kept"}
    message = parse_twilio_webhook(form, "sms")
    assert message is not None
    assert (message.raw_payload, message.provider_message_id) == (form, "SM0123456789")
    payload = {"sender_id": "ann", "body": "hello", "external_id": "e1", "future": [1]}
    general = parse_http_webhook(payload, "http")
    assert (general.raw_payload, general.provider_message_id) == (payload, "e1")


MALFORMED: list[dict[str, Any]] = [
    {},
    {"sender_id": "ann"},
    {"sender_id": 7, "body": "x"},
    {"sender_id": "ann", "body": "x" * 70_000},
    {"sender_id": "ann", "content": {"type": "system", "code": "c", "body": "x"}},
    {"sender_id": "ann", "content": {"type": "delete", "target_event_id": "e"}},
    {"sender_id": "ann", "body": "x", "metadata": "no"},
]


@pytest.mark.parametrize("payload", MALFORMED)
def test_R266_a_payload_that_is_none_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(WebhookPayloadError):
        parse_http_webhook(payload, "http")


@pytest.mark.parametrize("provider", ["nobody", ""])
def test_R266_an_unknown_provider_is_refused(provider: str) -> None:
    with pytest.raises(WebhookPayloadError):
        extract_sms_meta(provider, FORM)


# -- R213: reports --------------------------------------------------------------------------------


def report(**fields: Any) -> DeliveryStatus:
    return DeliveryStatus(
        provider="p", message_id="m", status="failed", recipient="r", sender="s", **fields
    )


def test_R213_a_report_has_the_fields_of_the_rule() -> None:
    given = report()
    assert (given.error_code, given.error_message, given.timestamp) == (None, None, None)
    assert (given.raw, given.room_id, given.channel_id) == ({}, None, None)


async def test_R213_a_failed_report_changes_no_event(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
    await stage.inbound("sms")
    before = await stage.timeline()
    await stage.kit.process_delivery_status(report(room_id=ROOM, channel_id="web"))
    await stage.settle()
    assert await stage.timeline() == before


@pytest.mark.parametrize("status", [RoomStatus.ACTIVE, RoomStatus.CLOSED])
async def test_R213_a_report_finds_the_active_room_of_its_channel(
    stage: Stage, status: RoomStatus
) -> None:
    heard: list[str] = []

    async def note(payload: Any, context: Any) -> None:
        heard.append(context.room.id)

    stage.kit.add_hook(HookTrigger.ON_DELIVERY_STATUS, note)
    await stage.room(RecordingTransport("sms"))
    if status is RoomStatus.CLOSED:
        await stage.kit.close_room(ROOM)
    await stage.kit.process_delivery_status(report(channel_id="sms"))
    await stage.settle()
    assert heard == ([ROOM] if status is RoomStatus.ACTIVE else [])
