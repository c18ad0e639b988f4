"""A hundred voice sessions whose engines hang, crash and talk nonsense; the rooms stay usable.

    python benchmarks/soak_voice.py [--minutes 10] [--sessions 100] [--quick] [--check] [--json]

One process, real time, the real ticker and the real detector. Five channels, each a ward with
rooms and engines of its own (`faulty_voice`, `faulty_lines`): people ask, interrupt, leave and
vanish, rooms are closed and opened, while every engine fails at a good part of its calls. In turn
each ward gets a window without faults; then a spoken question in each of its rooms has to be
answered, audibly, within a bound. At the end every fault has to have been told of, and after all
have left (also once after the warm-up, to compare) memory, objects, tasks, threads and descriptors
have to be what they were.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import logging
import os
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil
import uvloop
from faulty_lines import PullBackend, bounded
from faulty_voice import ERRORS
from soak_kinds import all_wards
from soak_wards import VARIABLE, Journal, World

from salon.channels.voice_stretches import UNFINISHED
from salon.models import HookTrigger

QUIET_S = 25.0
"""After this long without anybody everything has to be gone."""
GROWTH_MB = 12.0
SPARE_OBJECTS = 30
SPARE = {"tasks": 2, "threads": 3, "descriptors": 2}
LATENESS_MS = 60.0
"""The ticker's p99 may be that; on a machine that others keep busy it is only told."""
RACES = 0.01
"""Share of an engine's faults that may be told to nobody: a hang that was given up because somebody
left, but in the very moment in which patience was at its end."""
NOT_INJECTED = (UNFINISHED, "of the end of the call")
"""Errors that no fault stands behind: somebody's sound broke off in mid-word, or they left. They
are told, but make up for no fault that was not."""
FORBIDDEN = ("was destroyed", "never retrieved", "never awaited")


class Soak(World):
    """Everything."""

    def __init__(self, sessions: int, seed: int = 1) -> None:
        super().__init__(seed)
        self.journal = Journal()
        self.wards = all_wards(self, sessions)
        self._listen()

    def _listen(self) -> None:
        """For what is told of faults."""
        for name, engine in (
            ("stt_error", "stt"),
            ("tts_error", "tts"),
            ("hook_error", "hook"),
            ("hook_timeout", "hook"),
            ("hook_invalid_result", "hook"),
        ):

            async def note(event: Any, engine: str = engine) -> None:
                error = str(event.data.get("error"))
                injected = not any(words in error for words in NOT_INJECTED)
                self.tally.seen[engine if injected else f"{engine} besides"] += 1
                self.told(engine, error)

            self.kit.on(name)(note)

        def failed(event: Any) -> None:
            self.tally.seen["agent"] += 1
            self.told("agent", event.data["error"])
            question = event.event_id, event.channel_id
            self.unshown.setdefault(event.room_id, {})[question] = time.monotonic()

        async def shown(note: Any, _context: Any) -> None:
            waiting = self.unshown.get(note.room_id, {})
            waiting.pop((note.responds_to, note.metadata["channel_id"]), None)

        self.kit.on("agent_failed")(failed)
        self.kit.hook(HookTrigger.ON_ERROR, name="soak")(shown)

    # -- running ----------------------------------------------------------------------------------

    async def bustle(self, seconds: float, faulty: float) -> None:
        """Everybody lives, for so long."""
        end = time.monotonic() + seconds

        def over() -> bool:
            return time.monotonic() >= end

        async with asyncio.TaskGroup() as group:
            for number, ward in enumerate(self.wards):
                group.create_task(ward.seasons(over, faulty, faulty * (0.5 + 0.12 * number)))
                for room in ward.rooms:
                    for _ in range(room.size):
                        group.create_task(ward.live(room, over))

    async def go_home(self) -> None:
        """Nobody is left, and no room."""
        for ward in self.wards:
            ward.faults.on = False
        rooms = [(ward, room) for ward in self.wards for room in ward.rooms if room.room_id]
        for ward, room in rooms:
            for person in list(room.people):
                await ward.leave(person)
            self.over(room.room_id)
            await ward.bounded("delete room", self.kit.delete_room(room.room_id))
            room.room_id = ""
        for ward in self.wards:
            for agent in ward.agents:
                agent.asked.clear()

    async def watch(self) -> None:
        """Memory, now and then."""
        process, began = psutil.Process(), time.monotonic()
        while True:
            self.tally.rss.append((time.monotonic() - began, process.memory_info().rss / 2**20))
            await asyncio.sleep(2.0)

    def close_engine(self) -> None:
        """The shared one; threads that hang go on."""
        self.engine.stop()
        for ward in self.wards:
            ward.faults.over.set()


