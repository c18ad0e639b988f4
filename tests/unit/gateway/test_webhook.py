"""Calls that are announced to an application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from tests.conformance.gateway.house import house

from salon.base import ConfigurationError
from salon.gateway.query import CallQuery
from salon.gateway.webhook import WebhookError, WebhookHandler
from salon.gateway.webhook_post import WebhookPost
from salon.testing import virtual_time

URLS = ("http://one.example/calls", "http://two.example/calls")


def answering(answer: Callable[[httpx.Request], httpx.Response], **more: Any) -> WebhookPost:
    return WebhookPost(URLS, transport=httpx.MockTransport(answer), **more)


def handler(post: Any, timeout: float = 50.0) -> Callable[[CallQuery], WebhookHandler]:
    headers = {
        "host": "salon.example",
        "authorization": "Bearer hidden-key",
        "cookie": "salon=hidden",
        "x-api-key": "hidden",
        "sec-websocket-key": "abc",
        "x-tenant": "acme",
    }
    return lambda _query: WebhookHandler(post, headers, timeout=timeout)


@virtual_time
async def test_G154_the_body_says_what_the_call_is() -> None:
    bodies: list[Mapping[str, Any]] = []

    async def post(body: Mapping[str, Any]) -> None:
        bodies.append(body)

    async with house(handler_for=handler(post)) as at:
        call = await at.call("/ws?id=a", caller="sip:ann@x", callee="bob", offer="")
        assert call.of("answer")
    (body,) = bodies
    assert set(body) == {
        "event",
        "dialogId",
        "createdAt",
        "caller",
        "callee",
        "headers",
        "offer",
    }
    assert (body["event"], body["dialogId"]) == ("invite", "a")
    assert (body["caller"], body["callee"], body["offer"]) == ("sip:ann@x", "bob", "")
    assert body["headers"] == ["host: salon.example", "x-tenant: acme"]


@virtual_time
async def test_G154_the_body_holds_no_password_of_an_address() -> None:
    bodies: list[Mapping[str, Any]] = []

    async def post(body: Mapping[str, Any]) -> None:
        bodies.append(body)

    async with house(handler_for=handler(post)) as at:
        call = await at.call("/ws?id=a", caller="sip:ann:hush@x", callee="bob:hush@y")
        assert call.of("answer")
    (body,) = bodies
    assert (body["caller"], body["callee"]) == ("sip:ann@x", "bob@y")


@virtual_time
async def test_G153_what_the_application_does_not_take_ends_failed() -> None:
    async def post(_body: Mapping[str, Any]) -> None:
        raise WebhookError("the application did not take the call: HTTP 404")

    async with house(handler_for=handler(post)) as at:
        call = at.connect("/ws?id=a")
        call.send({"command": "invite", "option": {}})
        error = await call.expect("error")
        assert (error["sender"], "404" in error["error"]) == ("invite", True)
        assert (await call.expect("hangup"))["reason"] == "failed"
        assert not call.of("answer")


@virtual_time
async def test_G153_the_application_has_to_take_it_in_time() -> None:
    async def post(_body: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()

    async with house(handler_for=handler(post, timeout=7.0)) as at:
        call = at.connect("/ws?id=a")
        began = asyncio.get_running_loop().time()
        call.send({"command": "invite", "option": {}})
        assert "within 7 s" in (await call.expect("error"))["error"]
        assert asyncio.get_running_loop().time() - began == pytest.approx(7.0, abs=0.1)


async def test_G154_round_robin_with_headers_method_and_signature() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, text="ignored")

    post = answering(
        answer,
        method="PUT",
        headers=[("X-Key", "k")],
        sign=lambda name, body: {"webhook-id": name, "webhook-length": str(len(body))},
    )
    for _ in range(3):
        await post({"event": "invite"})
    await post.close()
    assert [str(request.url) for request in seen] == [URLS[0], URLS[1], URLS[0]]
    assert {request.method for request in seen} == {"PUT"}
    assert seen[0].headers["x-key"] == "k"
    assert seen[0].headers["content-type"] == "application/json"
    assert seen[0].headers["webhook-length"] == str(len(seen[0].content))
    assert json.loads(seen[0].content) == {"event": "invite"}
    assert (post.sent, post.failed) == (3, 0)


async def test_one_that_cannot_be_reached_gives_way_to_the_next() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "one.example":
            raise httpx.ConnectError("refused")
        return httpx.Response(200)

    post = answering(answer)
    await post({})
    await post.close()
    assert post.sent == 1


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_G153_only_2xx_takes_a_call(status: int) -> None:
    post = answering(lambda _request: httpx.Response(status, headers={"location": URLS[1]}))
    with pytest.raises(WebhookError, match=str(status)):
        await post({})
    await post.close()
    assert post.failed == 1


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadError])
async def test_who_does_not_answer_does_not_take_it_and_no_url_is_told(
    error: type[httpx.TransportError],
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error("http://one.example/secret")

    post = answering(answer)
    with pytest.raises(WebhookError) as told:
        await post({})
    await post.close()
    assert "example" not in str(told.value)
    assert post.failed == 1


def test_a_webhook_needs_a_url() -> None:
    with pytest.raises(ConfigurationError, match="URL"):
        WebhookPost(())
