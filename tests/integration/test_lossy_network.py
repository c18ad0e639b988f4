"""Real calls over WebRTC through a relay that loses, delays, reorders and cuts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from tests.integration.asking import ask_until, plain
from tests.integration.conftest import emptied, until
from tests.integration.hearing import heard
from tests.integration.relayed_call import RelayedCall, relayed
from tests.integration.test_spoken_call import SAID
from tests.integration.test_understanding import AMERICAN, BRITISH, RMS, SLT, Voice
from tests.integration.understanding_sayings import ON_TOPIC, Saying

from salon.base import new_id
from salon.media import FRAME_SAMPLES, Samples
from salon.media.playout import PlayoutStatistics
from salon.testing.network import NO_IMPAIRMENT, Impairment
from salon.testing.server import ServerProcess
from salon.testing.speech import silence, speak

pytestmark = pytest.mark.slow

TYPICAL = Impairment(loss=0.05, delay_ms=20, jitter_ms=20)
AT_ONCE = 4
VOICES = (SLT, RMS, BRITISH, AMERICAN)
QUESTIONS = [said for said in ON_TOPIC if not said.dialogue][1::3][:16]
ASKED = ("what are your opening hours", "hours")
NEXT = ("where can I find the documentation", "documentation")
HEARD_S = 1.2
"""Of an answer; then its caller has heard enough, and its first words are stored."""
LOUD = 500


@dataclass(frozen=True, slots=True)
class Answered:
    """A question and which intent answered it."""

    said: Saying
    voice: str
    intent: str | None

    @property
    def right(self) -> bool:
        return self.intent in self.said.intents


async def ask(call: RelayedCall, text: str, voice: Voice = SLT) -> str:
    """Say it; what was recognised, when the answer begins."""
    kind, name = voice
    sound = await asyncio.to_thread(speak, text, name, kind)
    call.microphone.say(np.concatenate([silence(300), sound]))
    final = await call.expect("asrFinal")
    await call.expect("trackStart", trackId="server-side-track")
    return str(final["text"])


def sounding_s(sound: Samples) -> float:
    """Seconds of a sound that are not silent, in steps of 20 ms."""
    frames = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return float(np.sum(np.abs(frames.astype(int)).max(axis=1) > LOUD)) * 0.02


async def hear(call: RelayedCall, seconds: float = HEARD_S) -> None:
    """Wait until so much of the answer was heard, or all of a shorter one."""
    mark, track = call.mark(), {"trackId": "server-side-track"}
    begun = len(call.of("trackStart", **track))
    await until(
        lambda: (
            sounding_s(call.heard_since(mark)) >= seconds
            or len(call.of("trackEnd", **track)) >= begun
        ),
        "the answer is heard",
    )


async def intents(server: ServerProcess, room: str, count: int = 1) -> list[str | None]:
    """Of the answers in the room, once there are `count`; answers are stored after their sound."""
    return (await stored(server, room, lambda found: len(found) >= count)) or [None]


async def stored(
    server: ServerProcess, room: str, enough: Callable[[list[str | None]], bool]
) -> list[str | None]:
    """The intents of the stored answers, when it is `enough` or after half a minute."""
    found: list[str | None] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        for _ in range(300):
            page = (await client.get(f"/rooms/{room}/timeline", params={"limit": 500})).json()
            found = [
                event["metadata"].get("intent")
                for event in page["events"]
                if event["type"] == "message" and event["source"]["channel_type"] == "ai"
            ]
            if enough(found):
                break
            await asyncio.sleep(0.1)
    return found


def to_room(room: str) -> str:
    return f"/webrtc?handler=room&room={room}&participant=ada"


async def answers(
    server: ServerProcess, questions: Sequence[Saying], network: Impairment
) -> list[Answered]:
    """Each question in a call of its own; those that were misunderstood are asked once more."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, said: Saying, seed: int) -> Answered:
        voice = VOICES[number % len(VOICES)]
        room = new_id()
        async with places, relayed(server.ws_url, to_room(room), network, seed=seed) as call:
            await call.call(asr={}, vad={}, tts={})
            await ask(call, said.text, voice)
            await hear(call)
            await call.hang_up()
        return Answered(said, voice[1], (await intents(server, room))[-1])

    found = await asyncio.gather(*(one(n, said, n) for n, said in enumerate(questions)))
    missed = [n for n, answer in enumerate(found) if not answer.right]
    again = await asyncio.gather(*(one(n, questions[n], n + len(questions)) for n in missed))
    print(f"\nasked again: {misses(found)}; then still missed: {misses(again)}")
    for number, answer in zip(missed, again, strict=True):
        found[number] = answer
    await emptied(server)
    return found


def misses(found: Sequence[Answered]) -> str:
    return "; ".join(f"{a.said.text!r} {a.voice} {a.intent}" for a in found if not a.right)


