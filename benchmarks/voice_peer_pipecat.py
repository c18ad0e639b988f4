"""The way in of pipecat, for `bench_voice`, in the interpreter that runs this.

    python benchmarks/voice_peer_pipecat.py '{"sound": "said.pcm", "calls": 64, "frames": 100}'

Each call is a pipeline of its own with a `VADProcessor` around pipecat's Silero analyzer, and a
processor that counts what comes out. Frames of 20 ms go in call by call; when all of a round have
come out, the next round follows (a frame waits for the detector to be done with the one before).
pipecat has no detector of keys in sound. One
line of JSON: CPU microseconds per frame, all threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

FRAME_BYTES = 640
WARM_UP_ROUNDS = 20
START_S = 30.0
ROUND_S = 10.0


def named(path: str) -> Any:
    """Something of pipecat by its module and name."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"pipecat.{module}"), name)


class Calls:
    """Pipelines that run side by side."""

    def __init__(self, count: int) -> None:
        analyzer = named("audio.vad.silero.SileroVADAnalyzer")
        detector = named("processors.audio.vad_processor.VADProcessor")
        incoming = named("frames.frames.InputAudioRawFrame")
        speaking = named("frames.frames.UserSpeakingFrame")
        params = named("pipeline.worker.PipelineParams")(audio_in_sample_rate=16000)
        calls = self
        self.frame = incoming
        self.out = 0
        self.heard = 0
        self.arrived = asyncio.Event()
        self.started = asyncio.Event()
        self._waiting = count

        class Count(named("processors.frame_processor.FrameProcessor")):  # type: ignore[misc]
            async def process_frame(self, frame: Any, direction: Any) -> None:
                await super().process_frame(frame, direction)
                if isinstance(frame, incoming):
                    calls.out += 1
                    calls.arrived.set()
                elif isinstance(frame, speaking):
                    calls.heard += 1
                await self.push_frame(frame, direction)

        self.workers = []
        for _ in range(count):
            heard = detector(vad_analyzer=analyzer(sample_rate=16000))
            worker = named("pipeline.worker.PipelineWorker")(
                named("pipeline.pipeline.Pipeline")([heard, Count()]),
                cancel_on_idle_timeout=False,
                enable_rtvi=False,
                params=params,
            )
            worker.event_handler("on_pipeline_started")(self._one_started)
            self.workers.append(worker)

    async def _one_started(self, _worker: Any, _frame: Any) -> None:
        self._waiting -= 1
        if not self._waiting:
            self.started.set()

    async def round(self, pieces: list[bytes], number: int) -> None:
        """A frame into each call; until all have come out."""
        goal = self.out + len(self.workers)
        for call, worker in enumerate(self.workers):
            piece = pieces[(number + 7 * call) % len(pieces)]
            await worker.queue_frame(self.frame(audio=piece, sample_rate=16000, num_channels=1))
        async with asyncio.timeout(ROUND_S):
            while self.out < goal:
                self.arrived.clear()
                await self.arrived.wait()


async def measure(case: dict[str, Any]) -> dict[str, Any]:
    """CPU microseconds per frame and call."""
    sound = Path(case["sound"]).read_bytes()
    pieces = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]
    calls = Calls(case["calls"])
    runner = named("workers.runner.WorkerRunner")(handle_sigint=False)
    await runner.add_workers(*calls.workers)
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(START_S):
        await calls.started.wait()
    began = 0
    for number in range(case["frames"] + WARM_UP_ROUNDS):
        if number == WARM_UP_ROUNDS:
            began = time.process_time_ns()
        await calls.round(pieces, number)
    spent = time.process_time_ns() - began
    for worker in calls.workers:
        await worker.cancel()
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(running, 10.0)
    return {"us": spent / 1000 / case["frames"] / case["calls"], "heard": calls.heard}


def main() -> None:
    with contextlib.suppress(ImportError):
        importlib.import_module("loguru").logger.remove()  # it says every step, on stderr
    about = {"version": version("pipecat-ai"), "python": platform.python_version()}
    for argument in sys.argv[1:]:
        found = asyncio.run(measure(json.loads(argument)))
        print(json.dumps(found | about), flush=True)
    os._exit(0)  # its threads and theirs: none may keep the benchmark waiting


if __name__ == "__main__":
    main()
