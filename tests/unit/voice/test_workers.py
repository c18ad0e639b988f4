"""Worker processes and their pool, against a program that misbehaves on demand."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.voice import fake_worker

from salon.base import Clock, ConfigurationError
from salon.voice.errors import SpeechError
from salon.voice.workers import frames
from salon.voice.workers.frames import FrameError
from salon.voice.workers.piece import MAX_BUFFERED_S, WorkerPiece, WorkerSound
from salon.voice.workers.pool import WorkerPool
from salon.voice.workers.process import WorkerProcess, parse_hello, worker_environment
from salon.voice.workers.serving import (
    Replies,
    RequestRefusedError,
    Requests,
    parse_request,
)

FAKE = str(Path(fake_worker.__file__))
RATE = fake_worker.RATE


def command(mode: str = "good") -> tuple[str, ...]:
    return (sys.executable, "-P", FAKE, mode)


class Backoffs(Clock):
    """Sleeps nothing and notes for how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.enough = asyncio.Event()

    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) >= 8:
            self.enough.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)


@asynccontextmanager
async def running(mode: str = "good", **options: Any) -> AsyncIterator[WorkerPool]:
    options.setdefault("processes", 1)
    pool = WorkerPool("fake", command(mode), **options)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def speak(pool: WorkerPool, text: str) -> list[WorkerSound]:
    return [sound async for sound in pool.speak({"text": text}, RATE)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


# Frames


@given(st.sampled_from(sorted(frames.REPLIES)), st.binary(max_size=2000))
def test_frames_round_trip(kind: int, payload: bytes) -> None:
    data = frames.encode(kind, payload)
    header, rest = data[: frames.HEADER.size], data[frames.HEADER.size :]
    assert frames.decode_header(header, frames.REPLIES) == (kind, len(payload))
    assert rest == payload


@given(st.binary(min_size=5, max_size=5))
def test_any_header_is_a_known_frame_or_a_frame_error(header: bytes) -> None:
    try:
        kind, size = frames.decode_header(header, frames.REPLIES)
    except FrameError:
        return
    assert kind in frames.REPLIES
    assert size <= frames.MAX_PAYLOAD


@pytest.mark.parametrize("payload", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 200_000])
def test_fields_that_are_no_object_are_a_frame_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        frames.decode_fields(payload)


def test_oversize_frames_are_refused_both_ways() -> None:
    with pytest.raises(FrameError, match="over the limit"):
        frames.encode(frames.AUDIO, bytes(frames.MAX_PAYLOAD + 1))
    header = frames.HEADER.pack(frames.AUDIO, frames.MAX_PAYLOAD + 1)
    with pytest.raises(FrameError, match="over the limit"):
        frames.decode_header(header, frames.REPLIES)


# The worker's side


def test_request_numbers_are_clamped() -> None:
    request = parse_request({"id": 7, "text": "x", "speed": 99, "volume": -1})
    assert (request.id, request.speed, request.volume) == ("7", 2.0, 0.0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": 1},
        {"text": "x", "voice": 1},
        {"text": "x", "language": []},
        {"text": "x", "speed": "fast"},
        {"text": "x", "speed": True},
        {"text": "x", "volume": float("nan")},
    ],
)
def test_unusable_requests_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RequestRefusedError):
        parse_request(fields)


def test_first_sound_goes_out_at_once_and_later_sound_is_gathered() -> None:
    out = io.BytesIO()
    replies = Replies(out, lambda _: False)
    replies.begin("1")
    assert replies.audio(b"ab")
    assert out.getvalue() == frames.encode(frames.AUDIO, b"ab")
    assert replies.audio(b"cd")
    assert replies.audio(b"ef")
    assert out.getvalue() == frames.encode(frames.AUDIO, b"ab")
    replies.finish(frames.DONE, {})
    assert frames.encode(frames.AUDIO, b"cdef") in out.getvalue()


