"""The composition root: agents, engines, a whole house without sound."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import salon.app
from salon.app import agents as agents_module
from salon.app import engines as engines_module
from salon.app.agents import PROMPT, choose_agent
from salon.app.application import create_app
from salon.app.call_parts import Disk
from salon.app.compose import _measure, compose
from salon.app.engines import EMBEDDED_STT_NOTE, Engines
from salon.app.metrics import Metrics
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.base import ConfigurationError, UnavailableError
from salon.models import InboundMessage, TextContent
from salon.providers import FunctionAgent, MockAIProvider, OpenAIProvider
from salon.providers.house import HouseAgent
from salon.testing import MockSpeechToText, MockTextToSpeech, silence
from salon.voice.events import TurnMeasured

AGENT = """
from salon.providers.agent import agent

@agent(suggestions=["say something"])
async def parrot(turn, room):
    "Repeats."
    yield turn.text
"""
PROVIDER = """
from salon.providers.mock import MockAIProvider

provider = MockAIProvider(["hi"])
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("SALON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quiet(settings: Settings) -> Settings:
    """A server that neither hears nor speaks, and keeps nothing."""
    return replace(settings, stt="none", tts="none", store_url="memory://")


# -- who answers ----------------------------------------------------------------------------------


def test_without_settings_the_house_agent_answers(settings: Settings) -> None:
    answerer = choose_agent(settings)
    assert isinstance(answerer.provider, HouseAgent)
    assert answerer.model is None
    assert answerer.info.suggestions
    assert choose_agent(replace(settings, agent_name="Otto")).info.name == "Otto"


def with_model(settings: Settings, **changes: Any) -> Settings:
    return replace(settings, llm_base_url="http://127.0.0.1:9/v1", llm_model="tiny", **changes)


def test_a_language_model_answers_under_its_name(settings: Settings) -> None:
    answerer = choose_agent(with_model(settings))
    assert isinstance(answerer.provider, OpenAIProvider)
    assert answerer.model is answerer.provider
    assert (answerer.info.name, answerer.system_prompt) == ("tiny", PROMPT)
    named = choose_agent(with_model(settings, agent_name="Otto", llm_prompt="Be brief."))
    assert (named.info.name, named.system_prompt) == ("Otto", "Be brief.")


def test_the_users_file_wins_and_may_ask_the_model(settings: Settings, place: Path) -> None:
    (place / "agent.py").write_text(AGENT)
    answerer = choose_agent(with_model(settings, agent=place / "agent.py"))
    assert isinstance(answerer.provider, FunctionAgent)
    assert isinstance(answerer.model, OpenAIProvider)
    assert answerer.info.name == "parrot"
    assert answerer.info.suggestions == ("say something",)
    assert answerer.info.description


def test_a_provider_in_a_file_needs_no_function(settings: Settings, place: Path) -> None:
    (place / "agent.py").write_text(PROVIDER)
    answerer = choose_agent(replace(settings, agent=place / "agent.py"))
    assert answerer.provider.name == "mock"
    assert answerer.model is None


def test_a_file_that_holds_no_agent_is_a_wrong_setting(settings: Settings, place: Path) -> None:
    (place / "agent.py").write_text("x = 1\n")
    with pytest.raises(ConfigurationError, match=r"agent\.py"):
        choose_agent(replace(settings, agent=place / "agent.py"))


async def test_agent_and_model_are_started_and_closed_once_each(settings: Settings) -> None:
    provider, model = MockAIProvider(), MockAIProvider()
    answerer = agents_module.Answerer(provider, choose_agent(settings).info, None, model)
    await answerer.start()
    assert provider.started
    assert model.started
    await answerer.close()
    assert not provider.started
    assert not model.started
    alone = agents_module.Answerer(provider, answerer.info, None, provider)
    await alone.start()
    assert provider.started
    await alone.close()
    assert not provider.started


# -- speech ---------------------------------------------------------------------------------------


def made(settings: Settings) -> Engines:
    return Engines(settings, Metrics(), MockAIProvider())


async def opened(engines: Engines) -> None:
    for service in engines.services():
        try:
            await service.start()
        except (UnavailableError, OSError) as error:
            assert service.on_failure is not None
            service.on_failure(str(error))


async def closed(engines: Engines) -> None:
    for service in reversed(engines.services()):
        await service.close()


async def test_engines_that_are_switched_off_say_so(quiet: Settings) -> None:
    engines = made(quiet)
    names = [service.name for service in engines.services()]
    assert names == ["media clock", "speech providers of calls"]
    described = engines.describe()
    assert not described["recognition"].available
    assert "SALON_STT=none" in described["recognition"].note
    with pytest.raises(ConfigurationError, match="SALON_STT=none"):
        engines.voice.recognizer()
    with pytest.raises(ConfigurationError, match="SALON_TTS=none"):
        engines.voice.synthesizer()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ("pocketsphinx", "espeak")),
        ({"tts": "flite"}, ("pocketsphinx", "flite")),
        (
            {
                "stt": "openai",
                "stt_base_url": "http://127.0.0.1:9/v1",
                "tts": "openai",
                "tts_base_url": "http://127.0.0.1:9/v1",
            },
            ("openai", "openai"),
        ),
    ],
)
def test_the_settings_choose_the_engines(
    settings: Settings, changes: dict[str, Any], names: tuple[str, str]
) -> None:
    engines = made(replace(settings, **changes))
    described = engines.describe()
    assert (described["recognition"].name, described["synthesis"].name) == names
    embedded = names[0] == "pocketsphinx"
    assert described["recognition"].languages == (("en",) if embedded else ())
    assert described["recognition"].note == (EMBEDDED_STT_NOTE if embedded else "")


