"""What a whole server gives its calls."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from salon.app.application import create_app
from salon.app.call_parts import CONFINED, rights_of_caller
from salon.app.caller import caller
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.app.upgrade import upgrade_headers, upgrading
from salon.base import LOCAL, Principal
from salon.gateway.query import CallQuery
from salon.gateway.rights import ALL_RIGHTS
from salon.transport.sockets import UpgradeRequest


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("SALON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


Serve = Callable[..., Any]


@pytest.fixture
def serve(settings: Settings, no_files: WebFiles) -> Serve:
    """Opens a whole server that neither hears nor speaks."""

    @contextmanager
    def made(**changes: Any) -> Iterator[TestClient]:
        quiet = replace(settings, stt="none", tts="none", store_url="memory://", webrtc="off")
        app = create_app(replace(quiet, **changes), files=no_files)
        with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
            yield client

    return made


def call_in(
    browser: TestClient, url: str, ended: queue.Queue[None], **option: Any
) -> list[dict[str, Any]]:
    """Place a call, hang up once it is answered or refused, and give its events."""
    events = []
    with browser.websocket_connect(f"ws://localhost{url}") as call:
        call.send_json({"command": "invite", "option": option})
        while True:
            message = call.receive()
            if message["type"] == "websocket.close":
                break
            if message.get("text"):
                events.append(json.loads(message["text"]))
                if events[-1]["event"] == "answer" or events[-1].get("code") == 400:
                    call.send_json({"command": "hangup", "reason": "caller"})
        ended.get(timeout=20)
    return events


def test_a_call_leaves_an_events_file_a_recording_and_a_record(
    serve: Serve, settings: Settings, media_ended: queue.Queue[None], tmp_path: Path
) -> None:
    with serve(call_records=str(tmp_path / "cdr")) as browser:
        events = call_in(
            browser, "/ws?id=..%2Fa", media_ended, recorder={"recorderFile": "{id}.wav"}
        )
        assert [event for event in events if event["event"] == "error"] == []
    (journal,) = settings.events.glob("*.jsonl")
    kinds = [json.loads(line)["type"] for line in journal.read_text().splitlines()]
    assert {"command", "event"} <= set(kinds)
    assert len(list(settings.call_recordings.glob("*.wav"))) == 1
    (record,) = (tmp_path / "cdr").rglob("*.json")
    assert json.loads(record.read_text())["callId"] == "../a"


def test_G210_the_events_file_is_in_the_list(serve: Serve, media_ended: queue.Queue[None]) -> None:
    with serve() as browser:
        call_in(browser, "/ws?id=a", media_ended)
        call_in(browser, "/ws?id=b&dump=false", media_ended)
    with serve() as browser:
        assert [row["id"] for row in browser.get("/api/records").json()] == ["a"]


def test_events_files_can_be_switched_off(
    serve: Serve, settings: Settings, media_ended: queue.Queue[None]
) -> None:
    with serve(call_events=False, media_cache_bytes=0) as browser:
        call_in(browser, "/ws?id=a", media_ended)
        answer = browser.post("/precache", json={"text": "a", "option": {"provider": "x"}})
        assert answer.status_code == 400
    assert not settings.events.exists()


def test_companions_serve_the_options_of_a_call(
    serve: Serve, media_ended: queue.Queue[None]
) -> None:
    with serve() as browser:
        events = call_in(
            browser,
            "/ws?id=a",
            media_ended,
            subscribe=True,
            denoise=True,
            ambiance={"path": "no.wav"},
            mediaPass={
                "url": "ws://127.0.0.1:9/x",
                "inputSampleRate": 16000,
                "outputSampleRate": 16000,
            },
        )
    said = " ".join(event["error"] for event in events if event["event"] == "error")
    assert "is not available here" not in said
    assert "answer" in [event["event"] for event in events]
    assert [event["event"] for event in events][-1] == "hangup"


def test_a_call_can_be_announced_by_default_and_says_what_is_missing(
    serve: Serve, media_ended: queue.Queue[None]
) -> None:
    with serve() as browser:
        events = call_in(browser, "/ws?id=a&handler=webhook", media_ended)
    (error,) = [event for event in events if event["event"] == "error"]
    assert "SALON_CALL_WEBHOOK_URLS" in error["error"]
    unreachable = {
        "call_handler": "webhook",
        "call_webhook_urls": ("http://127.0.0.1:9/calls",),
        "call_webhook_secret": "s" * 20,
        "accept_timeout": 5.0,
    }
    with serve(**unreachable) as browser:
        events = call_in(browser, "/ws?id=a", media_ended)
        answered = call_in(browser, "/ws?id=b&handler=controller", media_ended)
        parts = browser.app.state.house.metrics.registry
        assert parts.get_sample_value("salon_call_parts", {"kind": "webhooks_failed"}) == 1
    assert events[-1]["reason"] == "failed"
    assert "answer" in [event["event"] for event in answered]


def test_figures_of_calls_are_told(serve: Serve, tmp_path: Path) -> None:
    with serve(
        call_records=str(tmp_path / "cdr"), call_webhook_urls=("http://127.0.0.1:9/",)
    ) as browser:
        text = browser.get("/metrics").text
    for kind in (
        "bridges",
        "cache_hits",
        "cache_misses",
        "files_deleted",
        "files_not_deleted",
        "media_passes",
        "media_passes_begun",
        "media_passes_failed",
        "media_pass_chunks_sent",
        "media_pass_chunks_dropped",
        "records_waiting",
        "records_written",
        "records_spooled",
        "records_dropped",
        "records_resent",
        "webhooks_taken",
        "webhooks_failed",
    ):
        assert f'salon_call_parts{{kind="{kind}"}} 0.0' in text


@pytest.mark.parametrize(
    ("principal", "rights"),
    [
        (LOCAL, ALL_RIGHTS),
        (Principal("key", "key"), ALL_RIGHTS),
        (Principal("acme", "organization", organization_id="acme"), CONFINED),
    ],
)
def test_rights_follow_the_credential(principal: Principal, rights: Any) -> None:
    with caller(principal):
        assert rights_of_caller(CallQuery()) == rights


def test_headers_of_the_connection_are_known_while_it_is_decided_on() -> None:
    request = UpgradeRequest("/ws", {"id": "a"}, {"x-tenant": "acme"})
    assert upgrade_headers() == {}
    with upgrading(request, default_handler="controller") as same:
        assert same is request
        assert upgrade_headers() == {"x-tenant": "acme"}
    with upgrading(request, default_handler="webhook") as changed:
        assert changed.query == {"id": "a", "handler": "webhook"}
    named = replace(request, query={"handler": "room"})
    with upgrading(named, default_handler="webhook") as kept:
        assert kept is named
    assert upgrade_headers() == {}


def test_G16_G22_G43_G46_settings_reach_the_gateway(serve: Serve) -> None:
    changes = {
        "unique_call_ids": False,
        "invite_timeout": 9.0,
        "early_seconds": 0.5,
        "pcm_out_rate": 8000,
    }
    with serve(**changes) as browser:
        gateway = browser.app.state.house.gateway
        services = gateway.services
        assert gateway._unique_ids is False
        assert (services.invite_timeout, services.early_seconds) == (9.0, 0.5)
        assert services.pcm_out_rate == 8000
