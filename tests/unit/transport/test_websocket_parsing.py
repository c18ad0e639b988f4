"""The receiving half of RFC 6455."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.transport.masking import apply_mask, xor_mask
from salon.transport.websocket import SocketLimits

from .wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Pair,
    client_frame,
    close_payload,
    xor,
)

FRAME = bytes(range(256)) * 2 + bytes(128)


def failure(pair: Pair) -> int:
    """The code of the Close that the socket sent; it must also have dropped the connection."""
    opcode, payload = pair.transport.take()[-1]
    assert opcode == CLOSE
    assert pair.transport.closing
    code = int.from_bytes(payload[:2], "big")
    pair.lose()
    assert pair.ended is not None
    assert pair.ended[1] == code
    assert [entry[0] for entry in pair.notes.log].count("closed") == 1
    return code


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 160, 640, 65535, 65536])
def test_binary_messages_of_every_length_code(size: int) -> None:
    payload = (FRAME * 103)[:size]
    pair = Pair()
    pair.feed(client_frame(BINARY, payload))
    assert pair.notes.messages == [("binary", payload)]


def test_several_frames_in_one_read_and_one_frame_in_many_reads() -> None:
    pair = Pair()
    stream = client_frame(BINARY, FRAME) + client_frame(TEXT, "hé".encode())
    stream += client_frame(BINARY, b"x" * 160)
    pair.feed(stream)
    for byte in stream:
        pair.feed(bytes((byte,)))
    once = [("binary", FRAME), ("text", "hé"), ("binary", b"x" * 160)]
    assert pair.notes.messages == once * 2


def test_fragments_with_a_ping_between_them() -> None:
    pair = Pair()
    pair.feed(
        client_frame(TEXT, b"h\xc3", fin=False),
        client_frame(PING, b"now"),
        client_frame(CONTINUATION, b"", fin=False),
        client_frame(CONTINUATION, b"\xa9"),
        client_frame(BINARY, b"a" * 200, fin=False),
    )
    pair.feed(client_frame(CONTINUATION, b"b" * 200))
    assert pair.notes.messages == [("text", "hé"), ("binary", b"a" * 200 + b"b" * 200)]
    assert pair.transport.take() == [(PONG, b"now")]


def test_a_binary_frame_inside_a_fragmented_message_is_refused_on_the_fast_path_too() -> None:
    pair = Pair()
    pair.feed(client_frame(TEXT, b"x", fin=False))
    pair.feed(client_frame(BINARY, FRAME))
    assert failure(pair) == 1002
    assert pair.notes.messages == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(TEXT, b"x", mask=None), 1002),
        (client_frame(BINARY, FRAME, mask=None), 1002),
        (client_frame(TEXT, b"x", rsv=0x40), 1002),
        (client_frame(BINARY, b"x", rsv=0x10), 1002),
        (client_frame(3, b"x"), 1002),
        (client_frame(11, b"x"), 1002),
        (client_frame(PING, b"x" * 126), 1002),
        (client_frame(PING, b"x", fin=False), 1002),
        (client_frame(CONTINUATION, b"x"), 1002),
        (client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y"), 1002),
        (client_frame(TEXT, b"x", width=126), 1002),
        (client_frame(BINARY, b"x" * 300, width=127), 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(TEXT, b"\xed\xa0\x80"), 1007),
        (client_frame(TEXT, b"\xc3", fin=False) + client_frame(CONTINUATION, b""), 1007),
        (client_frame(CLOSE, b"x"), 1002),
        (client_frame(CLOSE, close_payload(1005)), 1002),
        (client_frame(CLOSE, close_payload(999)), 1002),
        (client_frame(CLOSE, close_payload(2000)), 1002),
        (client_frame(CLOSE, close_payload(1000, b"\xff")), 1007),
    ],
)
def test_a_broken_frame_ends_the_connection_with_its_code(data: bytes, code: int) -> None:
    pair = Pair()
    pair.feed(data)
    assert failure(pair) == code


def test_what_follows_a_broken_frame_is_not_read() -> None:
    pair = Pair()
    pair.feed(client_frame(TEXT, b"x", mask=None), client_frame(TEXT, b"after"))
    pair.feed(client_frame(BINARY, FRAME))
    assert pair.notes.messages == []


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_an_oversize_message_is_refused_before_its_payload_arrives(opcode: int) -> None:
    pair = Pair(SocketLimits(max_text=300, max_binary=300))
    pair.feed(client_frame(opcode, b"x" * 300))
    assert len(pair.notes.messages) == 1
    pair.feed(client_frame(opcode, b"x" * 301)[:8])
    assert failure(pair) == 1009


def test_oversize_by_fragments_and_by_a_huge_length() -> None:
    pair = Pair(SocketLimits(max_binary=300))
    pair.feed(client_frame(BINARY, b"x" * 200, fin=False), client_frame(CONTINUATION, b"x" * 101))
    assert failure(pair) == 1009
    pair = Pair()
    pair.feed(b"\x82\xff" + b"\xff" * 8)
    assert failure(pair) == 1009


def test_the_fast_path_obeys_the_limit_and_keeps_no_state() -> None:
    pair = Pair(SocketLimits(max_binary=640))
    pair.feed(client_frame(BINARY, FRAME))
    pair.feed(client_frame(BINARY, FRAME + b"xx"))
    assert pair.notes.messages == [("binary", FRAME)]
    assert failure(pair) == 1009


def test_a_slow_drip_of_one_large_message_costs_linear_work() -> None:
    pair = Pair(SocketLimits(max_text=1 << 20))
    frame = client_frame(TEXT, b"x" * 200_000)
    parses = 0
    parse = pair.socket._parse

    def counted(data: bytes) -> None:
        nonlocal parses
        parses += 1
        parse(data)

    pair.socket._parse = counted  # type: ignore[method-assign]
    for start in range(0, len(frame), 100):
        pair.feed(frame[start : start + 100])
    assert parses == 2
    assert pair.notes.messages == [("text", "x" * 200_000)]


messages = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.text(max_size=200)),
        st.tuples(st.just("binary"), st.binary(max_size=700)),
    ),
    max_size=8,
)


@given(messages, st.lists(st.integers(1, 400), min_size=1, max_size=20), st.integers(1, 300))
def test_any_split_into_fragments_and_reads_gives_the_same_messages(
    sent: list[tuple[str, str | bytes]], reads: list[int], fragment: int
) -> None:
    stream = b""
    for kind, content in sent:
        payload = content.encode() if isinstance(content, str) else content
        opcode = TEXT if kind == "text" else BINARY
        pieces = [payload[i : i + fragment] for i in range(0, len(payload), fragment)] or [b""]
        for index, piece in enumerate(pieces):
            stream += client_frame(
                opcode if index == 0 else CONTINUATION, piece, fin=index == len(pieces) - 1
            )
    pair = Pair()
    position, turn = 0, 0
    while position < len(stream):
        size = reads[turn % len(reads)]
        pair.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    assert pair.notes.messages == sent
    assert pair.transport.take() == []


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=20))
def test_no_bytes_make_the_parser_raise(reads: list[bytes]) -> None:
    pair = Pair()
    for data in reads:
        pair.feed(data)
    pair.transport.take()
    pair.lose()
    assert [entry[0] for entry in pair.notes.log].count("closed") == 1


@given(st.binary(max_size=700), st.binary(min_size=4, max_size=4))
def test_both_ways_to_unmask_agree(data: bytes, mask: bytes) -> None:
    assert xor_mask(data, mask) == apply_mask(data, mask) == xor(data, mask)
