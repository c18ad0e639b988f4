"""``salon probe webrtc`` calls a real server: sound as packets, keys, a spoken reply."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.asking import ask_until, plain
from tests.integration.conftest import emptied
from tests.integration.hearing import heard
from tests.integration.program import salon

from salon.media import read_wav, write_wav
from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import silence, speak

ASKED = {"opus": "what is salon", "g722": "what is salon"}
ASKED_BY_PHONE = "what are your opening hours"
SAID = (
    "you said what is salon",
    "you said what are your opening hours",
    "the weather will be fine tomorrow morning",
    "please turn off the light in the kitchen",
)
CODECS = {"opus": "opus", "pcmu": "PCMU", "pcma": "PCMA", "g722": "G722"}


def found(out: str) -> dict[str, Any]:
    """The last object of each kind."""
    return {key: line[key] for line in map(json.loads, out.splitlines()) for key in line}


def nearest(text: str) -> str:
    """The sentence that shares most words with `text`; "" if that are fewer than four. A stall of
    a busy machine may cost a word."""
    words = set(text.split())
    best = max(SAID, key=lambda sentence: len(words & set(sentence.split())))
    return best if len(words & set(best.split())) >= 4 else ""


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
async def test_G145_G151_a_spoken_turn_over_webrtc(
    server: ServerProcess, codec: str, tmp_path: Path
) -> None:
    asked = ASKED.get(codec, ASKED_BY_PHONE)
    write_wav(tmp_path / "asked.wav", speak(asked))

    async def once(number: int) -> tuple[str, str, bool]:
        found = await probed(server, codec, tmp_path)
        await emptied(server)
        return found

    await ask_until((asked, f"you said {asked}", True), once)


async def probed(server: ServerProcess, codec: str, tmp_path: Path) -> tuple[str, str, bool]:
    """``asked.wav`` put to the server: what it understood, what it was heard to say, and whether
    the sound came whole."""
    outcome = await salon(
        *("probe", "webrtc", "--url", server.url, "--file", "asked.wav", "--codec", codec),
        *("--dtmf", "123#", "--save", "reply.wav", "--json"),
        folder=tmp_path,
    )
    assert outcome.code == 0, outcome.out + outcome.err
    events = [json.loads(line).get("event") for line in outcome.out.splitlines()]
    names = [event["event"] for event in events if event]
    assert names[:2] == ["trackStart", "answer"]
    assert names.index("speaking") < names.index("asrFinal") < len(names) - 1
    assert names[-1] == "hangup"
    assert "error" not in names
    assert [event["digit"] for event in events if event and event["event"] == "dtmf"] == [*"123#"]

    said = found(outcome.out)
    connection, network, report = said["connection"], said["network"], said["report"]
    assert connection["codec"]["encoding"] == CODECS[codec]
    assert connection["connect_ms"] > 0
    assert re.fullmatch(r"host [\d.]+:\d+", connection["route"]["remote"])
    assert network["rejected"] == 0
    assert network["round_trip_ms"] is not None
    assert network["received"] > 50
    (turn,) = report["turns"]
    assert turn["latency_ms"] > 0
    samples, rate = read_wav(tmp_path / "reply.wav")
    assert rate == 16_000
    # loopback loses nothing, but what a stalled machine takes from it too late counts as lost
    whole = network["lost"] <= network["received"] / 50
    return plain(turn["heard"]), nearest(heard(samples, SAID)), whole


@pytest.mark.slow
async def test_the_agent_of_a_room_answers_over_webrtc(
    server: ServerProcess, tmp_path: Path
) -> None:
    outcome = await salon(
        *("probe", "webrtc", "--url", server.ws_url, "--sine", "--room", "by-webrtc"),
        *("--dtmf", "7"),
        folder=tmp_path,
    )
    assert outcome.code == 0, outcome.out + outcome.err
    assert "keys: 7 pressed and heard" in outcome.out
    assert "from the written question to the first reply sound" in outcome.out
    assert "opus/48000 as payload type 111" in outcome.out
    await emptied(server)


@pytest.mark.slow
async def test_two_turns_with_silence_in_front(server: ServerProcess, tmp_path: Path) -> None:
    write_wav(
        tmp_path / "asked.wav", np.concatenate([silence(500), speak("what is salon"), silence(300)])
    )
    outcome = await salon(
        *("probe", "webrtc", "--url", server.url, "--file", "asked.wav", "--turns", "2"),
        folder=tmp_path,
    )
    assert outcome.code == 0, outcome.out + outcome.err
    assert "turn 2: " in outcome.out
    assert "latency: median" in outcome.out
    await emptied(server)


@pytest.mark.slow
async def test_G286_a_server_without_webrtc_says_why(tmp_path: Path) -> None:
    with running_server(environment={"SALON_WEBRTC": "off"}) as server:
        outcome = await salon("probe", "webrtc", "--url", server.url, "--sine", folder=tmp_path)
    assert outcome.code == 1
    assert "HTTP 501" in outcome.err
    assert "SALON_WEBRTC=off" in outcome.err
