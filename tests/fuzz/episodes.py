"""What unruly clients do to a gateway, as data, and what must hold meanwhile.

An episode is a list of steps, plain JSON, carried out in virtual time on a few calls beside one
call that behaves. What must hold, whatever the steps are:

- nothing raises into the carrier, no error is logged, no command ends in "internal failure";
- the call that behaves is never disturbed: each of its frames comes in its tick, its events are its
  own, its commands are answered;
- every call can be ended: by its `hangup`, or by leaving, within 5 s (G321); then nothing is left;
- no step takes long in real time.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.conformance.gateway.scripted_peer import ScriptedPeer

from salon.base import UrlPolicy
from salon.gateway import SOCKET_ENDPOINTS, EventBus, Gateway, Session, SessionServices
from salon.gateway.bridging import Bridges
from salon.gateway.companions import Companion
from salon.gateway.sounds import SoundLoader
from salon.gateway.subscription import Subscription
from salon.gateway.webrtc import WebRtcCalls
from salon.media import sine, write_wav
from salon.testing import CallPair, CallRefusedError, scripted_engine, tone
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import PeerOptions, PeerState

Step = list[Any]
"""``[what, slot, ...]``; see `Episode.do`."""
SLOTS: Final = 3
PATHS: Final = ("/ws", "/call", "/webrtc")
WITNESS: Final = "witness-6f1d"
SLOW_S: Final = 5.0
"""Real seconds that no step may take."""
END_S: Final = 5.0
"""G321, virtual."""
MAX_VIRTUAL_S: Final = 25.0
_WITNESS_SOUND_S: Final = 60
_FRAME_S: Final = 0.02
_SILENT = base64.b64encode(bytes(_WITNESS_SOUND_S * 32_000)).decode()


class BrokenRule(AssertionError):
    """Something that must hold does not."""


class _Log(logging.Handler):
    """Keeps what should not have been logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR or "did not end cleanly" in text:
            trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            self.found.append(f"{record.name}: {text}\n{trace}".strip())


class Episode:
    """A gateway, the call that behaves, and the slots of those that do not."""

    def __init__(self, gateway: Gateway, bridges: Bridges, log: _Log) -> None:
        self.gateway = gateway
        self.bridges = bridges
        self.log = log
        self.slots: dict[int, CallPair] = {}
        self.past: list[CallPair] = []
        self.answers = 0
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.witness = CallPair.connect(gateway.acceptor, f"/ws?id={WITNESS}&ping=0")

    async def begin(self) -> None:
        """The call that behaves is answered and hears a sound without an end."""
        await self.witness.invite()
        self.witness.send({"command": "tts", "base64": True, "text": _SILENT, "playId": "w"})
        await self.witness.expect("trackStart", playId="w")
        await asyncio.sleep(0.1)

    # -- steps ------------------------------------------------------------------------------------

    async def do(self, step: Step) -> None:
        """Carry out one step; steps on an empty slot do nothing."""
        began = time.perf_counter()
        match step:
            case ["connect", int(slot), str(path), str(query)]:
                self._connect(slot, path, query)
            case ["text", int(slot), str(text)]:
                if (call := self.slots.get(slot)) is not None:
                    call.send(text)
            case ["json", int(slot), value]:
                if (call := self.slots.get(slot)) is not None:
                    call.send(json.dumps(value))
            case ["noise", int(slot), int(size), int(seed)]:
                if (call := self.slots.get(slot)) is not None:
                    noise = np.random.default_rng(abs(seed)).bytes(min(abs(size), 65_536))
                    call.send_bytes(noise)
            case ["tone", int(slot), int(frames)]:
                if (call := self.slots.get(slot)) is not None:
                    for _ in range(min(abs(frames), 100)):
                        call.send_bytes(tone(20).tobytes())
            case ["talk", int(slot), int(frames)]:
                if (call := self.slots.get(slot)) is not None:
                    await call.send_audio(tone(20 * min(abs(frames), 50)))
            case ["reading", int(slot), bool(reads)]:
                self._reading(slot, reads)
            case ["wait", int(ms)]:
                await asyncio.sleep(min(abs(ms), 3000) / 1000)
            case ["close", int(slot), int(code)]:
                self._leave(slot, code)
        if time.perf_counter() - began > SLOW_S:
            raise BrokenRule(f"{step!r:.200} took {time.perf_counter() - began:.1f} s")

    def _connect(self, slot: int, path: str, query: str) -> None:
        slot %= SLOTS
        if slot in self.slots:
            self._leave(slot, 1006)
        try:
            call = CallPair.connect(self.gateway.acceptor, f"{path}?{query}")
        except (CallRefusedError, LookupError):
            return
        self.slots[slot] = call

    def _reading(self, slot: int, reads: bool) -> None:
        call = self.slots.get(slot)
        if call is not None and reads:
            call.socket.read_again()
        elif call is not None:
            call.socket.reading = False

    def _leave(self, slot: int, code: int) -> None:
        call = self.slots.pop(slot, None)
        if call is not None:
            self.past.append(call)
            call.socket.end(1000 + abs(code) % 4000, "")

    @property
    def spent(self) -> float:
        """Virtual seconds so far."""
        return self._loop.time() - self._began

    # -- what must hold ---------------------------------------------------------------------------

    def check(self) -> None:
        """Nothing went wrong so far."""
        if self.log.found:
            raise BrokenRule("logged: " + self.log.found[0])
        for call in (*self.slots.values(), *self.past):
            for event in call.of("error"):
                if event["error"] == "internal failure":
                    raise BrokenRule(f"internal failure told: {event}")

    async def end(self) -> None:
        """Everybody hangs up or leaves; nothing of them may be left, and the witness is well."""
        await self._witness_is_well()
        for number, call in enumerate(self.slots.values()):
            call.socket.read_again()
            if number % 2:
                call.vanish()
            else:
                call.send({"command": "hangup"})
        try:
            for call in self.slots.values():
                await call.closed(timeout=END_S)
        except TimeoutError:
            raise BrokenRule(f"a call did not close in {END_S} s: {call.names[-20:]}") from None
        await asyncio.sleep(END_S)
        if self.gateway.calls != 1:
            raise BrokenRule(f"calls that are stuck: {self.gateway.list_calls()}")
        if self.bridges.count:
            raise BrokenRule("bridges are left")
        await self._witness_is_well()
        self.witness.send({"command": "hangup"})
        await self.witness.closed(timeout=END_S)
        await asyncio.sleep(0.1)
        if self.gateway.calls:
            raise BrokenRule("the call that behaves did not end")
        self.check()

    async def _witness_is_well(self) -> None:
        witness = self.witness
        self.answers += 1
        witness.send({"command": "custom", "data": self.answers})
        try:
            await witness.expect("custom", data=self.answers, timeout=1)
        except AssertionError:
            raise BrokenRule("the call that behaves is not answered") from None
        expected = ["trackStart", "answer", "trackStart", *["custom"] * self.answers]
        if witness.names != expected:
            raise BrokenRule(f"the call that behaves was told {witness.names}")
        times = [frame.at for frame in witness.audio]
        steps = np.diff(times)[2:]
        if len(steps) < 2 or abs(steps - _FRAME_S).max() > 1e-6:
            raise BrokenRule(f"frames of the call that behaves came {steps.max():.3f} s apart")
        if any(any(bytes(frame.data)) for frame in witness.audio[-50:]):  # type: ignore[arg-type]
            raise BrokenRule("the call that behaves hears others")


