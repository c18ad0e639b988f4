"""Frames of every kind, in any order: nothing crashes, nobody is stuck, nobody else notices."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.fuzz.episodes import MAX_VIRTUAL_S, PATHS, SLOTS, BrokenRule, episode, media_folder, play
from tests.fuzz.seeds import COMMANDS, KEYS, KNOWN, QUERIES, SEEDS, VALUES

from salon.testing import run_virtual
from salon.testing.loop import VirtualTimeLoop

slots = st.integers(0, SLOTS - 1)
values = st.recursive(
    st.sampled_from(VALUES) | st.text(max_size=20) | st.integers() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
fields = st.dictionaries(st.sampled_from(KEYS), values, max_size=5)
commands = st.builds(
    lambda name, more: {"command": name, **more}, st.sampled_from(COMMANDS), fields
)


@pytest.mark.parametrize("seed", SEEDS, ids=["echo", "streaming", "webrtc", "bridged", "odds"])
def test_the_exchanges_hold(seed: list[Any], tmp_path: Path) -> None:
    run_virtual(play(seed, media_folder(tmp_path)))


def test_the_watch_itself_sees_a_crash() -> None:
    async def broken() -> None:
        async with episode() as made:
            session = made.gateway.get("witness-6f1d")
            assert session is not None
            session.executor.submit(None, 0)  # type: ignore[arg-type]
            await asyncio.sleep(0.1)
            made.check()

    with pytest.raises(BrokenRule):
        run_virtual(broken())


class Frames(RuleBasedStateMachine):
    """Unruly calls beside one that behaves."""

    media: Path
    steps = 0

    @initialize()
    def begin(self) -> None:
        self.loop = VirtualTimeLoop()
        self.block = episode(self.media)
        self.made = self.run(self.block.__aenter__())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def do(self, *step: Any) -> None:
        if self.made.spent > MAX_VIRTUAL_S:
            return
        Frames.steps += 1
        self.run(self.made.do(list(step)))

    @rule(slot=slots, path=st.sampled_from(PATHS), query=st.sampled_from(QUERIES))
    def connect(self, slot: int, path: str, query: str) -> None:
        self.do("connect", slot, path, query)

    @rule(slot=slots, path=st.sampled_from(PATHS), query=st.sampled_from(("id=a", "id=b", "")))
    def call(self, slot: int, path: str, query: str) -> None:
        self.do("connect", slot, path, query)
        option = {"offer": "v=0\r\n", "vad": {}, "asr": {}, "tts": {}}
        self.do("json", slot, {"command": "invite", "option": option})
        self.do("wait", 100)

    @rule(slot=slots, command=st.sampled_from(KNOWN))
    def well_formed(self, slot: int, command: dict[str, Any]) -> None:
        self.do("json", slot, command)

    @rule(slot=slots, command=commands)
    def command(self, slot: int, command: dict[str, Any]) -> None:
        self.do("json", slot, command)

    @rule(slot=slots, command=st.sampled_from(KNOWN), more=fields)
    def spoilt(self, slot: int, command: dict[str, Any], more: dict[str, Any]) -> None:
        self.do("json", slot, command | more)

    @rule(slot=slots, command=st.sampled_from(KNOWN), cut=st.integers(0, 200), put=st.text())
    def damaged(self, slot: int, command: dict[str, Any], cut: int, put: str) -> None:
        text = json.dumps(command)
        self.do("text", slot, text[:cut] + put + text[cut + len(put) :])

    @rule(slot=slots, size=st.integers(0, 5000), seed=st.integers(0, 9))
    def noise(self, slot: int, size: int, seed: int) -> None:
        self.do("noise", slot, size, seed)

    @rule(slot=slots, frames=st.integers(1, 30))
    def talk(self, slot: int, frames: int) -> None:
        self.do("talk", slot, frames)

    @rule(slot=slots, reads=st.booleans())
    def reading(self, slot: int, reads: bool) -> None:
        self.do("reading", slot, reads)

    @rule(ms=st.integers(0, 1500))
    def wait(self, ms: int) -> None:
        self.do("wait", ms)

    @precondition(lambda self: bool(self.made.slots))
    @rule(slot=slots, code=st.integers(0, 10))
    def leave(self, slot: int, code: int) -> None:
        self.do("close", slot, code)

    @invariant()
    def nothing_went_wrong(self) -> None:
        if hasattr(self, "made"):
            self.made.check()

    def teardown(self) -> None:
        if not hasattr(self, "made"):
            return
        try:
            self.run(self.made.end())
        finally:
            try:
                self.run(self.block.__aexit__(None, None, None))
            finally:
                self.run(self.loop.shutdown_default_executor())
                self.loop.close()


def test_frames_in_any_order(tmp_path: Path) -> None:
    class Here(Frames):
        media = media_folder(tmp_path)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Frames.steps > 500
