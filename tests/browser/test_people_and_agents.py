"""Three people and two agents talk in one room: two browsers and a plain WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.hearing import received_sound
from tests.browser.microphone import RATE
from tests.browser.room_page import RoomPage
from tests.integration.asking import ask_until, plain
from tests.integration.hearing import heard
from tests.integration.wire import WireCall, placed

from salon.media import Samples, rms_dbfs, write_wav
from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import silence, speak

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

OPENING = "we open at nine in the morning"
TIME = "it is a quarter past seven"
FIRST = f"""
import salon

@salon.agent(
    name="Oliver",
    phrases=[
        "what are your opening hours",
        "the weather will be fine tomorrow morning",
        "please turn off the light in the kitchen",
    ],
)
async def oliver(turn, room):
    text = turn.text.lower()
    if "hours" in text or "introduce" in text:
        yield "{OPENING.capitalize()}."
"""
SECOND = f"""
import salon

@salon.agent(name="Barbara", phrases=["please tell us the time"])
async def barbara(turn, room):
    yield "{TIME.capitalize()}."
"""
AGENTS = {"Oliver": OPENING, "Barbara": TIME}
VOICES = {"Oliver": "en-us", "Barbara": "en-us+f4"}

# What each microphone carries, by the second after the call is placed. The last sentence is over,
# and answered, before the next begins.
TONES = {"Ann": (6.0, 700.0), "Ben": (7.2, 1100.0), "Cat": (8.4, 1700.0)}
"""Of one second, at a pitch in Hz."""
TONES_HEARD_S = 12.0
LINES = {
    "Ann": (12.2, "what are your opening hours"),
    "Ben": (19.5, "barbara please tell us the time"),
    "Cat": (26.5, "the weather will be fine tomorrow morning"),
}
OVER_S = 31.0
BOTH = "@Oliver and @Barbara, introduce yourselves"
CONVERSATION = [
    ("Ann", "what are your opening hours"),
    ("Oliver", OPENING),
    ("Ben", "barbara please tell us the time"),
    ("Barbara", TIME),
    ("Cat", "the weather will be fine tomorrow morning"),
]
OTHERS = (
    "please turn off the light in the kitchen",
    "i would like some coffee and a piece of cake",
    "we are closed on monday and tuesday",
)
SENTENCES = (*(words for _, words in CONVERSATION), *OTHERS)
TONE_RATIO_DB = 20.0
MOST_ROUNDS = 3
SERVER = "server-side-track"


def fake_microphone(wav: Path) -> tuple[str, ...]:
    return (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={wav}%noloop",
    )


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with two agents of different voices."""
    folder = tmp_path_factory.mktemp("agents")
    (folder / "oliver.py").write_text(FIRST)
    (folder / "barbara.py").write_text(SECOND)
    environment = {
        "SALON_AGENT": str(folder / "oliver.py"),
        "SALON_MORE_AGENTS": str(folder / "barbara.py"),
        "SALON_AGENT_VOICES": ",".join(f"{name}={voice}" for name, voice in VOICES.items()),
    }
    with running_server(environment=environment, data_dir=folder / "data") as process:
        yield process


def tone_of(name: str, rate: int) -> Samples:
    """The tone of somebody's microphone."""
    at = np.arange(rate) / rate
    return (0.3 * 32_767 * np.sin(2 * np.pi * TONES[name][1] * at)).astype(np.int16)


def script(name: str, rate: int) -> Samples:
    """All that a person's microphone carries, from the beginning of the call."""
    sound = silence(int(OVER_S * 1000), rate=rate)
    for at, part in (
        (TONES[name][0], tone_of(name, rate)),
        (LINES[name][0], speak(LINES[name][1], rate=rate)),
    ):
        start = int(at * rate)
        sound[start : start + len(part)] = part
    return sound


@dataclass
class Round:
    """What one performance of the script left. `connected`: all were in the call in time for it."""

    connected: bool = True
    tones: dict[str, Samples] = field(default_factory=dict)
    sounds: dict[str, Samples] = field(default_factory=dict)
    lit: list[str] = field(default_factory=list)
    """The pages that showed an agent speaking while there were only people's tones."""
    both: list[str] = field(default_factory=list)
    """What Cat heard when both agents were asked at once."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    tracks: list[dict[str, Any]] = field(default_factory=list)
    """The agents' tracks as one of the callers was told of them."""

    @property
    def spoken(self) -> list[dict[str, Any]]:
        """The conversation, up to what was typed."""
        typed = [event["content"]["body"] == BOTH for event in self.messages]
        return self.messages[: typed.index(True)]