@dataclass
class Census:
    """What the process holds while nobody is there."""

    rss_mb: float
    used_mb: float
    """Of which the C library has given out; the rest are gaps it keeps."""
    blocks: int
    """Small pieces of memory that Python uses."""
    objects: int
    tasks: int
    threads: int
    descriptors: int
    living: Counter[str]
    names: Counter[str]


class _MallInfo(ctypes.Structure):
    """What `mallinfo2` of glibc gives."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def used_mb() -> float:
    """MB that the C library has given out; 0 where it does not say."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0.0
    mallinfo.restype = _MallInfo
    found = mallinfo()
    return float(found.uordblks + found.hblkhd) / 2**20


def census() -> Census:
    """What there is now."""
    gc.collect()
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    objects = gc.get_objects()
    living = Counter(
        f"{type(item).__module__}.{type(item).__qualname__}"
        for item in objects
        if str(type(item).__module__).startswith(("salon", "faulty", "asyncio"))
    )
    process = psutil.Process()
    tasks = [task.get_name() for task in asyncio.all_tasks()]
    return Census(
        process.memory_info().rss / 2**20,
        used_mb(),
        sys.getallocatedblocks(),
        len(objects),
        len(tasks),
        threading.active_count(),
        process.num_fds(),
        living,
        Counter(VARIABLE.sub("N", name) for name in tasks),
    )


async def quiet(soak: Soak) -> Census:
    """The census once everybody has left."""
    await soak.go_home()
    deadline = time.monotonic() + QUIET_S
    while any(ward.channel._rooms.floors or ward.channel._lines._lines for ward in soak.wards):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    await asyncio.sleep(4.0)  # what hangs in a thread is over then
    return census()


