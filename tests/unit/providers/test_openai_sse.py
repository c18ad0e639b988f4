"""The parser of server-sent events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.providers.sse import SSEError, SSEParser

STREAM = (
    b"\xef\xbb\xbfdata: one\n\n: comment\nevent: x\nid: 1\ndata:two\r\ndata: more\r\n\r\n"
    b"data\rretry: 5\rdatabase: no\r\rdata: \xe4\xb8\x96\n\ndata: unfinished\n"
)
EVENTS = ["one", "two\nmore", "", "世"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_cut_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    parser = SSEParser()
    found: list[str] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        found += parser.feed(STREAM[start:end])
    assert found == EVENTS


@given(st.binary(max_size=300))
def test_any_bytes_give_events_or_the_one_error(data: bytes) -> None:
    parser = SSEParser(max_line=100)
    try:
        for byte in data:
            parser.feed(bytes([byte]))
    except SSEError:
        return
    assert len(parser._buffer) <= 100


def test_lines_and_events_are_bounded() -> None:
    with pytest.raises(SSEError, match="a line is longer than 10 bytes"):
        SSEParser(max_line=10).feed(b"data: 123456")
    parser = SSEParser(max_line=10)
    parser.feed(b"data:1234\n")
    with pytest.raises(SSEError, match="an event is longer than 10 bytes"):
        parser.feed(b"data:12345678\n")
