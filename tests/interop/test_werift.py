"""A WebRTC stack that is neither a browser nor aiortc calls `/webrtc`: werift, in Node.js."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import unicodedata
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx
import numpy as np
import pytest
from tests.integration.asking import ask_until, plain
from tests.integration.hearing import heard

from salon.media import SAMPLE_RATE, Samples, read_wav, resample, write_wav
from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import add_noise, silence, speak

HERE = Path(__file__).parent
ASKED = "what are your opening hours"
OTHERS = (
    "your table is booked for seven on friday",
    "the weather will be fine tomorrow morning",
    "we are closed on monday and tuesday",
)
LEAD_MS = 1000
"""The jitter buffer has found its depth by then; G.711 leaves nothing to spare for recognition."""
NOISE_DB = 25.0
NODE = 20
INSTALL_TIMEOUT_S = 300.0
CALL_TIMEOUT_S = 120.0
"""The client ends its call after half of this."""
RATES = {"opus": SAMPLE_RATE, "pcmu": 8000, "pcma": 8000}
PAYLOAD_TYPES = {"opus": 111, "pcmu": 0, "pcma": 8}


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """``salon serve`` with the embedded engines; its log must hold no traceback at the end."""
    with running_server() as process:
        yield process
        log = process.log_text()
        assert "Traceback" not in log, log[-4000:]


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js with what the client needs. Without it the tests are skipped, but fail where all is
    required."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        _missing("Node.js is not there")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30)
    if int(version.stdout.removeprefix("v").partition(".")[0]) < NODE:
        _missing(f"Node.js is {version.stdout.strip()}")
    if not _installed():
        done = subprocess.run(
            [npm, "ci", "--loglevel=error"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
        )
        if done.returncode:
            _missing(f"npm ci failed: {done.stderr[-1000:]}")
    return found


def _installed() -> bool:
    """npm leaves a copy of what it installed, written after the lock it was made from."""
    done = HERE / "node_modules" / ".package-lock.json"
    lock = HERE / "package-lock.json"
    return done.exists() and done.stat().st_mtime >= lock.stat().st_mtime


def _missing(what: str) -> NoReturn:
    needed = f"{what}; these tests need Node.js {NODE} or newer and npm, which installs werift"
    if os.environ.get("SALON_REQUIRE_ALL"):
        pytest.fail(needed)
    pytest.skip(needed)


@dataclass(frozen=True, slots=True)
class Called:
    """What the client saw of a call. `sound` is ``int16[n]`` at 16 kHz."""

    events: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    summary: dict[str, Any]
    sound: Samples

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.events]

    def the(self, name: str) -> dict[str, Any]:
        """The only event of this name."""
        (found,) = [event for event in self.events if event["event"] == name]
        return found


@dataclass(frozen=True, slots=True)
class Caller:
    """Runs the client against a server; its files are in `folder`."""

    node: str
    server: ServerProcess
    folder: Path

    async def call(
        self, query: str, codec: str, *arguments: str, said: Samples | None = None
    ) -> Called:
        """One call from its offer to its end; ``int16[n]`` `said` has the rate of `codec`."""
        out = self.folder / "answer.wav"
        command = [self.node, str(HERE / "werift_call.mjs"), "--codec", codec, "--out", str(out)]
        command += ["--url", f"{self.server.ws_url}/webrtc?{query}", *arguments]
        command += ["--seconds", f"{CALL_TIMEOUT_S / 2:g}"]
        if said is not None:
            question = self.folder / "question.wav"
            write_wav(question, said, RATES[codec])
            command += ["--wav", str(question)]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=CALL_TIMEOUT_S
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        samples, rate = read_wav(out)
        return Called(
            [line for line in lines if "event" in line],
            [line for line in lines if "note" in line],
            lines[-1]["summary"],
            resample(samples, rate, SAMPLE_RATE),
        )


@pytest.fixture
def caller(node: str, server: ServerProcess, tmp_path: Path) -> Caller:
    return Caller(node, server, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "how"), [("opus", ()), ("pcmu", ("--trickle",)), ("pcma", ("--bare",))]
)
async def test_T25_werift_is_understood_and_hears_the_answer(
    caller: Caller, codec: str, how: tuple[str, ...]
) -> None:
    """The offer complete, with its candidates after it (G146), and as a bare frame (G281)."""

    async def once(_number: int) -> list[str]:
        return await asked(caller, codec, how)

    await ask_until([ASKED], once)


async def asked(caller: Caller, codec: str, how: tuple[str, ...]) -> list[str]:
    """A question and its answer in a room of their own; what was understood, turn by turn."""
    async with httpx.AsyncClient(base_url=caller.server.url, timeout=20) as client:
        room = (await client.post("/rooms")).json()["id"]
        rate = RATES[codec]
        called = await caller.call(
            f"handler=room&room={room}&participant=ada&name=Ada",
            codec,
            *("--until", "trackEnd", "--option", '{"asr": {}, "vad": {}, "tts": {}}', *how),
            said=np.concatenate([silence(LEAD_MS, rate=rate), speak(ASKED, rate=rate)]),
        )
        assert_offered(called, trickle="--trickle" in how)
        assert_connected(called, codec)
        assert_answer_complete(called.the("answer")["sdp"], PAYLOAD_TYPES[codec])
        assert_turned(called)
        finals = [event["text"] for event in called.events if event["event"] == "asrFinal"]
        understood = [plain(text) for text in finals]
        if understood == [ASKED]:
            answer = await kept_answer(client, room)
            assert np.abs(called.sound).max() > 2000
            # without a floor of noise the recogniser is deaf to sound that ends at 4 kHz
            sound = add_noise(called.sound, NOISE_DB)
            assert heard(sound, (spoken(answer), *OTHERS)) == spoken(answer)
            await assert_recorded(client, room)
        return understood


def assert_offered(called: Called, *, trickle: bool) -> None:
    (offer,) = [note for note in called.notes if note["note"] == "offer"]
    assert ("a=candidate:" in offer["sdp"]) is not trickle
    assert bool([note for note in called.notes if note["note"] == "candidate"]) is trickle


def assert_connected(called: Called, codec: str) -> None:
    summary = called.summary
    assert summary["reason"] == "trackEnd", (summary, called.names)
    assert summary["codec"].lower() == codec
    assert summary["connectedMs"] > 0
    assert summary["lost"] <= summary["packetsIn"] / 100
    assert summary["otherPayloadTypes"] == 0
    assert summary["packetsIn"] >= 100, "two seconds of answer"
    assert summary["packetsOut"] >= 100
    assert {note["state"] for note in called.notes if note["note"] == "connection"} == {
        "connecting",
        "connected",
        "closed",
    }
    (closed,) = [note for note in called.notes if note["note"] == "closed"]
    assert closed["code"] == 1000


def assert_answer_complete(sdp: str, payload_type: int) -> None:
    lines = sdp.split("\r\n")
    media = [line for line in lines if line.startswith("m=")]
    assert len(media) == 1
    assert media[0].startswith(f"m=audio 9 UDP/TLS/RTP/SAVPF {payload_type} ")
    for needed in ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 ", "a=candidate:"):
        assert any(line.startswith(needed) for line in lines), needed
    for needed in ("a=rtcp-mux", "a=sendrecv", "a=end-of-candidates"):
        assert needed in lines
    assert "a=setup:active" in lines or "a=setup:passive" in lines


def assert_turned(called: Called) -> None:
    names = called.names
    assert names[:2] == ["trackStart", "answer"]
    # a recogniser that lags behind tells no words before the last
    delta = ["asrDelta"] if "asrDelta" in names else []
    wanted = ["answer", "speaking", *delta, "asrFinal"]
    order = [names.index(name) for name in wanted]
    assert order == sorted(order)
    assert not [event for event in called.events if event["event"] == "error"]
    assert called.the("hangup")["reason"] == "caller"
    assert names[-1] == "hangup"


def spoken(text: str) -> str:
    """Only the words, as a dictionary of pronunciations writes them."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return " ".join("".join(c if c.isalpha() or c == "'" else " " for c in plain).split())