@asynccontextmanager
async def logged(soak: Soak) -> AsyncIterator[None]:
    """All that is logged goes to the soak's journal, and nowhere else."""
    loggers = [logging.getLogger(name) for name in ("salon", "asyncio")]
    for logger in loggers:
        logger.addHandler(soak.journal)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(soak.journal)
            logger.propagate = True


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Warm-up, census, the soak, census, the end."""
    seconds = options.minutes * 60
    warm_s = min(120.0, seconds / 5)
    faulty = 24.0 if seconds >= 100 else max(4.0, seconds / 6)
    soak = Soak(options.sessions, options.seed)
    async with logged(soak):
        await soak.kit.open()
        await soak.bustle(warm_s, faulty)
        before = await quiet(soak)
        watching = asyncio.create_task(soak.watch(), name="watch")
        cpu, wall = time.process_time(), time.monotonic()
        await soak.bustle(seconds - warm_s, faulty)
        used = (time.process_time() - cpu) / (time.monotonic() - wall)
        watching.cancel()
        after = await quiet(soak)
        ticker = soak.engine.ticker.statistics()
        found = account(soak)
        closing = await bounded(60.0, soak.kit.close())
        soak.close_engine()
        await asyncio.sleep(1.0)
        gc.collect()
        left = [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]
    return report(soak, options, before, after, ticker, found, closing, left, used)


def account(soak: Soak) -> dict[str, dict[str, int]]:
    """By engine: injected faults that must be told of, how many of them nobody waited for any more,
    and how many were told."""
    injected: Counter[str] = Counter()
    abandoned: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    seen = Counter(soak.tally.seen)
    for ward in soak.wards:
        calls += ward.faults.calls
        abandoned += ward.faults.abandoned
        for (engine, fault), n in ward.faults.injected.items():
            injected[engine] += n if fault in ERRORS else 0
        for pipeline in ward.channel._lines._pipelines.values():
            for slot, n in pipeline.failures.items():
                seen[slot] += n
        if isinstance(ward.backend, PullBackend):
            seen["transport_in"] += ward.backend.refused
        seen["transport_in"] += ward.channel._lines.refused_frames
    log = soak.journal
    seen["turn"] += log.count("turn detector")
    seen["backchannel"] += log.count("backchannel detector")
    seen["backend"] += log.count("backend", "could not play")
    seen["backend"] += log.count("backend", "did not take an utterance")
    seen["backend_cancel"] += log.count("backend", "stop playing")
    seen["disconnect"] += log.count("of voice session", "did not close")
    seen["recorder"] += log.count("a recorder did not end")
    injected["recorder"] += injected.pop("recorder_tap", 0)
    calls["recorder"] += calls.pop("recorder_tap", 0)
    injected["aec"] += injected.pop("aec_reference", 0)
    calls["aec"] += calls.pop("aec_reference", 0)
    return {
        engine: {
            "calls": calls[engine],
            "faults": injected[engine],
            "given_up": abandoned[engine],
            "told": seen[engine],
        }
        for engine in sorted(calls)
    }


def slope(rss: list[tuple[float, float]]) -> float:
    """MB per minute, over the second half."""
    late = rss[len(rss) // 2 :]
    if len(late) < 3:
        return 0.0
    line = statistics.linear_regression([at for at, _ in late], [mb for _, mb in late])
    return line.slope * 60


def report(
    soak: Soak,
    options: argparse.Namespace,
    before: Census,
    after: Census,
    ticker: Any,
    found: dict[str, dict[str, int]],
    closing: BaseException | None,
    left: list[str],
    used: float,
) -> dict[str, Any]:
    tally, log = soak.tally, soak.journal
    injected = sum((ward.faults.injected for ward in soak.wards), Counter())
    problems = [f"{n} x {what}" for what, n in Counter(tally.unusable).items()]
    problems += [f"{n} x {what}" for what, n in tally.failures.items()]
    for name in ("tasks", "threads", "descriptors"):
        one, other = getattr(before, name), getattr(after, name)
        if other > one + SPARE[name]:
            problems.append(f"{name}: {one} after the warm-up, {other} at the end")
    if after.rss_mb - before.rss_mb > GROWTH_MB:
        problems.append(f"memory grew by {after.rss_mb - before.rss_mb:.1f} MB")
    grown = (after.living - before.living).most_common(20)
    more = {name: n for name, n in grown if n > SPARE_OBJECTS}
    problems += [f"{n} more of {name}" for name, n in more.items()]
    busy = os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)
    if ticker.p99_lateness_ms > LATENESS_MS and not busy:
        problems.append(f"the ticker's p99 is {ticker.p99_lateness_ms:.0f} ms late")
    for engine, row in found.items():
        lost = row["faults"] - row["given_up"] - row["told"]
        row["lost"] = max(lost, 0)
        if lost > max(row["faults"] * RACES, 1):
            problems.append(f"{lost} faults of {engine} were told to nobody")
    if ticker.failures:
        problems.append(f"{ticker.failures} tick callbacks raised")
    problems += [f"logged: {key}" for key in log.counts if any(word in key for word in FORBIDDEN)]
    problems += [f"logged: {key}" for key in log.counts if key.startswith("asyncio")]
    if closing is not None:
        problems.append(f"closing: {type(closing).__name__}: {closing}")
    if left:
        problems.append(f"{len(left)} tasks are left: {sorted(left)[:5]}")
    turn = [ward.turn for ward in soak.wards if ward.turn is not None]
    if sum(detector.twice_at_once for detector in turn):
        problems.append("a turn detector was called twice at once")
    lat = sorted(tally.latencies)
    return {
        "bench": "soak_voice",
        "minutes": options.minutes,
        "sessions": options.sessions,
        "actions": dict(tally.actions),
        "probes": tally.probes,
        "answered": len(lat),
        "answer_s": [round(lat[len(lat) // 2], 2), round(lat[-1], 2)] if lat else [],
        "cpu_core": round(used, 2),
        "ticker": {
            "p99_ms": round(ticker.p99_lateness_ms, 1),
            "max_ms": round(ticker.max_lateness_ms, 1),
            "skipped": ticker.skipped,
            "ticks": ticker.ticks,
            "failures": ticker.failures,
            "busy_ms": round(1000 * ticker.busy_seconds / max(ticker.ticks, 1), 2),
        },
        "mean_vad_batch": round(soak.engine.vad.statistics().mean_batch, 1),
        "rss_mb": [round(before.rss_mb, 1), round(after.rss_mb, 1)],
        "used_mb": [round(before.used_mb, 1), round(after.used_mb, 1)],
        "blocks": [before.blocks, after.blocks],
        "rss_by_minute": [round(mb) for _, mb in tally.rss[::30]],
        "rss_slope_mb_per_minute": round(slope(tally.rss), 2),
        "objects": [before.objects, after.objects],
        "tasks": [before.tasks, after.tasks],
        "threads": [before.threads, after.threads],
        "descriptors": [before.descriptors, after.descriptors],
        "more": more,
        "task_names": dict(after.names),
        "engines": found,
        "injected": {f"{e} {f}": n for (e, f), n in sorted(injected.items())},
        "told": dict(tally.messages.most_common(60)),
        "log": dict(log.counts.most_common(60)),
        "log_first": log.first,
        "problems": problems,
        "load": round(os.getloadavg()[0], 1),
    }


def show(result: dict[str, Any]) -> None:
    """A short table."""
    t = result["ticker"]
    print(f"{result['sessions']} sessions, {result['minutes']:g} min, load {result['load']}")
    print(f"  actions   {result['actions']}")
    answered = f"{result['answered']}/{result['probes']} answered"
    print(f"  probes    {answered}, median/max s {result['answer_s']}")
    print(
        f"  cpu       {result['cpu_core']:.2f} core, ticker p99 {t['p99_ms']} max {t['max_ms']} ms,"
        f" skipped {t['skipped']} of {t['ticks'] + t['skipped']}, {t['busy_ms']} ms of work a tick,"
        f" vad batch {result['mean_vad_batch']}"
    )
    print(f"  rss MB    {result['rss_mb']}, slope {result['rss_slope_mb_per_minute']} MB/min")
    print(f"  by minute {result['rss_by_minute']}")
    for name in ("used_mb", "blocks", "objects", "tasks", "threads", "descriptors"):
        print(f"  {name:<12}{result[name]}")
    print(f"  {'engine':<16}{'calls':>8}{'faults':>8}{'given up':>10}{'told':>7}{'lost':>6}")
    for engine, row in result["engines"].items():
        print(
            f"  {engine:<16}{row['calls']:>8}{row['faults']:>8}{row['given_up']:>10}"
            f"{row['told']:>7}{row['lost']:>6}"
        )
    for problem in result["problems"]:
        print(f"  PROBLEM   {problem}")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run and print; `problems` is empty if all held."""
    parser = argparse.ArgumentParser(description="voice sessions whose engines fail")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="20 sessions, 45 s")
    parser.add_argument("--check", action="store_true", help="status 1 if there is a problem")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    if options.quick:
        options.sessions, options.minutes = 20, 0.75
    result = uvloop.run(run(options))
    if options.json:
        print(json.dumps(result))
    else:
        show(result)
    return result


if __name__ == "__main__":
    found = main(sys.argv[1:])
    raise SystemExit(1 if found["problems"] and "--check" in sys.argv else 0)
