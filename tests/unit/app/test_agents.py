"""More than one agent in a server: who they are, what they are called, how they sound."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from salon.app import engines as engines_module
from salon.app.agents import Agents, Answerer, agent_channels, slug
from salon.app.application import create_app
from salon.app.compose import _bridge, compose
from salon.app.house import AgentInfo
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.base import ConfigurationError
from salon.providers import FunctionAgent, MockAIProvider, OpenAIProvider
from salon.testing import MockTextToSpeech

AGENT = """
import salon

@salon.agent(name={name!r}, phrases={phrases!r})
async def answer(turn, room):
    yield "{name} heard " + turn.text
"""


class Named(MockTextToSpeech):
    """An engine that knows two voices."""

    def voices(self) -> tuple[str, ...]:
        return ("deep", "high")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("SALON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def agent_file(place: Path, name: str, *phrases: str) -> Path:
    file = place / f"{slug(name) or 'agent'}.py"
    file.write_text(AGENT.format(name=name, phrases=list(phrases)))
    return file


@pytest.fixture
def two(settings: Settings, place: Path) -> Settings:
    """A server of Anna and Bruno, that neither hears nor speaks."""
    return replace(
        settings,
        stt="none",
        tts="none",
        store_url="memory://",
        agent=agent_file(place, "Anna", "good day"),
        more_agents=(agent_file(place, "Bruno", "what time is it"),),
    )


# -- who they are ---------------------------------------------------------------------------------


def test_without_further_agents_all_is_as_it_was(settings: Settings) -> None:
    agents = Agents(settings)
    assert agents.channel_ids == ("agent",)
    assert agents.info == agents.first.info
    assert agents.speech_hints() is agents.first.provider.speech_hints()
    assert (agents.voices, len(agents.services())) == ({}, 1)


def test_further_agents_are_called_by_name(two: Settings) -> None:
    agents = Agents(two)
    assert agents.channel_ids == ("agent", "bruno")
    assert [channel.name for channel in agents.channels] == ["Anna", "Bruno"]
    assert agents.info.description.endswith("Call by name: Bruno.")
    assert agents.info.suggestions == ("good day", "Bruno, what time is it")


def test_recognition_knows_what_each_of_them_understands_and_their_names(two: Settings) -> None:
    phrases = Agents(two).speech_hints().phrases
    assert phrases == ("good day", "Bruno", "what time is it", "Bruno what time is it")


def test_recognition_is_free_where_one_of_them_understands_anything(
    two: Settings, place: Path
) -> None:
    free = replace(two, more_agents=(agent_file(place, "Carla"),))
    assert Agents(free).speech_hints().phrases == ()


def test_a_further_agent_may_ask_the_language_model(two: Settings, place: Path) -> None:
    settings = replace(two, llm_base_url="http://127.0.0.1:9/v1", llm_model="tiny")
    agents = Agents(settings)
    further = agents._all[1].provider
    assert isinstance(agents.first.model, OpenAIProvider)
    assert isinstance(further, FunctionAgent)
    assert further.model_name == "tiny"
    assert agents._all[1].model is None, "the first one's closes it"
    (place / "plain.py").write_text(
        "from salon.providers.mock import MockAIProvider\nprovider = MockAIProvider(['hi'])\n"
    )
    plain = Agents(replace(two, more_agents=(place / "plain.py",)))
    assert plain.channel_ids == ("agent", "mock")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Anna Lee", "anna-lee"), ("Zoë_2", "zoë-2"), (" Dr. No! ", "dr-no"), ("???", "")],
)
def test_a_name_becomes_a_channel_id(name: str, expected: str) -> None:
    assert slug(name) == expected


@pytest.mark.parametrize("names", [["Voice"], ["Agent"], ["?"], ["Bo", "bo"], ["anna"]])
def test_agents_that_cannot_be_told_apart_are_refused(names: list[str]) -> None:
    more = [Answerer(MockAIProvider(), AgentInfo(name)) for name in names]
    with pytest.raises(ConfigurationError, match="SALON_MORE_AGENTS: ") as refused:
        agent_channels(Answerer(MockAIProvider(), AgentInfo("Anna")), more)
    assert repr(names[-1]) in str(refused.value)


def test_a_missing_file_is_named(two: Settings) -> None:
    settings = replace(two, more_agents=(Path("/none.py"),))
    with pytest.raises(ConfigurationError, match=r"SALON_MORE_AGENTS='/none.py': no such file"):
        Agents(settings)


# -- how they sound -------------------------------------------------------------------------------


def test_voices_are_given_by_name(two: Settings) -> None:
    voices = (("anna", "deep"), ("Bruno", "high"))
    assert Agents(replace(two, agent_voices=voices)).voices == {"agent": "deep", "bruno": "high"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("Brunno", "did you mean Bruno?"), ("Ana", "did you mean Anna?"), ("Zed", "Anna, Bruno")],
)
def test_a_voice_for_nobody_is_refused(two: Settings, name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match="no agent is called") as refused:
        Agents(replace(two, agent_voices=((name, "deep"),)))
    assert f"SALON_AGENT_VOICES={name}=deep" in str(refused.value)
    assert words in str(refused.value)


def test_a_voice_that_the_engine_lacks_is_refused(two: Settings) -> None:
    agents = Agents(replace(two, agent_voices=(("Anna", "deep"), ("Bruno", "hihg"))))
    agents.check_voices(None)
    agents.check_voices(MockTextToSpeech())
    with pytest.raises(ConfigurationError) as refused:
        agents.check_voices(Named())
    assert str(refused.value) == (
        "SALON_AGENT_VOICES=Bruno=hihg: mock has no such voice; did you mean high?"
    )


async def test_the_server_does_not_start_with_it(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines_module, "EspeakTextToSpeech", Named)
    wrong = compose(replace(two, tts="espeak", agent_voices=(("Bruno", "none"),)))
    with pytest.raises(ConfigurationError, match="SALON_AGENT_VOICES=Bruno=none"):
        await wrong.open()
    silent = compose(replace(two, agent_voices=(("Bruno", "none"),)))
    await silent.open()
    await silent.close()


def test_the_bridge_is_for_as_many_as_the_settings_say(settings: Settings) -> None:
    assert _bridge(replace(settings, bridge=False)) is None
    bridge = _bridge(replace(settings, bridge_people=5))
    assert bridge is not None
    assert (bridge.mixing_strategy, bridge.places) == ("mix", 5)


# -- in rooms -------------------------------------------------------------------------------------


def typed(client: TestClient, room: str, *texts: str) -> list[str]:
    """Type, wait for each answer, and read the room's transcript."""
    with client.websocket_connect(f"ws://localhost/ws/{room}?participant=ann") as socket:
        for text in texts:
            socket.send_json({"type": "message", "text": text})
            message: dict[str, Any] = {"type": ""}
            while message["type"] != "stream_end":
                message = socket.receive_json()
    lines = client.get(f"/rooms/{room}/transcript").text.splitlines()
    return [line.partition("] ")[2] for line in lines]


