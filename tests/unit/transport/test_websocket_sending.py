"""The sending half: order, bounds, closing, keepalive."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.transport.outbox import Outbox
from salon.transport.sockets import MediaSocket
from salon.transport.websocket import SocketLimits

from .wire import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Notes,
    Pair,
    client_frame,
    close_payload,
)


def stall(pair: Pair) -> None:
    """The peer stops reading: the transport is full from here on."""
    pair.transport.stalled = True
    pair.socket.pause_writing()


def drain(pair: Pair) -> None:
    pair.transport.stalled = False
    pair.socket.resume_writing()


def test_a_connection_that_is_over_is_gone_at_once() -> None:
    """Its handler keeps the socket: no circle is left to the cyclic collector."""
    gc.disable()
    try:
        pair = Pair()
        pair.socket.send_binary(b"sound")
        pair.socket.connection_lost(None)
        assert pair.notes.socket is pair.socket
        left = weakref.ref(pair.socket), weakref.ref(pair.notes)
        del pair
        assert [part() for part in left] == [None, None]
    finally:
        gc.enable()


def test_connected_comes_first_and_the_transport_is_bounded() -> None:
    pair = Pair(SocketLimits(write_buffer=1234))
    assert pair.notes.log == [("connected",)]
    assert pair.notes.socket is pair.socket
    assert pair.transport.high_water == 1234
    assert pair.registry == {pair.socket}


@pytest.mark.parametrize("size", [0, 125, 126, 160, 320, 640, 65535, 65536])
def test_frames_of_every_length_code(size: int) -> None:
    pair = Pair()
    pair.socket.send_binary(b"\x07" * size)
    pair.socket.send_text("é" * size)
    assert pair.transport.take() == [(BINARY, b"\x07" * size), (TEXT, ("é" * size).encode())]


def test_G49_text_and_audio_leave_in_the_order_of_the_calls_also_after_a_stall() -> None:
    pair = Pair()
    sent: list[tuple[int, bytes]] = []
    for index in range(20):
        if index == 5:
            stall(pair)
        if index == 15:
            drain(pair)
        data = b"%d" % index
        if index % 3:
            pair.socket.send_binary(data)
            sent.append((BINARY, data))
        else:
            pair.socket.send_text(data.decode())
            sent.append((TEXT, data))
    assert pair.transport.take() == sent


def test_a_drain_that_stalls_again_keeps_the_rest_in_order() -> None:
    pair = Pair()
    stall(pair)
    for index in range(4):
        pair.socket.send_text(str(index))
    pair.socket.resume_writing()  # the transport is full again after each frame
    assert pair.transport.take() == [(TEXT, b"0")]
    pair.socket.send_text("4")
    drain(pair)
    assert pair.transport.take() == [(TEXT, b"%d" % index) for index in range(1, 5)]


def test_G119_audio_drops_the_oldest_and_counts_events_stay() -> None:
    pair = Pair(SocketLimits(max_audio=3))
    stall(pair)
    pair.socket.send_text("a")
    for index in range(8):
        pair.socket.send_binary(b"%d" % index)
    pair.socket.send_text("b")
    assert pair.socket.dropped_audio == 5
    statistics = pair.socket.statistics()
    assert (statistics.waiting_events, statistics.waiting_audio) == (2, 3)
    assert not statistics.writable
    drain(pair)
    assert pair.transport.take() == [
        (TEXT, b"a"),
        (BINARY, b"5"),
        (BINARY, b"6"),
        (BINARY, b"7"),
        (TEXT, b"b"),
    ]
    assert pair.socket.statistics().writable


def test_G119_events_that_overflow_close_with_1008() -> None:
    pair = Pair(SocketLimits(max_events=2, close_timeout=2.0))
    stall(pair)
    for index in range(3):
        pair.socket.send_text(str(index))
    opcode, payload = pair.transport.take()[-1]
    assert (opcode, payload[:2]) == (CLOSE, close_payload(1008))
    pair.socket.send_text("more")
    pair.loop.advance(2.1)
    assert pair.transport.aborted
    pair.lose()
    assert pair.ended == ("closed", 1008, "the client does not read its events")
    assert pair.loop.pending == 0


def test_G119_the_last_text_before_that_says_why() -> None:
    pair = Pair(SocketLimits(max_events=2, close_timeout=2.0))
    pair.socket.overflow_notice = lambda: "too slow"
    stall(pair)
    for index in range(3):
        pair.socket.send_text(str(index))
    last, (opcode, _) = pair.transport.take()[-2:]
    assert (last, opcode) == ((TEXT, b"too slow"), CLOSE)


def test_only_the_newest_of_several_pings_is_answered_after_a_stall() -> None:
    pair = Pair()
    stall(pair)
    for index in range(50):
        pair.feed(client_frame(PING, b"%d" % index))
    drain(pair)
    assert pair.transport.take() == [(PONG, b"49")]


def test_ping_goes_out_and_is_bounded() -> None:
    pair = Pair()
    pair.socket.ping(b"2026-01-05T08:00:00Z")
    assert pair.transport.take() == [(PING, b"2026-01-05T08:00:00Z")]
    with pytest.raises(ValueError, match="125"):
        pair.socket.ping(b"x" * 126)


def test_a_peer_that_says_nothing_after_a_ping_is_dropped() -> None:
    pair = Pair(SocketLimits(pong_timeout=30.0))
    pair.socket.ping(b"1")
    pair.loop.advance(20)
    pair.socket.ping(b"2")
    pair.loop.advance(10.1)
    assert pair.transport.aborted
    pair.lose()
    assert pair.ended == ("closed", 1006, "the peer answers no Ping")


@pytest.mark.parametrize("sign", [client_frame(PONG, b"1"), client_frame(BINARY, bytes(640))])
def test_any_byte_of_the_peer_is_a_sign_of_life(sign: bytes) -> None:
    pair = Pair(SocketLimits(pong_timeout=30.0))
    pair.socket.ping(b"1")
    pair.feed(sign)
    pair.loop.advance(31)
    assert not pair.transport.closing
    assert pair.loop.pending == 0


def test_without_a_pong_timeout_nothing_is_watched() -> None:
    pair = Pair(SocketLimits(pong_timeout=None))
    pair.socket.ping(b"1")
    assert pair.loop.pending == 0


def test_close_sends_what_waits_then_close_and_waits_for_the_answer() -> None:
    pair = Pair()
    stall(pair)
    pair.socket.send_text("last")
    pair.socket.close(1000, "bye")
    pair.socket.close(1011)
    pair.socket.send_text("ignored")
    pair.socket.send_binary(b"ignored")
    pair.socket.ping(b"ignored")
    assert pair.transport.take() == []
    drain(pair)
    assert pair.transport.take() == [(TEXT, b"last"), (CLOSE, close_payload(1000, b"bye"))]
    assert not pair.transport.closing
    pair.feed(client_frame(TEXT, b"late"), client_frame(BINARY, bytes(640)))
    pair.feed(client_frame(BINARY, bytes(640)))
    pair.feed(client_frame(PING, b"late"))
    assert pair.transport.take() == []
    pair.feed(client_frame(CLOSE, close_payload(1000)))
    assert pair.transport.closing
    pair.lose()
    assert pair.notes.log == [("connected",), ("closed", 1000, "bye")]
    assert pair.registry == set()
    assert pair.loop.pending == 0


def test_a_closing_handshake_that_is_not_answered_ends_in_time() -> None:
    pair = Pair(SocketLimits(close_timeout=2.0))
    pair.socket.close()
    pair.loop.advance(1.9)
    assert not pair.transport.aborted
    pair.loop.advance(0.2)
    assert pair.transport.aborted
    pair.lose()
    assert pair.ended == ("closed", 1006, "")


def test_a_long_reason_is_cut_between_characters() -> None:
    pair = Pair()
    pair.socket.close(1000, "é" * 100)
    ((opcode, payload),) = pair.transport.take()
    assert opcode == CLOSE
    assert payload[2:].decode() == "é" * 61


@pytest.mark.parametrize(
    ("payload", "code", "reason", "echo"),
    [
        (b"", 1005, "", b""),
        (close_payload(1000, b"done"), 1000, "done", close_payload(1000)),
        (close_payload(4001), 4001, "", close_payload(4001)),
    ],
)
def test_a_close_of_the_peer_is_echoed_and_reported(
    payload: bytes, code: int, reason: str, echo: bytes
) -> None:
    pair = Pair()
    pair.feed(client_frame(CLOSE, payload), client_frame(TEXT, b"after"))
    assert pair.transport.take() == [(CLOSE, echo)]
    assert pair.transport.closing
    pair.socket.send_text("too late")
    pair.lose()
    assert pair.notes.log == [("connected",), ("closed", code, reason)]


def test_a_close_of_the_peer_during_a_stall_drops_what_waits() -> None:
    pair = Pair()
    stall(pair)
    pair.socket.send_text("x")
    pair.transport.stalled = False
    pair.feed(client_frame(CLOSE))
    assert pair.transport.take() == [(CLOSE, b"")]
    pair.loop.advance(3)
    assert pair.transport.aborted


def test_both_sides_close_while_our_frames_wait() -> None:
    pair = Pair()
    stall(pair)
    pair.socket.send_text("x")
    pair.socket.close(1000)
    pair.feed(client_frame(CLOSE, close_payload(1001)))
    assert not pair.transport.closing
    drain(pair)
    assert pair.transport.take() == [(TEXT, b"x"), (CLOSE, close_payload(1000))]
    assert pair.transport.closing


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_a_vanished_peer_is_reported_once_as_1006(error: Exception | None) -> None:
    pair = Pair()
    assert pair.socket.eof_received() is False
    pair.lose(error)
    pair.lose(error)
    pair.socket.send_text("x")
    pair.socket.send_binary(b"x")
    pair.socket.close()
    assert pair.notes.log == [("connected",), ("closed", 1006, "")]


def test_G21_shutdown_closes_with_1001() -> None:
    pair = Pair()
    pair.socket.shutdown()
    assert pair.transport.take() == [(CLOSE, close_payload(1001))]


def test_shutdown_grace_lets_the_call_go_on_for_a_while() -> None:
    pair = Pair(shutdown_grace=5.0)
    pair.socket.shutdown()
    pair.loop.advance(4.9)
    pair.socket.send_text("still here")
    assert pair.transport.take() == [(TEXT, b"still here")]
    pair.loop.advance(0.2)
    assert pair.transport.take() == [(CLOSE, close_payload(1001))]


class Broken(Notes):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def connected(self, socket: MediaSocket) -> None:
        super().connected(socket)
        self.fail("connected")

    def text(self, data: str) -> None:
        self.fail("text")

    def binary(self, data: bytes) -> None:
        self.fail("binary")

    def closed(self, code: int, reason: str) -> None:
        super().closed(code, reason)
        self.fail("closed")

    def fail(self, where: str) -> None:
        if where == self.where:
            raise ZeroDivisionError(where)


@pytest.mark.parametrize("where", ["connected", "text", "binary"])
def test_a_handler_that_raises_is_logged_and_closed_with_1011(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Broken(where)
    with caplog.at_level(logging.ERROR, "salon.transport"):
        pair = Pair(handler=handler)
        pair.feed(client_frame(TEXT, b"x"))
        pair.feed(client_frame(BINARY, bytes(640)))
    assert pair.transport.take()[0][1][:2] == close_payload(1011)
    pair.lose()
    assert handler.log[-1] == ("closed", 1011, "internal error")
    assert "handler failed" in caplog.text


def test_a_handler_that_raises_in_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    pair = Pair(handler=Broken("closed"))
    pair.lose()
    assert "closed()" in caplog.text
    assert pair.registry == set()


def test_a_handler_may_close_inside_a_message() -> None:
    class Once(Notes):
        def text(self, data: str) -> None:
            super().text(data)
            assert self.socket is not None
            self.socket.close(4000)

    handler = Once()
    pair = Pair(handler=handler)
    pair.feed(client_frame(TEXT, b"1"), client_frame(TEXT, b"2"), client_frame(BINARY, b"3"))
    assert handler.messages == [("text", "1")]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_an_outbox_keeps_order_and_bounds(kinds: list[bool], text: int, audio: int) -> None:
    box = Outbox(text, audio)
    model: list[tuple[bool, bytes]] = []
    dropped = 0
    for index, is_text in enumerate(kinds):
        data = b"%d" % index
        if is_text:
            room = sum(kind for kind, _ in model) < text
            assert box.put_text(data) == room
            if room:
                model.append((True, data))
            continue
        if sum(not kind for kind, _ in model) == audio:
            model.remove(next(item for item in model if not item[0]))
            dropped += 1
        box.put_audio(data)
        model.append((False, data))
    assert len(box) == len(model) == box.waiting_text + box.waiting_audio
    assert [box.pop() for _ in model] == model
    assert box.dropped_audio == dropped


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_an_outbox_without_room_is_a_mistake(sizes: Any) -> None:
    with pytest.raises(ValueError, match="room"):
        Outbox(*sizes)