async def kept_answer(client: httpx.AsyncClient, room: str) -> str:
    """Both sides are in the room's timeline; what was answered."""
    async with asyncio.timeout(30):  # the answer is stored a moment after its last sound
        while True:
            page = (await client.get(f"/rooms/{room}/timeline", params={"limit": 500})).json()
            messages = [event for event in page["events"] if event["type"] == "message"]
            if len(messages) >= 2:
                break
            await asyncio.sleep(0.05)
    asked, answered = messages
    assert asked["source"]["participant_id"] == "ada"
    assert asked["content"]["body"].lower().rstrip("?.") == ASKED
    assert answered["source"]["channel_type"] == "ai"
    body: str = answered["content"]["body"]
    return body


async def assert_recorded(client: httpx.AsyncClient, room: str) -> None:
    async with asyncio.timeout(30):  # it is whole a moment after the call
        while not (found := (await client.get(f"/rooms/{room}/recordings")).json()):
            await asyncio.sleep(0.05)
    (recording,) = found
    sound = await client.get(f"/rooms/{room}/recordings/{recording['id']}.wav")
    with wave.open(io.BytesIO(sound.content)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, SAMPLE_RATE)
        frames = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    assert (np.abs(frames.astype(int)).max(axis=0) > 2000).all(), "both sides are recorded"


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "payload_type"), [("opus", 110), ("pcmu", 126)])
async def test_G151_keys_come_with_the_payload_type_of_the_offer(
    caller: Caller, codec: str, payload_type: int
) -> None:
    called = await caller.call("handler=controller", codec, "--dtmf", "55#D", "--until", "dtmf:4")
    assert called.summary["reason"] == "dtmf", (called.summary, called.events)
    assert f"a=rtpmap:{payload_type} telephone-event/" in called.the("answer")["sdp"]
    keys = [event for event in called.events if event["event"] == "dtmf"]
    assert [event["digit"] for event in keys] == ["5", "5", "#", "D"]
    assert {event["trackId"] for event in keys} == {called.the("answer")["trackId"]}
    assert called.names[-1] == "hangup"
    assert "error" not in called.names