@asynccontextmanager
async def episode(media: Path | None = None) -> AsyncIterator[Episode]:
    """A fresh gateway; `Episode.begin` was done. Closed with the block, nothing may be left."""
    log = _Log()
    loggers = [logging.getLogger(name) for name in ("salon", "asyncio")]
    bridges = Bridges(forward_dtmf=True)

    def companions(session: Session) -> tuple[Companion, ...]:
        return (Subscription(), *bridges.companions(session))

    def make(options: PeerOptions) -> ScriptedPeer:
        peer = ScriptedPeer(options, 1)
        asyncio.get_running_loop().call_later(0.05, peer.become, PeerState.CONNECTED)
        return peer

    for logger in loggers:
        logger.addHandler(log)
    try:
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(scripted_engine(["words"] * 200))
            services = SessionServices(
                engine=engine,
                bus=EventBus(),
                sounds=SoundLoader(
                    roots=() if media is None else (media,), policy=UrlPolicy(schemes=frozenset())
                ),
                companions=companions,
                actions=bridges.actions(),
                invite_timeout=20.0,
            )
            rtc = WebRtcCalls(WebRtcCarrier("scripted", make), PeerOptions())
            gateway = Gateway(services, max_calls=8, endpoints={**SOCKET_ENDPOINTS, **rtc.paths()})
            stack.push_async_callback(gateway.close)
            made = Episode(gateway, bridges, log)
            await made.begin()
            yield made
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            raise BrokenRule(f"tasks are left: {[task.get_name() for task in left][:5]}")
        made.check()
    finally:
        for logger in loggers:
            logger.removeHandler(log)


async def play(
    steps: list[Step], media: Path | None = None, told: set[tuple[str, str]] | None = None
) -> None:
    """A whole episode; `BrokenRule` if something does not hold, and whatever else is raised. Into
    `told` go the pairs of events that followed each other."""
    async with episode(media) as made:
        for step in steps:
            if made.spent > MAX_VIRTUAL_S:
                break
            await made.do(step)
            made.check()
        await made.end()
        if told is not None:
            for call in (*made.slots.values(), *made.past):
                told.update(itertools.pairwise(call.names))


def media_folder(folder: Path) -> Path:
    """A folder with a sound to play and one that is none."""
    write_wav(folder / "a.wav", sine(440, 0.5))
    (folder / "broken.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt ")
    return folder