async def test_an_engine_serves_calls_once_it_runs(
    quiet: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears, voice = MockSpeechToText(), MockTextToSpeech()
    monkeypatch.setattr(engines_module, "PocketSphinxSpeechToText", lambda workers: ears)
    monkeypatch.setattr(engines_module, "EspeakTextToSpeech", lambda: voice)
    engines = made(replace(quiet, stt="embedded", tts="espeak"))
    with pytest.raises(ConfigurationError):
        engines.voice.recognizer()
    await opened(engines)
    assert engines.voice.recognizer() is engines.voice.recognizer(ears.name) is ears
    assert engines.voice.synthesizer() is engines.voice.synthesizer(voice.name) is voice
    assert engines.describe()["recognition"].available
    await closed(engines)


async def test_an_engine_that_cannot_start_leaves_its_reason(
    quiet: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(MockSpeechToText):
        async def start(self) -> None:
            raise UnavailableError("no model of speech")

    class Mute(MockTextToSpeech):
        async def start(self) -> None:
            raise OSError("no library")

    monkeypatch.setattr(engines_module, "PocketSphinxSpeechToText", lambda workers: Deaf())
    monkeypatch.setattr(engines_module, "FliteTextToSpeech", Mute)
    engines = made(replace(quiet, stt="embedded", tts="flite"))
    await opened(engines)
    described = engines.describe()
    assert (described["recognition"].available, described["recognition"].note) == (
        False,
        "no model of speech",
    )
    assert described["synthesis"].note == "no library"
    with pytest.raises(ConfigurationError, match="no model of speech"):
        engines.voice.recognizer()
    await closed(engines)


def test_G286_without_the_model_every_window_counts_as_speech_and_people_are_told(
    quiet: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise ConfigurationError("the model is not installed")

    monkeypatch.setattr(engines_module.SileroModel, "load", missing)
    engines = made(quiet)
    vad = engines.describe()["vad"]
    assert (vad.name, vad.available, vad.note) == ("none", False, "the model is not installed")
    assert not engines.voice.vad.has_model


def test_a_language_model_is_named_and_rules_are_called_rules(quiet: Settings) -> None:
    model = made(quiet).describe()["model"]
    assert (model.name, model.note) == ("mock", "")
    rules = Engines(quiet, Metrics(), HouseAgent.load()).describe()["model"]
    assert rules.available
    assert rules.name


# -- the whole ------------------------------------------------------------------------------------


@pytest.fixture
def browser(quiet: Settings, no_files: WebFiles, place: Path) -> Iterator[TestClient]:
    """A client of a whole server whose agent repeats what it hears."""
    (place / "agent.py").write_text(AGENT)
    app = create_app(replace(quiet, agent=place / "agent.py"), files=no_files)
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as made:
        yield made


def test_a_server_says_who_answers_and_what_is_missing(browser: TestClient) -> None:
    info = browser.get("/api/info").json()
    assert info["agent"]["name"] == "parrot"
    assert info["engines"]["recognition"]["available"] is False
    assert browser.get("/ready").json()["status"] == "ready"


def test_what_is_typed_in_a_room_is_answered_and_kept(browser: TestClient) -> None:
    room_id = browser.post("/rooms").json()["id"]
    with browser.websocket_connect(f"ws://localhost/ws/{room_id}?participant=ann") as socket:
        assert socket.receive_json()["type"] == "hello"
        socket.send_json({"type": "message", "text": "good day"})
        message = socket.receive_json()
        while message["type"] != "stream_end":
            message = socket.receive_json()
        assert message["event"]["content"]["body"] == "good day"
    lines = browser.get(f"/rooms/{room_id}/transcript").text.splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["ann: good day", "parrot: good day"]


def test_one_participant_cannot_make_a_room_unreadable_for_all(browser: TestClient) -> None:
    url = "ws://localhost/ws/kitchen?participant=ann"
    with browser.websocket_connect(url) as socket:
        assert [socket.receive_json()["type"] for _ in range(2)] == ["hello", "history"]
        socket.send_text(r'{"type": "message", "text": "\ud800"}')
        first = socket.receive_json()["type"]
    quiet_browser = TestClient(
        browser.app,
        base_url="http://localhost",
        client=("127.0.0.1", 1),
        raise_server_exceptions=False,
    )
    assert quiet_browser.get("/rooms/kitchen/timeline").status_code == 200
    assert first == "error"


def call_in(browser: TestClient, url: str, ended: queue.Queue[None]) -> None:
    """Place a call, speak a little, hang up, and wait for its end."""
    with browser.websocket_connect(f"ws://localhost{url}") as call:
        call.send_json({"command": "invite", "option": {"asr": None, "tts": None}})
        while call.receive_json()["event"] != "answer":
            pass
        for _ in range(5):
            call.send_bytes(silence(20).tobytes())
        call.send_json({"command": "hangup", "reason": "caller"})
        message = call.receive()
        while message["type"] != "websocket.close":
            message = call.receive()
        ended.get(timeout=20)


def test_a_call_in_a_room_is_counted_logged_and_recorded(
    browser: TestClient, quiet: Settings, media_ended: queue.Queue[None]
) -> None:
    call_in(browser, "/ws?handler=room&room=kitchen&participant=ann&id=c1", media_ended)
    metrics = browser.app.state.house.metrics.registry  # type: ignore[attr-defined]
    assert metrics.get_sample_value("salon_calls_total", {"outcome": "completed"}) == 1
    (recording,) = browser.get("/rooms/kitchen/recordings").json()
    assert "c1" in recording["id"]
    sound = browser.get(f"/rooms/kitchen/recordings/{recording['id']}.wav").content
    assert sound.startswith(b"RIFF")
    assert [person["id"] for person in browser.get("/rooms/kitchen").json()["participants"]]


def test_a_call_outside_rooms_is_not_recorded(
    browser: TestClient, quiet: Settings, media_ended: queue.Queue[None]
) -> None:
    call_in(browser, "/ws?id=c1", media_ended)
    assert not quiet.recordings.exists()


def test_a_house_can_be_composed_from_defaults_without_touching_the_disk(
    settings: Settings,
) -> None:
    house = compose(settings)
    assert house.describe_agent().name
    assert set(house.describe_engines()) == {"recognition", "synthesis", "vad", "model", "webrtc"}
    assert not settings.data_dir.exists()


@pytest.mark.parametrize(("setting", "kept"), [(None, {"token": "t"}), ("drop", {})])
async def test_R268_a_setting_says_what_is_kept_of_raw_payloads(
    quiet: Settings, setting: Any, kept: dict[str, str]
) -> None:
    kit = compose(quiet if setting is None else replace(quiet, raw_payload=setting)).kit
    async with kit:
        message = InboundMessage(
            channel_id="websocket",
            sender_id="ann",
            content=TextContent(body="hi"),
            raw_payload={"token": "t"},
        )
        result = await kit.process_inbound(message)
        assert result.event is not None
        assert result.event.source.raw_payload == kept


async def test_files_are_written_while_the_server_runs() -> None:
    disk = Disk()
    assert disk.writer() is None
    await disk.open()
    assert disk.writer() is not None
    for _ in range(2):
        await disk.close()
        assert disk.writer() is None


def test_turns_are_measured_in_seconds_by_stage() -> None:
    metrics = Metrics()
    _measure(metrics, TurnMeasured(1, "hi", 200, 300, 400, 350))
    sums = {
        stage: metrics.registry.get_sample_value("salon_turn_latency_seconds_sum", {"stage": stage})
        for stage in ("recognised", "first_word", "first_sound", "first_audio")
    }
    assert sums == {"recognised": 0.2, "first_word": 0.3, "first_sound": 0.35, "first_audio": 0.4}


def test_the_application_is_made_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALON_STORE_URL", "memory://")
    monkeypatch.setenv("SALON_STT", "none")
    monkeypatch.setenv("SALON_TTS", "none")
    monkeypatch.delitem(vars(salon.app), "app", raising=False)
    made = salon.app.app
    try:
        assert made.title == "Salon"
        assert salon.app.app is made
    finally:
        vars(salon.app).pop("app", None)
    with pytest.raises(AttributeError, match="nothing"):
        salon.app.nothing  # noqa: B018