def client_of(settings: Settings, files: WebFiles) -> TestClient:
    app = create_app(settings, files=files)
    return TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1))


def test_each_answers_what_it_is_asked(two: Settings, no_files: WebFiles) -> None:
    with client_of(two, no_files) as client:
        info = client.get("/api/info").json()["agent"]
        assert info["name"] == "Anna"
        assert "Bruno" in info["description"]
        assert typed(client, "kitchen", "good day", "Bruno, and you?") == [
            "ann: good day",
            "Anna: Anna heard good day",
            "ann: Bruno, and you?",
            "Bruno: Bruno heard Bruno, and you?",
        ]


def test_a_room_outlives_an_agent_that_is_gone(
    two: Settings, no_files: WebFiles, place: Path
) -> None:
    kept = replace(two, store_url=f"sqlite:///{place / 'rooms.db'}")
    with client_of(kept, no_files) as client:
        typed(client, "kitchen", "Bruno, hello")
    with client_of(replace(kept, more_agents=()), no_files) as client:
        assert typed(client, "kitchen", "Bruno, still there?")[-1] == (
            "Anna: Anna heard Bruno, still there?"
        )
    with client_of(kept, no_files) as client:
        assert typed(client, "kitchen", "Bruno, back?")[-1].startswith("Bruno: ")


async def test_they_start_and_end_with_the_server(two: Settings) -> None:
    agents = Agents(two)
    services = agents.services()
    assert [service.name for service in services] == ["agent Anna", "agent Bruno"]
    await asyncio.gather(*(service.start() for service in services))
    await asyncio.gather(*(service.close() for service in services))
