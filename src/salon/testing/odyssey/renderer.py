"""Renders simulation jobs, one after the other, as fast as the machine can (O92-O98)."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import Final

import aiohttp

from salon.base import SalonError, UnavailableError
from salon.testing.odyssey import scripts
from salon.testing.odyssey.archive import Kept
from salon.testing.odyssey.exchange import Refusal
from salon.testing.odyssey.film import FilmWriter
from salon.testing.odyssey.house import House
from salon.testing.odyssey.jobs import Job
from salon.testing.odyssey.picture import ImageError, Look, Painter, image_planes, look_of
from salon.testing.odyssey.settings import StandInSettings
from salon.testing.odyssey.stamp import Stamp

_log = logging.getLogger("salon.testing.odyssey")

SCRIPT_BYTES: Final = 64 * 1024 * 1024
FETCH_S: Final = 10.0
HELD_S: Final = 0.02
"""How often a job that is held is looked at again."""
_KINDS: Final = {
    "start": "stream_started",
    "interact": "update_acknowledged",
    "end": "stream_ended",
}


class Renderer:
    """Takes jobs from the book while `run` runs."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._stop = threading.Event()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._house.submitted.wait()
                self._house.submitted.clear()
                while (job := self._house.jobs.next_in("pending")) is not None:
                    await self._job(job)
        finally:
            self._stop.set()

    async def _job(self, job: Job) -> None:
        faults, book, clock = self._house.faults, self._house.jobs, self._house.clock
        for status, held in (("dispatched", "hold_jobs"), ("processing", "hold_dispatched")):
            while getattr(faults, held) and job.status != "cancelled":
                await clock.sleep(HELD_S)
            if job.status == "cancelled":
                return
            book.move(job, status, clock.time())
        while faults.hold_processing:
            await clock.sleep(HELD_S)
        try:
            if faults.job_failure is not None:
                raise UnavailableError(faults.job_failure)
            for index, script in enumerate(await self._scripts(job)):
                job.streams.append((index, await self._render(job, script)))
        except (SalonError, Refusal, ImageError) as error:
            message = str(error.detail) if isinstance(error, Refusal) else str(error)
            book.move(job, "failed", clock.time(), error=message)
            return
        except Exception as error:  # noqa: BLE001 - the outer edge of a job
            _log.exception("job %s failed", job.id)
            book.move(job, "failed", clock.time(), error=f"rendering failed: {error}")
            return
        book.move(job, "completed", clock.time())

    async def _scripts(self, job: Job) -> tuple[scripts.Script, ...]:
        if not isinstance(job.work, str):
            return job.work
        return (scripts.script(await _fetched(job.work), self._house.settings),)

    async def _render(self, job: Job, script: scripts.Script) -> Kept:
        house = self._house
        size = house.settings.size(portrait=job.portrait)
        stream_id, now = house.ids(), house.clock.time()
        kept = Kept(stream_id, job.owner, *size, started_at=now, simulated=True)
        folder = await house.new_folder(stream_id)
        house.archive.begin(kept)
        frames, files = await asyncio.to_thread(
            render, script, folder, size, house.settings, int(now * 1000), self._stop
        )
        house.archive.end(
            stream_id,
            ended_at=house.clock.time(),
            duration_s=script.duration_ms / 1000,
            frames=frames,
            files=files,
        )
        return kept


def render(
    script: scripts.Script,
    folder: Path,
    size: tuple[int, int],
    settings: StandInSettings,
    began_ms: int,
    stop: threading.Event,
) -> tuple[int, frozenset[str]]:
    """Write the files of a script; how many frames and which files. `ImageError` for an image that
    can't be used, `UnavailableError` if stopped. Blocks."""
    painter, writer = Painter(*size), FilmWriter(folder, *size, settings.fps)
    steps = list(script.steps)
    look = Look()
    try:
        for frame in range(max(1, script.duration_ms * settings.fps // 1000)):
            at_ms = frame * 1000 // settings.fps
            if stop.is_set():
                raise UnavailableError("the renderer was stopped")
            while steps and steps[0].kind != "end" and steps[0].at_ms <= at_ms:
                look = _look(steps.pop(0), size, settings, writer)
            writer.add(painter.paint(look, Stamp(True, frame, began_ms + at_ms)), at_ms)
        for step in steps:
            _look(step, size, settings, writer)
    finally:
        files = writer.close()
    return writer.frames, files


def _look(
    step: scripts.Step, size: tuple[int, int], settings: StandInSettings, writer: FilmWriter
) -> Look:
    words = {} if step.kind == "end" else {"prompt": step.prompt}
    writer.event(step.at_ms, _KINDS[step.kind], **words)
    image = None if step.image is None else image_planes(step.image, *size, settings)
    return look_of(step.prompt, image)


async def _fetched(url: str) -> object:
    """The JSON behind the address of a script; `UnavailableError` if it can't be had. `url` is of
    this machine: `scripts.sources` takes no other, and no redirection is followed."""
    timeout = aiohttp.ClientTimeout(total=FETCH_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise UnavailableError(f"script_url answered {answer.status}")
            data = await answer.content.read(SCRIPT_BYTES + 1)
            while len(data) <= SCRIPT_BYTES and (more := await answer.content.read(SCRIPT_BYTES)):
                data += more
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UnavailableError(f"script_url can't be fetched: {error}") from error
    if len(data) > SCRIPT_BYTES:
        raise UnavailableError("script_url holds too much")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise UnavailableError("script_url holds no JSON") from None
