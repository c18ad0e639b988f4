"""The routes of live calls where there is no call, no room for a command, or no gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.conformance.gateway.house import house

from salon.app.application import create_app
from salon.app.call_desk import CallDesk
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.gateway.commands import InterruptCommand, parse_command

from .conftest import KEY, fake_house
from .rest import ACME, Api, bearer

Client = Callable[..., TestClient]
COMMAND = {"command": "interrupt"}


def test_without_calls_nothing_is_found(client: Client) -> None:
    browser = client()
    assert browser.post("/command/a", json=COMMAND).status_code == 404
    assert browser.get("/events/a").status_code == 404
    assert browser.get("/api/records").json() == []
    speech = {"text": "a", "option": {"provider": "x"}}
    assert browser.post("/precache", json=speech).status_code == 500


async def test_G35_G202_a_full_queue_is_429(settings: Settings, no_files: WebFiles) -> None:
    class FullDesk(CallDesk):
        def submit(self, *_about: Any) -> Any:
            return "full"

    async with house() as at:
        desk = FullDesk(at.gateway.get, at.gateway.services.bus, at.gateway.services.voices)
        app = create_app(
            settings, build=lambda made: replace(fake_house(made), desk=desk), files=no_files
        )
        browser = TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1))
        answer = browser.post("/command/a", json=COMMAND)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")


async def test_what_became_of_a_command() -> None:
    async with house() as at:
        services = at.gateway.services
        desk = CallDesk(at.gateway.get, services.bus, services.voices)
        assert desk.submit("a", InterruptCommand(), 10) == "not_found"
        assert await desk.records() == []
        await at.call("/ws?id=a")
        assert desk.is_live("a")
        assert desk.submit("a", InterruptCommand(), 10) == "sent"
        history = parse_command({"command": "history", "speaker": "a", "text": "b"})
        assert desk.submit("a", history, 1 << 30) == "full"
        session = at.session("a")
        session.hangup("system")
        assert not desk.is_live("a")
        assert desk.submit("a", InterruptCommand(), 10) == "not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/command/a"),
        ("GET", "/events/a"),
        ("POST", "/precache"),
        ("GET", "/api/records"),
        ("GET", "/kill/a/b"),
    ],
)
async def test_G212_only_the_key_of_the_server_opens_them(
    guarded_api: Api, method: str, path: str
) -> None:
    assert (await guarded_api.client.request(method, path)).status_code == 401
    answer = await guarded_api.client.request(method, path, headers=bearer(ACME))
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/command/a"), ("GET", "/events/a"), ("POST", "/precache"), ("GET", "/kill/a/b")],
)
def test_foreign_pages_get_nothing(client: Client, method: str, path: str) -> None:
    browser = client()
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert browser.request(method, path, headers=foreign).status_code == 403
    assert browser.request(method, path, headers={"Host": "evil.example"}).status_code == 403


def test_who_comes_from_afar_needs_a_key(client: Client) -> None:
    for path in ("/events/a", "/api/records"):
        assert client("203.0.113.9").get(path).status_code == 403
        far = client("203.0.113.9", api_key=KEY)
        assert far.get(path).status_code == 401
        assert far.get(path, headers={"X-API-Key": KEY}).status_code in {200, 404}