class Party:
    """Two pages and what Cat needs to call, in one room."""

    room = "party"

    def __init__(self, server: ServerProcess, pages: dict[str, RoomPage]) -> None:
        self.server = server
        self.pages = pages

    async def perform(self) -> Round:
        """Everybody calls, says what the script has for them, asks both agents, and hangs up."""
        found = Round()
        before = len(await self.messages())
        noted = {}
        for name, page in self.pages.items():
            await page.forget_sound()
            noted[name] = len(await page.seen())
        path = f"/ws?handler=room&room={self.room}&participant=cat&name=Cat"
        async with placed(self.server.ws_url, path) as cat:
            await cat.invite(asr={}, vad={}, tts={})
            loop = asyncio.get_running_loop()
            began = loop.time()
            talking = asyncio.create_task(cat.talk(script("Cat", 16_000)))
            await asyncio.gather(*(page.talk() for page in self.pages.values()))
            found.connected = loop.time() - began < TONES["Ann"][0] - 0.5
            await asyncio.sleep(began + TONES_HEARD_S - loop.time())
            for name, page in self.pages.items():
                if any(moment.agent for moment in (await page.seen())[noted[name] :]):
                    found.lit.append(name)
            found.tones = await self.sounds(cat)
            await talking
            sounds = await self.sounds(cat)
            found.sounds = {name: sound[len(found.tones[name]) :] for name, sound in sounds.items()}
            async with cat.quiet():
                over = len(cat.of("trackEnd", trackId=SERVER)) + 2
                await self.pages["Ann"].say(BOTH)
                await until(lambda: len(cat.of("trackEnd", trackId=SERVER)) >= over, "two answers")
            found.both = list(recognised(cat.sound()[len(sounds["Cat"]) :]))
            found.tracks = [event for event in cat.events if event.get("trackId") == SERVER]
            for page in self.pages.values():
                await page.hang_up()
        found.messages = await self.whole(before)
        return found

    async def whole(self, before: int) -> list[dict[str, Any]]:
        """What was said since message `before`, with both answers to what was typed, which are
        stored a moment after their last sound."""
        async with asyncio.timeout(45):
            while True:
                found = (await self.messages())[before:]
                typed = [event["content"]["body"] == BOTH for event in found]
                if True in typed and len(found) >= typed.index(True) + 3:
                    return found
                await asyncio.sleep(0.05)

    async def sounds(self, cat: WireCall) -> dict[str, Samples]:
        """What everybody heard so far, without the page's silence."""
        found = {name: await received_sound(page) for name, page in self.pages.items()}
        return found | {"Cat": cat.sound()}

    async def messages(self) -> list[dict[str, Any]]:
        """The room's timeline."""
        path = f"/rooms/{self.room}/timeline?limit=500"
        page = await asyncio.to_thread(self.server.get, path)
        return [event for event in page["events"] if event["type"] == "message"]


def said_in(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who said what, as the room's timeline has it."""
    return [
        (event["metadata"]["sender_name"], plain(event["content"]["body"])) for event in messages
    ]


def utterances(sound: Samples) -> list[Samples]:
    """The stretches of speech in a sound: half a second at least, between pauses of 0.3 s (a page
    keeps no longer ones)."""
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    found: list[list[int]] = []
    for number in np.flatnonzero([rms_dbfs(frame) > -45 for frame in frames]):
        if found and number - found[-1][1] <= 15:
            found[-1][1] = int(number)
        else:
            found.append([int(number), int(number)])
    return [
        sound[max(0, first - 5) * 320 : (last + 6) * 320]
        for first, last in found
        if last - first > 25
    ]


def recognised(sound: Samples) -> dict[str, Samples]:
    """The sentences that a recogniser hears in a sound, with the sound of each."""
    return {heard(part, SENTENCES): part for part in utterances(sound)}


def tone_db(sound: Samples, hertz: float) -> float:
    """How strong one tone is in a sound."""
    at = np.arange(len(sound)) / 16_000
    return float(20 * np.log10(abs(np.dot(sound, np.exp(-2j * np.pi * hertz * at))) + 1e-9))


def voice_hertz(sound: Samples) -> float:
    """The median pitch of a voice, by autocorrelation."""
    found = []
    low, high = 16_000 // 400, 16_000 // 70
    for start in range(0, len(sound) - 1280, 320):
        frame = sound[start : start + 1280].astype(np.float64)
        if rms_dbfs(sound[start : start + 1280]) < -35:
            continue
        spectrum = np.fft.rfft(frame * np.hanning(1280), 4096)
        similar = np.fft.irfft(np.abs(spectrum) ** 2)
        lag = low + int(np.argmax(similar[low:high]))
        if similar[lag] > 0.4 * similar[0]:
            found.append(16_000 / lag)
    return float(np.median(found))


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(900):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what}: not within 45 s")


