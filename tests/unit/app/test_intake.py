"""Webhooks: proven by their provider's signature, harmless when repeated, quickly answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from salon.app import intake as module
from salon.app.house import House
from salon.app.intake import Intakes, Received, Reply, WebhookCall, email_intake
from salon.app.settings import Settings
from salon.app.transports import add_transports
from salon.base import ConfigurationError
from salon.channels import EmailChannel
from salon.core import RoomKit
from salon.models import DeliveryStatus, HookExecution, HookTrigger, InboundResult, RoomEvent
from salon.providers.sms import EMPTY_TWIML, twilio_signature
from salon.providers.webhooks import (
    ReplayWindow,
    WebhookSignatureError,
    WebhookSigner,
    WebhookVerifier,
)

from .rest import Api, serving, small_house

SECRET = "a-secret-for-webhooks"
TOKEN = "twilio-token"
PUBLIC = "https://salon.example"
CHANGES: dict[str, Any] = {
    "public_url": PUBLIC,
    "twilio_account_sid": "AC1",
    "twilio_auth_token": TOKEN,
    "twilio_from_numbers": ("+15552220001", "+15552220002"),
    "webhook_secret": SECRET,
}
SMS = {
    "MessageSid": "SM1",
    "From": "+15558675310",
    "To": "+15552220001",
    "Body": "hello",
}


def transported(settings: Settings) -> House:
    house = small_house(settings)
    add_transports(settings, house.kit, house.intakes)
    house.ready = True
    return house


@pytest.fixture
async def hooked(settings: Settings) -> AsyncIterator[Api]:
    async with serving(settings, build=transported, keys=True, **CHANGES) as api:
        yield api


async def twilio(
    api: Api, form: Mapping[str, str], path: str = "/webhooks/sms/twilio", **headers: str
) -> Any:
    signature = twilio_signature(TOKEN, f"{PUBLIC}{path}", form.items())
    sent = {
        "Host": "salon.example",
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": signature,
    }
    return await api.client.post(path, content=urlencode(form), headers=sent | headers)


async def signed(
    api: Api, payload: Any, path: str = "/webhooks/http/webhook", *, webhook_id: str = "w1"
) -> Any:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    headers = WebhookSigner(SECRET).headers(webhook_id, body)
    return await api.client.post(path, content=body, headers=headers)


async def words(api: Api, room_id: str) -> list[str]:
    await api.kit.idle(room_id)
    events = await api.kit.store.get_conversation(room_id)
    return [event.text or "" for event in events]


async def test_R217_a_text_message_opens_a_room_with_the_agent(hooked: Api) -> None:
    answer = await twilio(hooked, SMS)
    assert (answer.status_code, answer.text) == (200, EMPTY_TWIML)
    assert answer.headers["content-type"].startswith("text/xml")
    (room,) = await hooked.kit.list_rooms()
    assert await words(hooked, room.id) == ["hello", "yes"]
    bound = await hooked.kit.list_bindings(room.id)
    assert {item.channel_id for item in bound} == {"sms", "agent"}
    # a repetition is harmless
    assert (await twilio(hooked, SMS)).text == EMPTY_TWIML
    assert len(await hooked.kit.list_rooms()) == 1
    assert await words(hooked, room.id) == ["hello", "yes"]
    assert hooked.house.intakes.taken == 2


async def test_each_of_our_numbers_is_a_channel(hooked: Api) -> None:
    await twilio(hooked, SMS | {"To": "+15552220002", "MessageSid": "SM2"})
    (room,) = await hooked.kit.list_rooms()
    bound = {item.channel_id for item in await hooked.kit.list_bindings(room.id)}
    assert bound == {"sms:+15552220002", "agent"}
    await hooked.kit.idle(room.id)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "bm90IHRoaXM="},
        {"X-API-Key": "the-master-key-of-all", "X-Twilio-Signature": "x"},
    ],
)
async def test_R216_without_its_signature_nothing_comes_in(
    hooked: Api, headers: dict[str, str]
) -> None:
    answer = await twilio(hooked, SMS, **headers)
    assert answer.status_code == 403
    assert answer.json() == {"detail": "the signature does not fit", "code": "forbidden"}
    assert await hooked.kit.list_rooms() == []
    assert hooked.house.intakes.refused == 1


async def test_a_signature_is_for_its_url_and_body(hooked: Api) -> None:
    stolen = twilio_signature(TOKEN, f"{PUBLIC}/webhooks/sms/twilio", SMS.items())
    given = {"X-Twilio-Signature": stolen}
    assert (await twilio(hooked, SMS | {"Body": "x"}, **given)).status_code == 403
    other = await twilio(hooked, SMS, "/webhooks/sms/twilio/status", **given)
    assert other.status_code == 403
    query = await twilio(hooked, SMS, "/webhooks/sms/twilio?a=1", **given)
    assert query.status_code == 403
    right = await twilio(hooked, SMS, "/webhooks/sms/twilio?a=1%2F2&b")
    assert right.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/sms/other",
        "/webhooks/email/twilio",
        "/webhooks/sms/other/status",
        "/webhooks/SMS/twilio",
    ],
)
async def test_an_unknown_provider_is_told_nothing(hooked: Api, path: str) -> None:
    answer = await hooked.client.post(path, content=b"x")
    assert (answer.status_code, answer.json()["detail"]) == (404, "not found")


async def test_below_webhooks_only_post_is_open(hooked: Api) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await hooked.client.request(method, "/webhooks/sms/twilio")
        assert answer.status_code == 401


async def test_foreign_pages_post_no_webhooks(hooked: Api) -> None:
    answer = await twilio(hooked, SMS, Origin="https://evil.example")
    assert answer.status_code == 403
    assert "origin" in answer.json()["detail"]


async def test_too_much_is_too_much(hooked: Api) -> None:
    for length in (300_000, 2_000_000):
        answer = await signed(hooked, b"x" * length)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_delivery_report_is_told_to_hooks(hooked: Api) -> None:
    await twilio(hooked, SMS)
    told: list[DeliveryStatus] = []
    heard = asyncio.Event()

    async def tell(status: DeliveryStatus, _: object) -> None:
        told.append(status)
        heard.set()

    hooked.kit.add_hook(
        HookTrigger.ON_DELIVERY_STATUS, tell, name="told", execution=HookExecution.ASYNC
    )
    report = {
        "MessageSid": "SM9",
        "MessageStatus": "delivered",
        "From": "+15552220001",
        "To": "+15558675310",
    }
    answer = await twilio(hooked, report, "/webhooks/sms/twilio/status")
    assert answer.status_code == 200
    async with asyncio.timeout(10):
        await heard.wait()
    assert (told[0].message_id, told[0].status, told[0].channel_id) == ("SM9", "delivered", "sms")
    # a message where a report is expected is left alone
    assert (await twilio(hooked, SMS, "/webhooks/sms/twilio/status")).status_code == 200
    assert len(told) == 1


async def test_what_twilio_does_not_say_is_refused(hooked: Api) -> None:
    answer = await twilio(hooked, {"Body": "x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_payload")


async def test_signed_webhooks_of_others_come_in(hooked: Api) -> None:
    payload = {"sender_id": "crm", "body": "hello"}
    for path in ("/webhooks/http/webhook", "/webhooks/webhook/webhook"):
        answer = await signed(hooked, payload, path)
        assert (answer.status_code, answer.text) == (200, "{}")
    (room,) = await hooked.kit.list_rooms()
    assert await words(hooked, room.id) == ["hello", "yes"]


async def test_an_exact_repetition_is_answered_as_before(hooked: Api) -> None:
    body = json.dumps({"sender_id": "crm", "body": "hello"}).encode()
    headers = WebhookSigner(SECRET).headers("w1", body)
    for _ in range(3):
        answer = await hooked.client.post("/webhooks/http/webhook", content=body, headers=headers)
        assert answer.status_code == 200
    assert hooked.house.intakes.taken == 1


@pytest.mark.parametrize(
    ("payload", "words_"),
    [
        (b"{", "not JSON"),
        (b"[]", "JSON object"),
        ({"sender_id": "x"}, "body or content"),
        ({"sender_id": "x", "content": {"type": "system", "body": "x"}}, "not taken from outside"),
    ],
)
async def test_R266_a_genuine_payload_is_checked_too(
    hooked: Api, payload: Any, words_: str
) -> None:
    for _ in range(2):
        answer = await signed(hooked, payload)
        assert (answer.status_code, answer.json()["code"]) == (422, "webhook_payload")
        assert words_ in answer.json()["detail"]


async def test_reports_of_others_are_read(hooked: Api) -> None:
    path = "/webhooks/http/webhook/status"
    answer = await signed(hooked, {"message_id": "m", "status": "READ", "more": 1}, path)
    assert answer.status_code == 200
    answer = await signed(hooked, {"status": "read"}, path, webhook_id="w2")
    assert (answer.status_code, "message_id" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("reason", ["rate_limited", "process_timeout", "room_busy"])
async def test_what_was_not_taken_may_come_again(
    hooked: Api, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    async def refused(*_: object, **__: object) -> InboundResult:
        return InboundResult(None, True, reason)

    process = hooked.kit.process_inbound
    monkeypatch.setattr(hooked.kit, "process_inbound", refused)
    payload = {"sender_id": "crm", "body": "hello"}
    answer = await signed(hooked, payload)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    monkeypatch.setattr(hooked.kit, "process_inbound", process)
    assert (await signed(hooked, payload)).status_code == 200
    (room,) = await hooked.kit.list_rooms()
    await hooked.kit.idle(room.id)


async def test_what_is_refused_for_good_is_answered_with_success(
    hooked: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> InboundResult:
        return InboundResult(None, True, "room_closed")

    monkeypatch.setattr(hooked.kit, "process_inbound", refused)
    assert (await twilio(hooked, SMS)).status_code == 200


async def test_a_provider_does_not_wait_for_a_hanging_core(
    hooked: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "TAKE_TIMEOUT_S", 0.001)
    monkeypatch.setattr(hooked.kit, "process_inbound", hangs)
    assert (await twilio(hooked, SMS)).status_code == 503


async def test_a_failing_store_lets_it_come_again(
    hooked: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    process = hooked.kit.process_inbound
    monkeypatch.setattr(hooked.kit, "process_inbound", fails)
    failed = await signed(hooked, {"sender_id": "crm", "body": "hello"})
    assert (failed.status_code, failed.json()["code"]) == (500, "internal")
    monkeypatch.setattr(hooked.kit, "process_inbound", process)
    assert (await signed(hooked, {"sender_id": "crm", "body": "hello"})).status_code == 200


async def test_the_agent_is_not_waited_for(hooked: Api) -> None:
    gate = asyncio.Event()

    async def slow(*_: object) -> None:
        await gate.wait()

    hooked.kit.add_hook(
        HookTrigger.AFTER_BROADCAST, slow, name="slow", execution=HookExecution.ASYNC
    )
    async with asyncio.timeout(10):
        assert (await twilio(hooked, SMS)).status_code == 200
    gate.set()


async def test_only_so_many_at_once(hooked: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_AT_ONCE", 0)
    assert (await twilio(hooked, SMS)).status_code == 503


async def test_a_server_that_starts_or_stops_takes_nothing(hooked: Api) -> None:
    hooked.house.ready = False
    assert (await twilio(hooked, SMS)).status_code == 503


async def test_a_full_window_of_repetitions_asks_to_come_again(hooked: Api) -> None:
    class Full:
        max_bytes = 1000
        reply = Reply()

        def read(self, call: WebhookCall) -> Received:
            raise WebhookSignatureError("overloaded", "full")

    hooked.house.intakes.add("x", "full", Full())
    answer = await hooked.client.post("/webhooks/x/full", content=b"{}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")


async def test_email_comes_in_by_the_same_door(hooked: Api) -> None:
    hooked.kit.register_channel(EmailChannel("email"))
    verifier = WebhookVerifier(SECRET, window=ReplayWindow())
    door = email_intake(verifier, "email", max_bytes=100_000)
    hooked.house.intakes.add("email", "webhook", door)
    mail = {
        "from": "Ann <ann@example.org>",
        "to": ["us@example.org"],
        "subject": "Owls",
        "text": "hello",
    }
    answer = await signed(hooked, mail, "/webhooks/email/webhook")
    assert answer.status_code == 200
    (room,) = await hooked.kit.list_rooms()
    events: list[RoomEvent] = await hooked.kit.store.get_conversation(room.id)
    assert events[0].source.participant_id == "ann@example.org"
    answer = await signed(hooked, mail, "/webhooks/email/webhook/status", webhook_id="w2")
    assert answer.status_code == 422
    await hooked.kit.idle(room.id)


async def test_without_a_public_url_the_address_asked_for_counts(settings: Settings) -> None:
    changes = CHANGES | {"public_url": None, "twilio_account_sid": None}
    changes |= {"twilio_auth_token": None, "twilio_from_numbers": ()}
    async with serving(settings, build=transported, **changes) as api:
        seen: list[WebhookCall] = []

        class Noting:
            max_bytes = 10
            reply = Reply("ok")

            def read(self, call: WebhookCall) -> Received:
                seen.append(call)
                return Received(None)

        api.house.intakes.add("x", "y", Noting())
        assert (await api.client.post("/webhooks/x/y?a=b", content=b"1")).text == "ok"
        assert seen[0].url == "http://localhost/webhooks/x/y?a=b"


def test_nothing_set_nothing_served(settings: Settings) -> None:
    kit = RoomKit()
    intakes = Intakes(kit)
    add_transports(settings, kit, intakes)
    assert kit.list_channels() == []
    assert intakes.find("sms", "twilio") is None


def test_outgoing_webhooks_have_a_provider(settings: Settings) -> None:
    from dataclasses import replace

    kit = RoomKit()
    intakes = Intakes(kit)
    given = replace(settings, webhook_secret=SECRET, webhook_url="https://other.example/in")
    add_transports(given, kit, intakes)
    channel = kit.get_channel("http")
    assert channel is not None
    assert channel.provider_name == "webhook"
    wrong = replace(settings, **CHANGES | {"twilio_account_sid": "not a sid"})
    with pytest.raises(ConfigurationError, match="SALON_TWILIO"):
        add_transports(wrong, RoomKit(), intakes)


async def test_a_sender_with_control_characters_is_refused(hooked: Api) -> None:
    answer = await signed(hooked, {"sender_id": "b\nob", "body": "x"})
    assert answer.status_code == 422
