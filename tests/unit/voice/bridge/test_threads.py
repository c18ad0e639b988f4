"""V137: every operation from any thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.unit.voice.bridge.sound import mixing, session, tone

from salon.media.frame import AudioFrame
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge import AudioBridge, BridgeFullError


@pytest.fixture(autouse=True)
def _switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*works: Callable[[], None]) -> None:
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def guarded(work: Callable[[], None]) -> None:
        try:
            start.wait(10)
            work()
        except BaseException as error:  # noqa: BLE001 - told to the test below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []


@pytest.mark.parametrize("brought", [True, False])
@pytest.mark.parametrize("strategy", ["forward", "mix"])
def test_V137_four_threads_add_remove_and_forward(strategy: str, brought: bool) -> None:
    bridge = AudioBridge() if strategy == "forward" else mixing()
    wrong: list[str] = []

    def deliver(target: VoiceSession, frame: AudioFrame) -> None:
        # Everybody says their own number: no one may hear it back, and alone it is unchanged.
        if strategy == "forward" and int(frame.samples[0]) == int(target.id) + 1:
            wrong.append(target.id)

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            me = session(str(number))
            frame = AudioFrame.of(np.full(320, number + 1, np.int16))
            for at in range(60):
                try:
                    bridge.add_session(me, f"room-{at % 2}", deliver=deliver if brought else None)
                except BridgeFullError:
                    continue
                for _ in range(5):
                    bridge.forward(me, frame)
                    bridge.push(me.id, frame.samples)
                    if number == 0:
                        bridge.tick(at)
                    bridge.take(me.id)
                bridge.set_deaf(me.id, at % 2 == 0)
                bridge.set_muted(me.id, at % 3 == 0)
                bridge.statistics()
                bridge.remove_session(me.id)

        return run

    together(*(work(number) for number in range(4)))
    assert wrong == []
    assert bridge.session_count == 0
    assert bridge.rooms == ()
    assert not bridge._reading


def test_V137_frames_of_one_source_arrive_in_order_whatever_others_do() -> None:
    bridge = mixing()
    heard: list[int] = []
    busy = threading.Lock()

    def deliver(_: VoiceSession, frame: AudioFrame) -> None:
        assert busy.acquire(blocking=False), "two deliveries at once"
        # 1000 a step from one source, 1 a step from the other
        heard.append(int(frame.samples[0]) // 1000)
        busy.release()

    bridge.add_session(session("ear"), "room", deliver=deliver)
    for name in ("a", "b"):
        bridge.add_session(session(name), "room", deliver=lambda *_: None)

    def counting() -> None:
        for value in range(1, 20):
            bridge.push("a", np.full(320, value * 1000, np.int16))

    def other() -> None:
        for _ in range(200):
            bridge.push("b", np.full(320, 1, np.int16))

    together(counting, other)
    numbers = [value for value in heard if value]
    assert numbers == sorted(numbers)
    assert bridge.statistics().delivery_failures == 0


def test_V137_one_source_from_four_threads_keeps_its_filter_whole() -> None:
    bridge = mixing()
    bridge.add_session(session("a"), "room")
    bridge.add_session(session("b"), "room")
    frame = AudioFrame.of(tone(400, rate=48_000), 48_000)

    def work() -> None:
        for at in range(100):
            bridge.forward(session("a"), frame)
            bridge.tick(at)

    together(*[work] * 4)
    assert bridge.statistics().frames == 400