def test_sound_larger_than_a_frame_is_cut() -> None:
    out = io.BytesIO()
    replies = Replies(out, lambda _: False)
    replies.begin("1")
    replies.audio(bytes(frames.MAX_PAYLOAD + 2))
    assert out.getvalue().endswith(frames.encode(frames.AUDIO, b"\0\0"))


@pytest.mark.parametrize(
    "data",
    [b"?????????", frames.encode(frames.SPEAK, b"[]"), frames.encode(frames.SPEAK, b"{}")[:6]],
)
def test_worker_leaves_when_its_input_breaks(data: bytes) -> None:
    requests = Requests(io.BytesIO(data))
    requests.start()
    assert requests.next() is None
    assert requests.is_cancelled("anything")
    requests.stopped()


def test_late_or_unknown_cancel_is_ignored() -> None:
    cancel = frames.encode_fields(frames.CANCEL, {"id": "1"})
    speak_again = frames.encode_fields(frames.SPEAK, {"id": "1", "text": "x"})
    requests = Requests(io.BytesIO(cancel + speak_again))
    requests.start()
    assert requests.next() == {"id": "1", "text": "x"}
    assert "1" not in requests._cancelled
    requests.finished("1")
    assert requests.next() is None
    requests.stopped()


# What a worker says


def test_hello_of_another_protocol_or_shape_is_refused() -> None:
    good = {
        "protocol": 1,
        "engine": "x",
        "version": "1",
        "licence": "MIT",
        "sample_rate": 22050,
        "voices": [{"name": "a"}, {"name": "b", "sample_rate": 8000}],
        "default_voice": "a",
        "unknown": True,
    }
    hello = parse_hello(good)
    assert [voice.sample_rate for voice in hello.voices.values()] == [22050, 8000]
    assert hello.default_voice == "a"
    for change in (
        {"protocol": 2},
        {"sample_rate": 0},
        {"sample_rate": "22050"},
        {"voices": [1]},
        {"voices": [{}]},
        {"voices": 5},
    ):
        with pytest.raises(FrameError):
            parse_hello({**good, **change})


def test_worker_gets_no_credentials() -> None:
    given_to = {"PATH": "/bin", "OPENAI_API_KEY": "x", "SALON_PORT": "1", "db_password": "y"}
    assert worker_environment(given_to) == {"PATH": "/bin"}


# The pool


async def test_speaks_with_sound_and_words() -> None:
    async with running() as pool:
        sounds = await speak(pool, "abc def")
        assert sum(len(sound.pcm) for sound in sounds) == 7 * fake_worker.CHARACTER_SAMPLES * 2
        assert [word.length for sound in sounds for word in sound.words] == [3]
        assert pool.statistics().pieces == 1
        assert pool.statistics().failed == 0


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("exit", "cannot open the voice"),
        ("silent", "no hello"),
        ("babble", "not a speech worker"),
        ("old", "protocol 0"),
        ("incomplete", "lacks or mistakes"),
        ("early", "instead of hello"),
    ],
)
async def test_program_that_does_not_start_is_an_error(mode: str, message: str) -> None:
    timeout = 0.3 if mode == "silent" else 10
    pool = WorkerPool("fake", command(mode), processes=2, start_timeout=timeout)
    with pytest.raises(SpeechError, match=message):
        await pool.start()
    assert pool.pids == ()
    assert pool.hello is None


async def test_missing_program_and_missing_engine_are_told_apart() -> None:
    with pytest.raises(SpeechError, match="cannot be started"):
        await WorkerPool("fake", ("/nonexistent/worker",)).start()
    with pytest.raises(ConfigurationError, match="apt-get install fake"):
        await WorkerPool("fake", command("missing")).start()


async def test_unstarted_and_closed_pools_refuse() -> None:
    pool = WorkerPool("fake", command())
    with pytest.raises(SpeechError, match="not started"):
        await speak(pool, "x")
    await pool.start()
    assert await pool.start() is pool.hello
    await pool.close()
    await pool.close()
    with pytest.raises(SpeechError, match="not started"):
        await speak(pool, "x")