def assert_own_tone_is_not_heard(found: Round) -> None:
    """Everybody heard the others' microphones, and not their own."""
    for listener, sound in found.tones.items():
        levels = {name: tone_db(sound, hertz) for name, (_, hertz) in TONES.items()}
        own = levels.pop(listener)
        print(f"{listener} heard their own tone {min(levels.values()) - own:.0f} dB below others'")
        assert own <= min(levels.values()) - TONE_RATIO_DB, (listener, own, levels)


def assert_one_agent_at_a_time(tracks: list[dict[str, Any]]) -> None:
    """Nobody was told of an agent that begins while another one plays, and none was cut."""
    names = [event["event"] for event in tracks]
    assert names == ["trackStart", "trackEnd"] * (len(names) // 2), tracks
    for number in range(0, len(names), 2):
        assert tracks[number]["playId"] == tracks[number + 1]["playId"]


def assert_voices_differ(found: Round) -> None:
    """The agents speak with voices of their own, as Cat hears them."""
    sentences = recognised(found.sounds["Cat"])
    pitches = {name: voice_hertz(sentences[text]) for name, text in AGENTS.items()}
    print("pitch of the voices", pitches)
    assert pitches["Barbara"] > 1.25 * pitches["Oliver"]


async def test_people_and_agents_talk_in_one_room(
    launch: Launch, visit: OpenRoom, agents: ServerProcess, tmp_path: Path
) -> None:
    pages: dict[str, RoomPage] = {}
    for name in ("Ann", "Ben"):
        wav = tmp_path / f"{name}.wav"
        write_wav(wav, script(name, RATE), RATE)
        browser = await launch(flags=fake_microphone(wav))
        pages[name] = await visit(browser, at=agents, room=Party.room, audio="webrtc")
        await pages[name].call_me(name)
        await pages[name].watch()
    party = Party(agents, pages)
    last = Round()

    async def ask(_number: int) -> object:
        nonlocal last
        last = await party.perform()
        if not last.connected:
            return "a page was in the call too late"
        assert_own_tone_is_not_heard(last)
        if any(event["event"] == "interruption" for event in last.tracks):
            return "an answer came so late that the next line was spoken over it"
        assert_one_agent_at_a_time(last.tracks)
        heard_by = {name: set(recognised(sound)) for name, sound in last.sounds.items()}
        return said_in(last.spoken), heard_by, set(last.both)

    wanted = {
        listener: {words for name, words in CONVERSATION if name != listener} for listener in LINES
    }
    await ask_until((CONVERSATION, wanted, set(AGENTS.values())), ask, most=MOST_ROUNDS)
    assert not last.lit, "people's sound is no agent's"
    assert_voices_differ(last)
    who = [event["source"]["participant_id"] for event in last.spoken]
    assert len({*who[::2]}) == 3, "three participants"
    both = dict(said_in(last.messages[len(last.spoken) + 1 :]))
    assert both == AGENTS, "called together, both answered"
    for page in pages.values():
        entries = await page.count("agent", 4)
        names = {entry.text: entry.name for entry in entries if entry.role == "agent"}
        assert {name: plain(text) for text, name in names.items()} == AGENTS
        seen = await page.seen()
        assert {name for moment in seen for name in moment.answerers} == {*AGENTS}
        assert any(moment.agent for moment in seen)
        assert page.errors == []
