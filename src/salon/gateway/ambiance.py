"""A background sound for each call: `ambiance` (G68, G135)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from salon.base import SalonError, TaskScope
from salon.gateway.commands import HangupReason
from salon.gateway.companions import Companion
from salon.gateway.options import AmbianceOption, CallOption
from salon.gateway.sounds import SoundLoader
from salon.media.background import Background
from salon.media.frame import SAMPLE_RATE, SILENCE, Samples

if TYPE_CHECKING:
    from salon.gateway.session import Session

MAX_SECONDS = 600
"""A loop is cut at this length."""
MAX_BYTES = 64 * 1024 * 1024
"""Of decoded sounds kept; what was used longest ago goes first."""
MAX_LOADS = 8
"""Sounds being loaded at once."""


class AmbianceError(SalonError):
    """The background cannot be had as asked for."""

    code = "ambiance"


class AmbianceStore:
    """Background sounds of all calls, each decoded once; and what the server plays unless a call
    says otherwise. `close` it in the end."""

    def __init__(
        self,
        sounds: SoundLoader,
        configured: AmbianceOption | None = None,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.configured = configured
        self._sounds = sounds
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Samples] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Samples | SalonError]] = {}
        self._scope = TaskScope("ambiance")

    def merged(self, asked: AmbianceOption | None) -> AmbianceOption | None:
        """What a call gets: its fields, those not given from the server's setting; None: none.
        `AmbianceError` if it asks for one and nobody says which."""
        option = asked or self.configured
        if asked is not None and self.configured is not None:
            given = {name: getattr(asked, name) for name in asked.model_fields_set}
            option = self.configured.model_copy(update=given)
        if option is None or not option.enabled:
            return None
        if not option.path:
            if asked is None:
                return None
            raise AmbianceError("ambiance has no path, and the server has no background of its own")
        return option

    def kept(self, path: str) -> Samples | None:
        """The sound if it is decoded already."""
        found = self._kept.get(path)
        if found is not None:
            self._kept.move_to_end(path)
        return found

    async def load(self, path: str) -> Samples:
        """``int16[n]`` 16 kHz; whoever asks for it meanwhile waits for the same. `SalonError` if it
        can't be had, which is not remembered."""
        found = self.kept(path)
        if found is not None:
            return found
        task = self._loading.get(path)
        if task is None:
            if len(self._loading) >= MAX_LOADS:
                raise AmbianceError("too many background sounds are being loaded")
            task = self._scope.spawn(self._load(path), name="load")
            self._loading[path] = task
        loaded = await asyncio.shield(task)
        if isinstance(loaded, SalonError):
            raise loaded
        return loaded

    async def _load(self, path: str) -> Samples | SalonError:
        """A failure is for whoever waits: there may be nobody any more."""
        try:
            samples = (await self._sounds.load(path))[: MAX_SECONDS * SAMPLE_RATE].copy()
        except SalonError as error:
            return error
        finally:
            del self._loading[path]
        if not len(samples):
            return AmbianceError("the sound is empty")
        self._kept[path] = samples
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._max_bytes:
            self._kept.popitem(last=False)
        return samples

    async def close(self) -> None:
        """Give up what is being loaded."""
        await self._scope.close()


def _bytes(samples: Samples) -> int:
    return samples.nbytes


class Ambiance(Companion):
    """The background of one call, from the answer on, or from when its sound is loaded."""

    name = "ambiance"
    serves = frozenset({"ambiance"})

    def __init__(self, store: AmbianceStore) -> None:
        self._store = store
        self._session: Session | None = None
        self._option: AmbianceOption | None = None
        self._loading: asyncio.Task[None] | None = None

    async def begin(self, session: Session, option: CallOption) -> None:
        """Nothing is waited for; `AmbianceError` for values that make no sense."""
        self._option = self._store.merged(option.ambiance)
        if self._option is None:
            return
        _background(self._option, None)
        self._session = session

    def answered(self) -> None:
        """The background begins."""
        session, option = self._session, self._option
        if session is None or option is None or not option.path:
            return
        found = self._store.kept(option.path)
        if found is not None:
            session.media.background = _background(option, found).mix
        else:
            self._loading = session.scope.spawn(self._load(session, option), name="ambiance")

    async def _load(self, session: Session, option: AmbianceOption) -> None:
        try:
            sound = await self._store.load(option.path or "")
        except SalonError as error:
            if not session.ending:
                session.error(self.name, f"no background: {error}")
            return
        if not session.ending:
            session.media.background = _background(option, sound).mix

    async def end(self, reason: HangupReason | str) -> None:
        """Nothing is loaded for it any more."""
        del reason
        if self._loading is not None:
            self._loading.cancel()
        if self._session is not None:
            self._session.media.background = None


def _background(option: AmbianceOption, sound: Samples | None) -> Background:
    try:
        return Background(
            SILENCE if sound is None else sound,
            duck=option.duck_level,
            normal=option.normal_level,
            speed=option.transition_speed,
        )
    except ValueError as error:
        raise AmbianceError(str(error)) from None