@pytest.mark.parametrize("text", ["garbage", "foreign", "odd", "badword", "notjson"])
async def test_worker_that_breaks_the_protocol_is_replaced(text: str) -> None:
    async with running() as pool:
        before = pool.pids
        with pytest.raises(SpeechError, match="broke the protocol"):
            await speak(pool, text)
        assert await speak(pool, "fine")
        assert pool.pids != before
        assert pool.statistics().crashes == 1
        assert pool.statistics().failed == 1


async def test_death_in_mid_piece_fails_that_piece_only() -> None:
    async with running(processes=2) as pool:
        results = await asyncio.gather(
            speak(pool, "die"), speak(pool, "lives on"), return_exceptions=True
        )
        assert isinstance(results[0], SpeechError)
        assert "ended in mid-piece" in str(results[0])
        assert isinstance(results[1], list)
        assert await speak(pool, "again")
        await until(lambda: pool.statistics().processes == 2)


async def test_a_piece_without_sound_yet_gets_another_worker(tmp_path: Path) -> None:
    async with running(processes=2) as pool:
        assert await speak(pool, f"dieonce {tmp_path / 'known'}")
        with pytest.raises(SpeechError, match="ended in mid-piece"):
            await speak(pool, "diesilent")
        await until(lambda: pool.statistics().crashes == 3)


async def test_sigkill_of_an_idle_worker_is_made_good() -> None:
    async with running() as pool:
        before = pool.pids
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: pool.statistics().crashes == 1)
        assert await speak(pool, "fine")
        assert pool.pids != before


async def test_engine_failure_leaves_the_process_alive() -> None:
    async with running() as pool:
        before = pool.pids
        with pytest.raises(SpeechError, match="no such sound"):
            await speak(pool, "raise")
        assert await speak(pool, "fine")
        assert pool.pids == before
        assert pool.statistics().failed == 1


async def test_stalled_worker_is_killed() -> None:
    async with running(stall_timeout=0.5) as pool:
        with pytest.raises(SpeechError, match="no answer for"):
            await speak(pool, "stall")
        assert await speak(pool, "fine")
        assert pool.statistics().crashes == 1


async def test_cancelled_worker_is_free_again() -> None:
    async with running() as pool:
        before = pool.pids
        async with aclosing(pool.speak({"text": "endless"}, RATE)) as sounds:
            await anext(sounds)
        async with asyncio.timeout(5):
            assert await speak(pool, "fine")
        assert pool.pids == before
        assert pool.statistics().cancelled == 1


async def test_worker_deaf_to_cancel_is_killed() -> None:
    async with running(cancel_timeout=0.05) as pool:
        before = pool.pids
        async with aclosing(pool.speak({"text": "deaf"}, RATE)) as sounds:
            await anext(sounds)
        async with asyncio.timeout(5):
            assert await speak(pool, "fine")
        assert pool.pids != before


async def test_waiting_is_bounded_and_counted() -> None:
    async with running(max_waiting=1, wait_timeout=0.5) as pool:
        async with aclosing(pool.speak({"text": "endless"}, RATE)) as sounds:
            await anext(sounds)
            waiting = asyncio.create_task(speak(pool, "waits"))
            await until(lambda: pool.statistics().waiting == 1)
            with pytest.raises(SpeechError, match="1 pieces wait already"):
                await speak(pool, "too many")
            with pytest.raises(SpeechError, match="no process was free"):
                await waiting
        counts = pool.statistics()
        assert counts.refused == 2
        assert counts.wait_max_ms >= 50
        assert await speak(pool, "fine")


async def test_cancelled_waiter_takes_no_process_along() -> None:
    async with running() as pool:
        async with aclosing(pool.speak({"text": "endless"}, RATE)) as sounds:
            await anext(sounds)
            waiting = asyncio.create_task(speak(pool, "waits"))
            await until(lambda: pool.statistics().waiting == 1)
            waiter = pool._waiters[0]
        await asyncio.wait([waiter])
        waiting.cancel()  # in the moment in which the process has been given to it
        await asyncio.wait([waiting])
        async with asyncio.timeout(5):
            assert await speak(pool, "fine")


