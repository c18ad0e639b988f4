"""Many calls at once: what they send, what they count, and how late is late."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from tests.unit.clients.server import Peer, serving

from salon.clients.call import load as module
from salon.clients.call.errors import ConnectFailed
from salon.clients.call.load import Load, LoadPlan, LoadStatus, encoded, late_ticks, tone_reply
from salon.clients.call.load_call import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Grid,
    Lateness,
    LoadCall,
    frame,
)
from salon.media import sine
from salon.transport.sockets import Refusal

SPEECH = sine(200, 0.2)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARM_UP_S", 0.05)
    monkeypatch.setattr(module, "STEP_S", 0.05)
    monkeypatch.setattr(module, "GOODBYE_S", 0.5)


def server(peer: Peer, message: dict[str, Any]) -> None:
    """Answers, plays three frames whenever asked to, says goodbye."""
    command = message["command"]
    if command == "invite":
        peer.event("answer", sdp="")
    elif command in ("tts", "play"):
        peer.event("trackStart", trackId="server-side-track")
        for _ in range(3):
            peer.socket.send_binary(bytes(640))
        asyncio.get_running_loop().call_later(0.06, _ended, peer)
    elif command == "hangup":
        peer.event("hangup", reason="caller", initiator="caller")
        peer.socket.close(1000)


def _ended(peer: Peer) -> None:
    if not peer.gone.is_set():
        peer.event("trackEnd", trackId="server-side-track", duration=60)


def plan(url: str, calls: int = 3, **more: Any) -> LoadPlan:
    return LoadPlan(url, calls, SPEECH, **{"seconds": 0.3, "rate": 200.0, "timeout": 2.0} | more)


async def test_calls_are_placed_held_and_hung_up() -> None:
    told: list[LoadStatus] = []
    late = iter((5, 12))
    async with serving(server) as peer:
        load = Load(plan(peer.url), tell=told.append, late_ticks=lambda: next(late))
        report = await load.run()
        texts = [[text["command"] for text in one.texts] for one in peer.peers]
        sent = [len(one.frames) for one in peer.peers]
        ids = sorted(one.request.query["id"] for one in peer.peers)
        option = peer.peer.texts[0]["option"]
    assert report.held
    assert (report.calls, report.answered, report.refused, report.failed) == (3, 3, {}, 0)
    assert ids == ["load-0", "load-1", "load-2"]
    assert option == {"codec": "pcm", "vad": {}}
    for commands in texts:
        assert commands[0] == "invite"
        assert commands[-1] == "hangup"
        assert commands.count("tts") >= 3  # asked for again after each end
    assert all(10 < number < 40 for number in sent)
    assert report.frames > 0
    assert report.server_late_ticks == 7
    assert report.server_ticks == pytest.approx(15, abs=3)
    assert {status.phase for status in told} >= {"hold"}
    assert told[-1].live == told[-1].wanted == told[-1].placed == 3
    assert told[-1].lost == 0


async def test_refusals_are_counted_by_status() -> None:
    async with serving(server) as peer:
        peer.refusal = Refusal(503, "full")
        report = await Load(plan(peer.url)).run()
    assert report.refused == {503: 3}
    assert not report.held
    assert report.failed == 0


async def test_where_nobody_listens_there_is_no_load() -> None:
    with pytest.raises(ConnectFailed, match="no connection to ws://127"):
        await Load(plan("ws://127.0.0.1:9", timeout=0.5)).run()


async def test_who_never_answers_has_failed_and_who_stays_is_stuck() -> None:
    async with serving(lambda _peer, _message: None) as peer:
        report = await Load(plan(peer.url, 2, vad=False, option={"asr": {}})).run()
        option = peer.peer.texts[0]["option"]
    assert (report.answered, report.failed, report.stuck) == (0, 2, 2)
    assert option == {"codec": "pcm", "asr": {}}


async def test_who_hangs_up_by_itself_is_lost_and_errors_are_kept() -> None:
    def rude(peer: Peer, message: dict[str, Any]) -> None:
        if message["command"] == "invite":
            peer.event("answer", sdp="")
        elif message["command"] == "play":
            peer.event("error", sender="command", error="no such sound")
            peer.event("hangup", reason="system", initiator="system")
            peer.socket.close(1000)

    async with serving(rude) as peer:
        report = await Load(plan(peer.url, reply={"command": "play", "url": "x.wav"})).run()
        asked = peer.peer.texts[1]
    assert asked == {"command": "play", "url": "x.wav"}
    assert report.lost == 3
    assert report.errors == {"command: no such sound": 3}


def test_the_speech_is_cut_into_packets_of_its_codec() -> None:
    assert [len(packet) for packet in encoded(SPEECH, "pcmu")] == [160] * 10
    with pytest.raises(ValueError, match="shorter"):
        encoded(SPEECH[:100], "pcm")


def test_the_tone_is_a_piece_of_speech_that_brings_its_sound() -> None:
    command = tone_reply()
    assert command["command"] == "tts"
    assert len(base64.b64decode(command["text"])) == 10 * 32_000
    assert len(json.dumps(command)) < 1 << 20  # one text frame


@pytest.mark.parametrize(
    ("text", "found"),
    [("# HELP x\nsalon_ticker_late_ticks 12.0\n", 12), ("salon_calls_active 3\n", None)],
)
def test_late_ticks_are_found_in_metrics(text: str, found: int | None) -> None:
    assert late_ticks(text) == found


# -- lateness -------------------------------------------------------------------------------------


def test_lateness_is_counted_in_quarters_of_a_millisecond() -> None:
    late = Lateness()
    assert late.quantile(0.99) == 0.0
    for number in range(100):
        late.add(number / 1000)
    late.add(5.0)
    late.add(-1.0)
    assert late.quantile(0.5) == pytest.approx(50, abs=1.5)
    assert late.max_ms == 5000
    assert late.quantile(1.0) <= 5000
    assert late.total == 102


def grid_of(*arrivals: float) -> Grid:
    grid = Grid(Lateness())
    for at in arrivals:
        grid.arrived(at)
    return grid


def test_a_steady_stream_is_never_late_even_if_its_first_frame_came_early() -> None:
    grid = grid_of(0.985, *(1 + number * 0.02 for number in range(1, 500)))
    assert grid.late.total == 499
    assert grid.late.max_ms < 0.01


def test_a_frame_that_comes_late_is_late_by_that_much() -> None:
    grid = grid_of(1.0, 1.02, 1.04, 1.071, 1.08)
    assert grid.late.max_ms == pytest.approx(11, abs=0.01)


def test_a_skipped_tick_makes_what_follows_late_for_a_while() -> None:
    grid = grid_of(*(number * 0.02 for number in range(100)))
    for number in range(100, 1000):
        grid.arrived(number * 0.02 + 0.02)
    assert grid.late.max_ms == pytest.approx(20, abs=0.01)
    assert grid.late.quantile(0.3) < 1


def test_clocks_that_drift_apart_are_not_lateness() -> None:
    grid = grid_of(*(number * 0.020002 for number in range(50_000)))  # 100 ppm, 1000 s
    assert grid.late.max_ms < 1.5


def test_a_pause_between_two_sounds_is_not_lateness() -> None:
    grid = grid_of(1.0, 1.02, 1.04)
    grid.restart()
    for at in (3.0, 3.02, 3.04):
        grid.arrived(at)
    assert grid.late.max_ms < 0.01


# -- frames ---------------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.over = ""

    def write(self, data: Any) -> None:
        self.data += bytes(data)

    def close(self) -> None:
        self.over = "close"

    def abort(self) -> None:
        self.over = "abort"


def wired(**more: Any) -> tuple[LoadCall, Wire]:
    call, wire = LoadCall("ws://host:8000/ws?id=1", Lateness(), **more), Wire()
    call.connection_made(wire)
    return call, wire


def from_server(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2) + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8) + payload


UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


async def test_the_upgrade_carries_the_key() -> None:
    call, wire = wired(api_key="secret")
    assert wire.data.startswith(b"GET /ws?id=1 HTTP/1.1\r\nHost: host:8000\r\n")
    assert b"Authorization: Bearer secret\r\n" in wire.data
    call.data_received(UPGRADED)
    assert await call.open


async def test_frames_of_every_size_are_read_whatever_the_pieces() -> None:
    seen: list[Any] = []
    call, wire = wired(on_event=lambda _call, event: seen.append(event["event"]))
    stream = UPGRADED + b"".join(
        (
            from_server(TEXT, b'{"event": "answer"}'),
            from_server(BINARY, bytes(640)),
            from_server(TEXT, json.dumps({"event": "custom", "data": "x" * 70_000}).encode()),
            from_server(PING, b"now"),
            from_server(BINARY, bytes(10)),
            from_server(TEXT, b'{"event": "hangup"}'),
        )
    )
    wire.data = b""
    for start in range(0, len(stream), 97):
        call.data_received(stream[start : start + 97])
    assert seen == ["answer", "custom", "hangup"]
    assert (call.packets, call.answered, call.ended) == (2, True, True)
    assert wire.data == frame(10, b"now")
    call.data_received(from_server(CLOSE, (1000).to_bytes(2)))
    assert (call.close_code, wire.over) == (1000, "close")
    call.connection_lost(None)
    assert call.lost
    call.command("hangup")  # no effect
    assert len(wire.data) == len(frame(10, b"now")) + len(frame(CLOSE, bytes(2)))


@pytest.mark.parametrize(
    "wrong",
    [
        UPGRADED + from_server(TEXT, b"{"),
        UPGRADED + from_server(TEXT, b"[1]"),
        UPGRADED + bytes((0x82, 127)) + (1 << 40).to_bytes(8),
        b"x" * 70_000,
    ],
)
async def test_what_no_server_of_calls_says_ends_the_call(wrong: bytes) -> None:
    call, wire = wired()
    call.data_received(wrong)
    assert wire.over == "abort"


async def test_a_refusal_and_a_lost_connection_are_told_apart() -> None:
    call, wire = wired()
    call.data_received(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
    assert (await call.open, call.status, wire.over) == (False, 401, "close")
    call, _ = wired()
    call.connection_lost(None)
    assert (await call.open, call.status) == (False, 0)
    call, _ = wired()
    call.data_received(b"nonsense\r\n\r\n")
    assert call.status == 400


async def test_a_close_without_a_code_is_1005() -> None:
    call, _ = wired()
    call.data_received(UPGRADED + from_server(CLOSE, b""))
    assert call.close_code == 1005


def test_long_frames_are_masked_and_sized_right() -> None:
    for size, head in ((5, 6), (200, 8), (70_000, 14)):
        made = frame(BINARY, bytes(size))
        assert len(made) == head + size
        assert made[1] & 0x80