async def test_questions_are_answered_at_5_percent_loss(server: ServerProcess) -> None:
    clean = await answers(server, QUESTIONS, NO_IMPAIRMENT)
    lossy = await answers(server, QUESTIONS, TYPICAL)
    print(f"\nright of {len(QUESTIONS)}: {sum(a.right for a in clean)} without loss,", end=" ")
    print(f"{sum(a.right for a in lossy)} with; missed: {misses(clean)} / {misses(lossy)}")
    assert len(QUESTIONS) >= 12
    assert sum(a.right for a in clean) >= 0.8 * len(QUESTIONS)
    assert sum(a.right for a in lossy) >= sum(a.right for a in clean) - 1


ROUGH = Impairment(loss=0.15, burst=3, delay_ms=20, jitter_ms=60, duplicate=0.02)
GAP_PACKETS = 100
MOST_GAP_S = 30.0
SHUFFLED = Impairment(delay_ms=10, reorder=0.2, reorder_ms=50)


async def ended_packets(server: ServerProcess) -> Counter[str]:
    """Packets of ended calls by kind, from the server's metrics."""
    text = str(await asyncio.to_thread(server.get, "/metrics"))
    lead = 'salon_webrtc_packets_total{kind="'
    rows = [line.removeprefix(lead) for line in text.splitlines() if line.startswith(lead)]
    return Counter({row.split('"')[0]: int(float(row.split()[-1])) for row in rows})


async def test_at_15_percent_in_bursts_the_call_stays_and_its_counters_agree(
    server: ServerProcess,
) -> None:
    await emptied(server)
    before = await ended_packets(server)
    room = new_id()
    async with relayed(server.ws_url, to_room(room), ROUGH, seed=3) as call:
        await call.call(asr={}, vad={}, tts={})
        for text, _ in (ASKED, NEXT):
            await ask(call, text)
            await call.expect("trackEnd", trackId="server-side-track")
        up, down = call.relay.to_server, call.relay.to_client
        assert call.states[-1] == "connected"
        await call.hang_up()
    assert call.names[-1] == "hangup"
    assert not call.of("error")
    started = [e["playId"] for e in call.of("trackStart", trackId="server-side-track")]
    ended = [e["playId"] for e in call.of("trackEnd", trackId="server-side-track")]
    assert started == ended
    assert 0.1 < (up.lost / up.received) < 0.2
    assert down.lost > 0.08 * down.received
    assert len(await intents(server, room, 2)) == 2
    await emptied(server)
    after = await ended_packets(server)
    gained = after - before
    print(f"\n{up}\n{down}\n{gained}")
    # Set-up and RTCP pass the relay, too; SRTP rejects what was received before.
    assert gained["lost"] == pytest.approx(up.lost - up.setup_lost, abs=15)
    assert gained["rejected"] == pytest.approx(up.duplicated, abs=3)
    assert gained["received"] == pytest.approx(up.sent - up.duplicated, rel=0.08)
    assert gained["sent"] == pytest.approx(down.received, rel=0.08)


async def test_a_call_survives_a_gap_of_two_seconds_in_mid_answer(server: ServerProcess) -> None:
    async def once(number: int) -> list[str | None]:
        room = new_id()
        async with relayed(server.ws_url, to_room(room), TYPICAL, seed=4 + number) as call:
            await call.call(asr={}, vad={}, tts={})
            await ask(call, ASKED[0])
            await hear(call, 0.5)
            call.relay.cut(MOST_GAP_S)
            await until(
                lambda: (
                    call.relay.to_server.cut >= GAP_PACKETS
                    and call.relay.to_client.cut >= GAP_PACKETS / 2
                ),
                "two seconds of sound are lost",
            )
            call.relay.cut(0.0)
            await call.expect("trackEnd", trackId="server-side-track")
            await ask(call, NEXT[0])
            await hear(call)
            assert call.states[-1] == "connected"
            await call.hang_up()
        assert len(call.of("asrFinal")) == 2, "the gap is no speech"
        found = await intents(server, room, 2)
        await emptied(server)
        return found

    await ask_until([ASKED[1], NEXT[1]], once)


async def test_a_question_is_understood_after_a_gap_while_it_was_spoken(
    server: ServerProcess,
) -> None:
    """What is lost in mid-question can't be heard; the call must not be stuck in it."""

    async def once(number: int) -> list[str | None]:
        room = new_id()
        async with relayed(server.ws_url, to_room(room), seed=5 + number) as call:
            await call.call(asr={}, vad={}, tts={})
            sound = await asyncio.to_thread(speak, ASKED[0])
            call.microphone.say(np.concatenate([silence(300), sound]))
            await call.expect("speaking")
            call.relay.cut(2.0)
            await call.expect("silence")
            await asyncio.sleep(2.5)
            call.forget()
            await ask(call, NEXT[0])
            await hear(call)
            await call.hang_up()
        found = await stored(server, room, lambda found: found[-1:] == [NEXT[1]])
        await emptied(server)
        return found[-1:]

    await ask_until([NEXT[1]], once)