async def test_slow_listener_holds_a_bounded_amount() -> None:
    async with running() as pool:
        async with aclosing(pool.speak({"text": "endless"}, RATE)) as sounds:
            await anext(sounds)
            await until(lambda: pool.statistics().held == 1)
            (piece,) = pool._pieces
            assert piece._bytes <= MAX_BUFFERED_S * RATE * 2 + frames.MAX_PAYLOAD
            for _ in range(MAX_BUFFERED_S):
                await anext(sounds)
            await until(lambda: pool.statistics().held == 2)
        assert await speak(pool, "fine")


async def test_close_ends_running_and_waiting_pieces() -> None:
    pool = WorkerPool("fake", command(), processes=1)
    await pool.start()
    pids = pool.pids
    sounds = pool.speak({"text": "endless"}, RATE)
    await anext(sounds)
    waiting = asyncio.create_task(speak(pool, "waits"))
    await until(lambda: pool.statistics().waiting == 1)
    async with asyncio.timeout(5):
        await pool.close()
    with pytest.raises(SpeechError, match="closing"):
        await waiting
    with pytest.raises(SpeechError, match="closing"):
        async for _ in sounds:
            pass
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_restarts_back_off(tmp_path: Path) -> None:
    clock = Backoffs()
    async with running(f"once={tmp_path / 'started'}", clock=clock) as pool:
        os.kill(pool.pids[0], signal.SIGKILL)
        async with asyncio.timeout(10):
            await clock.enough.wait()
        assert clock.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


async def test_noise_on_the_standard_streams_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as pool:
        async with asyncio.timeout(5):
            assert await speak(pool, "noisy")
        assert await speak(pool, "fine")
        (worker,) = pool._running
        await until(lambda: worker.stderr_lines == 20_001)
    assert len([record for record in caplog.records if "complaint" in record.message]) <= 100


async def test_close_of_a_process_that_was_never_started() -> None:
    process = WorkerProcess("fake", command())
    assert process.pid is None
    assert not process.alive
    process.kill()
    process.write(frames.SPEAK, {})
    assert await process.wait() == 0
    with pytest.raises(EOFError):
        await process.read()
    await process.close()


async def test_piece_gives_its_last_times_without_sound() -> None:
    piece = WorkerPiece("1", RATE)
    fields = {"start_ms": 0, "end_ms": 1, "offset": 0, "length": 1}
    piece.put(frames.WORD, frames.encode_fields(frames.WORD, fields)[frames.HEADER.size :])
    piece.finish()
    piece.finish(SpeechError("fake", "too late to matter"))
    sound = await piece.take()
    assert sound is not None
    assert (sound.pcm, len(sound.words)) == (b"", 1)
    assert await piece.take() is None


def test_piece_with_too_many_marks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.voice.workers.piece.MAX_MARKS", 2)
    piece = WorkerPiece("1", RATE)
    for _ in range(2):
        piece.put(frames.PHONEME, b'{"start_ms":0,"end_ms":1,"ipa":"a"}')
    with pytest.raises(FrameError, match="more than 2"):
        piece.put(frames.PHONEME, b'{"start_ms":0,"end_ms":1,"ipa":"a"}')


# Real programs


@pytest.mark.parametrize("name", ["espeak", "flite"])
def test_worker_imports_little(name: str) -> None:
    code = (
        f"import sys, salon.voice.workers.{name}; "
        "print([m for m in ('numpy', 'asyncio', 'pydantic', 'salon.media') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert out.stdout.strip() == b"[]"


_PARENT = """
import asyncio, sys
from salon.voice.tts import EspeakTextToSpeech, FliteTextToSpeech

async def main():
    pids = []
    for engine in (EspeakTextToSpeech(processes=1), FliteTextToSpeech(processes=1)):
        await engine.start()
        await anext(engine.speak("One, two, three. " * 2000))
        pids += engine._pool.pids
    print(*pids, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_sigkill_of_the_parent_leaves_no_worker() -> None:
    with subprocess.Popen([sys.executable, "-P", "-c", _PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    deadline = time.monotonic() + 5
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
