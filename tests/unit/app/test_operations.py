"""Health, readiness, metrics, the list of calls, the schema, the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from salon.app import version as version_module
from salon.app.application import create_app
from salon.app.metrics import Metrics
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.app.version import version

from .conftest import fake_house

Client = Callable[..., TestClient]


def house_of(browser: TestClient) -> Any:
    return browser.app.state.house  # type: ignore[attr-defined]


def test_G200_health_tells_used_and_allowed_calls(client: Client) -> None:
    browser = client()
    assert browser.get("/health").json() == {"status": "ok", "calls": 0, "max_calls": 2}
    house_of(browser).draining = True
    assert browser.get("/health").json()["status"] == "draining"


def test_readiness_follows_the_life_of_the_server(client: Client) -> None:
    browser = client()
    assert (browser.get("/ready").status_code, browser.get("/ready").json()["status"]) == (
        503,
        "starting",
    )
    with browser:
        assert browser.get("/ready").json() == {"status": "ready", "free_calls": 2}
        house_of(browser).gateway.max_calls = 0
        assert browser.get("/ready").json() == {"status": "full", "free_calls": 0}
    assert browser.get("/ready").status_code == 503
    assert browser.get("/ready").json()["status"] == "draining"


def test_the_end_of_the_application_drains_once_with_the_set_timeout(client: Client) -> None:
    browser = client(shutdown_timeout=7.0)
    with browser:
        pass
    assert house_of(browser).gateway.drained == [7.0]
    again = client()
    with again:
        house_of(again).draining = True  # the server has seen to it already
    assert house_of(again).gateway.drained == []


def test_warnings_about_settings_are_logged_at_the_start(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with client(warnings=("SALON_PROT is not a setting of Salon",)):
        pass
    assert "SALON_PROT is not a setting" in caplog.text


def test_G200_the_list_masks_secrets(client: Client) -> None:
    for path in ("/list", "/call/lists"):
        answer = client().get(path)
        assert answer.json()["active_calls"][0]["id"] == "s.1"
        assert "hidden-away" not in answer.text


def test_G201_a_call_that_is_not_live_is_not_found(client: Client) -> None:
    browser = client()
    for path in ("/kill/s.9", "/call/kill/s.9"):
        answer = browser.post(path)
        assert (answer.status_code, answer.json()) == (404, {"status": "not_found", "id": "s.9"})
    assert browser.post("/call/kill/s.1").json()["status"] == "killed"


def test_metrics_are_text_for_prometheus(client: Client) -> None:
    browser = client()
    with browser:
        answer = browser.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "salon_max_calls 2.0" in answer.text
    assert "salon_calls_active 0.0" in answer.text


def test_every_part_is_counted_under_its_name() -> None:
    metrics = Metrics()
    metrics.call_refused(503)
    metrics.vad_batch(3)
    metrics.watch_ticker(lambda: 5)
    metrics.decoder_wait(0.02)
    metrics.turn_latency("first_word", 0.3)
    metrics.audio_dropped()
    metrics.audio_dropped(4)
    value = metrics.registry.get_sample_value
    assert value("salon_calls_refused_total", {"status": "503"}) == 1
    assert value("salon_vad_batch_size_sum") == 3
    assert value("salon_ticker_late_ticks") == 5
    assert value("salon_decoder_wait_seconds_count") == 1
    assert value("salon_turn_latency_seconds_sum", {"stage": "first_word"}) == 0.3
    assert value("salon_ws_dropped_audio_total") == 5


def test_nothing_from_outside_becomes_a_label() -> None:
    metrics = Metrics()
    metrics.call_ended("made up")
    metrics.turn_latency("made up", 1.0)
    assert metrics.registry.get_sample_value("salon_calls_total", {"outcome": "failed"}) == 1
    assert b"made up" not in metrics.render()


def test_several_servers_live_in_one_process() -> None:
    first, second = Metrics(), Metrics()
    first.call_ended("completed")
    second.call_ended("lost")
    assert b'salon_calls_total{outcome="completed"}' not in second.render()


def test_the_call_protocol_is_served_as_schema(client: Client) -> None:
    schema = client().get("/schema/call.json").json()
    assert {"invite", "tts", "hangup"} <= schema["commands"].keys()
    assert {"answer", "hangup"} <= schema["events"].keys()


def test_an_installed_salon_knows_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version()[0].isdigit()

    def unknown(_name: str) -> str:
        raise version_module.metadata.PackageNotFoundError

    monkeypatch.setattr(version_module.metadata, "version", unknown)
    assert version() == "0+unknown"


# -- the page -------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A page as the build leaves it."""
    web = tmp_path / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<h1>Salon</h1>")
    (web / "assets" / "app-1a2b.js").write_text("run()")
    (web / "assets" / "app-1a2b.js.map").write_text("{}")
    (web / "__init__.py").write_text("")
    return web


def browser_of(settings: Settings, files: WebFiles) -> TestClient:
    app = create_app(settings, build=fake_house, files=files)
    return TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1))


def test_the_page_is_asked_for_afresh_and_its_assets_are_kept(
    settings: Settings, built: Path
) -> None:
    browser = browser_of(settings, WebFiles(built))
    page = browser.get("/")
    assert (page.text, page.headers["cache-control"]) == ("<h1>Salon</h1>", "no-cache")
    assert browser.head("/").status_code == 200
    asset = browser.get("/assets/app-1a2b.js")
    assert asset.headers["content-type"].startswith("text/javascript")
    assert "immutable" in asset.headers["cache-control"]
    assert browser.get("/index.html").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/__init__.py",
        "/assets/app-1a2b.js.map",
        "/assets",
        "/../pyproject.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/nothing",
    ],
)
def test_only_built_files_are_served(settings: Settings, built: Path, path: str) -> None:
    assert browser_of(settings, WebFiles(built)).get(path).status_code == 404


def test_without_a_built_page_there_is_a_word_of_help(client: Client) -> None:
    answer = client().get("/")
    assert answer.status_code == 200
    assert "has not been built" in answer.text
    assert client().get("/assets/app.js").status_code == 404


def test_files_are_built_only_with_an_index(built: Path) -> None:
    assert WebFiles(built).built
    (built / "index.html").unlink()
    assert not WebFiles(built).built
    assert WebFiles(built).paths == {"/", "/favicon.ico"}
