"""People of a room hear each other (part 16 of the voice rules)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np

from salon.base import TaskScope
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_people import Caller
from salon.media.frame import AudioFrame, Samples
from salon.models import HookTrigger
from salon.transport.ticker import Phase, Ticker, TickHandle
from salon.voice.bridge import AudioBridge
from salon.voice.bridge_config import AudioBridgeConfig, BridgeFullError
from salon.voice.bridge_queue import PRIME
from salon.voice.hook_payloads import BridgeAudioEvent
from salon.voice.leg import AudioLeg
from salon.voice.packet_leg import PacketLeg

_log = logging.getLogger("salon.channels.voice")

HISS = 16
"""Peak of what counts as silence, -66 dBFS: a browser whose microphone is off or cleaned up sends
noise of an amplitude of 1 or 2, which the others need not get."""
HOLD = 10
"""Frames of it that are passed on before it is silence."""
MAX_ASKED = 10
"""Frames of one source that may wait for the hooks; the oldest give way."""


class VoiceBridge:
    """Joins callers to an `AudioBridge` that runs by the media clock.

    Sound goes from the end of one caller's pipeline into the mix of every other one, which is made
    once per tick and passes the listener's own outbound stages. Whoever is alone is not listened to
    for it and costs nothing; who finds the room full is bridged when somebody leaves. Where
    BEFORE_BRIDGE_AUDIO hooks listen, each frame is shown to them first, beside the media clock
    (V141).
    """

    def __init__(
        self, config: AudioBridgeConfig, ticker: Ticker, hooks: VoiceHooks, scope: TaskScope
    ) -> None:
        self.bridge = AudioBridge(config)
        self.enabled = config.enabled
        self._ticker = ticker
        self._hooks = hooks
        self._scope = scope
        self._tick: TickHandle | None = None
        self._rooms: dict[str, dict[Caller, _Link | None]] = {}
        """Callers by room, in the order in which they came; None for one the bridge has no place
        for."""
        self._still: set[str] = set()
        """Rooms in which nobody is bridged for now."""
        self._linked = 0
        self._asking: dict[Caller, _Asking] = {}
        self.dropped = 0
        """Frames that waited too long for the hooks."""

    def join(self, caller: Caller) -> None:
        """A caller hears the others and is heard by them, if the room has a place."""
        room = self._rooms.setdefault(caller.room_id, {})
        try:
            self._add(caller)
            room[caller] = _Link()
        except BridgeFullError as error:
            _log.warning("caller %s is not bridged: %s", caller.session.id, error)
            room[caller] = None
        self._arrange(caller.room_id)

    def leave(self, caller: Caller) -> None:
        """A caller is gone; idempotent."""
        room = self._rooms.get(caller.room_id, {})
        link = room.pop(caller, None)
        if link is None:
            return
        self._unlink(caller, link)
        self.bridge.remove_session(caller.session.id)
        outside = next((other for other, place in room.items() if place is None), None)
        if outside is not None:
            self._add(outside)
            room[outside] = _Link()
        self._arrange(caller.room_id)

    def suspend(self, room_id: str) -> None:
        """Carry no sound in a room until `resume`; idempotent."""
        if room_id in self._rooms:
            self._still.add(room_id)
            self._arrange(room_id)

    def resume(self, room_id: str) -> None:
        """Carry sound there again; what was said before is not heard. Idempotent."""
        if room_id not in self._still:
            return
        self._still.discard(room_id)
        for caller, link in self._rooms.get(room_id, {}).items():
            if link is not None:
                self._add(caller, link.prime)
        self._arrange(room_id)

    def close(self) -> None:
        """Bridge nobody any more; idempotent."""
        for room in self._rooms.values():
            for caller, link in room.items():
                if link is not None:
                    self._unlink(caller, link)
        self._rooms.clear()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self.bridge.close()

    def _add(self, caller: Caller, prime: int = PRIME) -> None:
        self.bridge.add_session(caller.line, caller.room_id, sample_rate=16_000, prime=prime)

    def _arrange(self, room_id: str) -> None:
        """Listen to those who are not alone."""
        room = self._rooms.get(room_id, {})
        members = {caller: link for caller, link in room.items() if link is not None}
        bridged = len(members) > 1 and room_id not in self._still
        for caller, link in members.items():
            if bridged:
                self._connect(caller, link)
            else:
                self._unlink(caller, link)
        if not room:
            self._rooms.pop(room_id, None)
            self._still.discard(room_id)
        if self._linked and self._tick is None:
            self._tick = self._ticker.add(self.bridge.tick, phase=Phase.MIX)
        elif not self._linked and self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _connect(self, caller: Caller, link: _Link) -> None:
        if link.tap is not None:
            return
        link.tap = partial(self._heard, caller, link)
        caller.session.taps.append(link.tap)
        caller.session.mix = partial(self.bridge.take, caller.session.id)
        self._linked += 1

    def _unlink(self, caller: Caller, link: _Link) -> None:
        asking = self._asking.pop(caller, None)
        if asking is not None:
            asking.task.cancel()
        if link.tap is None:
            return
        caller.session.taps.remove(link.tap)
        caller.session.mix = None
        link.tap = None
        self._linked -= 1

    def _heard(self, caller: Caller, link: _Link, samples: Samples) -> None:
        asked = self._hooks.wants(HookTrigger.BEFORE_BRIDGE_AUDIO, caller.room_id)
        if link.leg is not caller.session.leg or link.asked is not asked:
            self._pace(caller, link, asked)
        if asked:
            self._ask(caller, samples)
        else:
            sound = samples if link.sounds(samples) else np.zeros_like(samples)
            self.bridge.push(caller.session.id, sound)

    def _pace(self, caller: Caller, link: _Link, asked: bool) -> None:
        """Sound that a jitter buffer has evened out to one frame per tick waits for no second
        one. The way it comes is known once it comes."""
        link.leg, link.asked = caller.session.leg, asked
        even = isinstance(link.leg, PacketLeg) and caller.session.pipe is None and not asked
        prime = 1 if even else PRIME
        if prime != link.prime:
            link.prime = prime
            self._add(caller, prime)

    def _ask(self, caller: Caller, samples: Samples) -> None:
        asking = self._asking.get(caller)
        if asking is None:
            asking = _Asking()
            asking.task = self._scope.spawn(self._work(caller, asking), name="bridge hooks")
            self._asking[caller] = asking
        if len(asking.waiting) >= MAX_ASKED:
            asking.waiting.popleft()
            self.dropped += 1
        asking.waiting.append(samples)
        asking.wake.set()

    async def _work(self, caller: Caller, asking: _Asking) -> None:
        while True:
            await asking.wake.wait()
            asking.wake.clear()
            while asking.waiting:
                samples = asking.waiting.popleft()
                event = BridgeAudioEvent(caller.line, AudioFrame.of(samples), caller.room_id)
                outcome = await self._hooks.ask(
                    HookTrigger.BEFORE_BRIDGE_AUDIO, caller.room_id, event, caller
                )
                try:
                    if outcome.blocked:
                        # what is kept from the others keeps its place in time
                        self.bridge.push(caller.session.id, np.zeros_like(samples))
                    else:
                        self.bridge.forward(caller.line, outcome.payload.frame)
                except Exception:  # noqa: BLE001 - a hook's frame; the next one may be right
                    _log.exception("a frame that a hook gave back could not be bridged")
                    self.bridge.push(caller.session.id, np.zeros_like(samples))


class _Link:
    """How one caller's sound comes to the bridge."""

    __slots__ = ("asked", "leg", "prime", "quiet", "tap")

    def __init__(self) -> None:
        self.tap: Callable[[Samples], None] | None = None
        """Set while the caller is not alone."""
        self.leg: AudioLeg | None = None
        self.asked = False
        """Hooks are shown every frame."""
        self.prime = PRIME
        self.quiet = HOLD
        """Frames since there was sound."""

    def sounds(self, samples: Samples) -> bool:
        """Whether there is something to be heard, or was a moment ago."""
        if samples.max() > HISS or samples.min() < -HISS:
            self.quiet = 0
        else:
            self.quiet = min(self.quiet + 1, HOLD)
        return self.quiet < HOLD


class _Asking:
    """The frames of one source on their way past the hooks."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.waiting: deque[Samples] = deque()
        self.wake = asyncio.Event()