async def test_V26_reordered_packets_are_heard_as_if_in_order(server: ServerProcess) -> None:
    """That nothing is cut out or put in is shown in virtual time (`test_first_words`)."""

    async def once(number: int) -> tuple[str, list[str | None]]:
        await emptied(server)
        before = await ended_packets(server)
        room = new_id()
        async with relayed(server.ws_url, to_room(room), SHUFFLED, seed=6 + number) as call:
            await call.call(asr={}, vad={}, tts={})
            text = await ask(call, ASKED[0])
            await hear(call)
            up = call.relay.to_server
            await call.hang_up()
        assert up.reordered > 0.1 * up.received
        assert up.lost == 0
        found = await intents(server, room)
        await emptied(server)
        after = await ended_packets(server)
        assert after["lost"] - before["lost"] <= 5, "what is still under way at the end"
        assert after["rejected"] == before["rejected"]
        return plain(text), found

    await ask_until((ASKED[0], [ASKED[1]]), once)


@pytest.mark.parametrize("loss", [0.05, 0.2])
async def test_a_connection_stands_though_stun_and_dtls_get_lost(
    server: ServerProcess, loss: float
) -> None:
    """DTLS repeats a flight that is lost, after a second at first (RFC 6347, 4.2.4.1)."""
    network = Impairment(loss=loss, delay_ms=20, jitter_ms=20)
    places = asyncio.Semaphore(AT_ONCE)

    async def connected(seed: int) -> tuple[float, int]:
        async with places, relayed(server.ws_url, impairment=network, seed=seed) as call:
            await call.call()
            assert call.connect_s is not None
            lost = call.relay.to_server.setup_lost + call.relay.to_client.setup_lost
            await call.hang_up()
        return call.connect_s, lost

    found = await asyncio.gather(*(connected(seed) for seed in range(16)))
    times = sorted(seconds for seconds, _ in found)
    hit = [seconds for seconds, lost in found if lost]
    print(f"\n{loss:.0%}: {[round(t, 2) for t in times]}, {len(hit)} with a loss")
    assert len(hit) >= 3
    await emptied(server)


async def rest(call: RelayedCall, mark: int) -> None:
    """Wait until what is under way and in the receiver's buffer was heard, and silence after it."""

    def over() -> bool:
        sound = call.heard_since(mark)
        return sounding_s(sound) > 0 and not sounding_s(sound[-20 * FRAME_SAMPLES :])

    await until(over, "the rest is heard")


async def said(
    server: ServerProcess, network: Impairment, *, redundancy: bool = False
) -> tuple[list[Samples], list[PlayoutStatistics]]:
    """What a caller hears of `SAID`, spoken by the server, and its figures after each."""
    async with relayed(server.ws_url, impairment=network) as call:
        await call.call(redundancy=redundancy, tts={"provider": "espeak"})
        found, figures = [], []
        for number, text in enumerate(SAID):
            mark = call.mark()
            await call.send("tts", text=text, playId=str(number))
            await call.expect("trackEnd", playId=str(number))
            await rest(call, mark)
            found.append(call.heard_since(mark))
            figures.append(call.reception())
        print(f"\n{call.relay.to_client}\n{figures[-1]}")
        await call.hang_up()
    return found, figures


async def test_answers_are_recognised_by_the_caller_at_5_percent_loss(
    server: ServerProcess,
) -> None:
    async def once(_number: int) -> list[list[str]]:
        (clean, _), (lossy, (*_, figures)) = await asyncio.gather(
            said(server, NO_IMPAIRMENT), said(server, TYPICAL)
        )
        assert figures.lost > 10
        await emptied(server)
        return [[heard(sound, SAID) for sound in sounds] for sounds in (clean, lossy)]

    await ask_until([list(SAID), list(SAID)], once)


async def test_a_caller_who_asks_for_redundancy_gets_back_what_is_lost(
    server: ServerProcess,
) -> None:
    """Opus's own (RFC 7587, ``useinbandfec``); sent once the caller has reported loss, so what
    counts begins with the second saying."""
    network = Impairment(loss=0.12, delay_ms=20, jitter_ms=10)
    (plain, (*_, without)), (repaired, (first, *_, last)) = await asyncio.gather(
        said(server, network), said(server, network, redundancy=True)
    )
    print([(f.recovered, f.lost) for f in (first, last)])
    print([[heard(sound, SAID) for sound in sounds] for sounds in (plain, repaired)])
    assert without.recovered == 0
    recovered, lost = last.recovered - first.recovered, last.lost - first.lost
    assert recovered > 0.4 * (lost + recovered)
    await emptied(server)
