"""The event stream format (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.base import RemoteProtocolError
from salon.sources import EventStreamParser, ServerSentEvent


def read(*chunks: bytes, last_event_id: str = "") -> list[ServerSentEvent]:
    parser = EventStreamParser(last_event_id)
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: hi\n\n", [("message", "hi", "")]),
        (b"data:hi\n\n", [("message", "hi", "")]),
        (b"data:  hi\n\n", [("message", " hi", "")]),
        (b"\xef\xbb\xbfdata: hi\n\n", [("message", "hi", "")]),
        (b"data: a\ndata: b\n\n", [("message", "a\nb", "")]),
        (b"data\ndata\n\n", [("message", "\n", "")]),
        (b": comment\n\nevent: x\n\n", []),
        (b"event: x\nid: 7\ndata: hi\n\ndata: ho\n\n", [("x", "hi", "7"), ("message", "ho", "7")]),
        (b"id: 7\ndata: a\n\nid\ndata: b\n\n", [("message", "a", "7"), ("message", "b", "")]),
        (b"id: 7\0\ndata: a\n\n", [("message", "a", "")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [("message", x, "") for x in "abc"]),
        (b"unknown: x\ndata: a: b\n\n", [("message", "a: b", "")]),
        (b"data: cut off", []),
        ("data: ü\n\n".encode(), [("message", "ü", "")]),
        (b"data: \xff\n\n", [("message", "�", "")]),
    ],
)
def test_streams(stream: bytes, events: list[tuple[str, str, str]]) -> None:
    assert [(one.event, one.data, one.id) for one in read(stream)] == events


lines = st.sampled_from(
    [b"data: a", b"data", b"data: \xc3\xbc", b"id: 1", b"id", b"event: e", b": c", b"retry: 5", b""]
)
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(lines, ends)), st.data())
def test_it_does_not_matter_how_the_stream_is_cut(
    parts: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(line + end for line, end in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*chunks) == read(stream)


def test_what_a_new_connection_needs() -> None:
    parser = EventStreamParser("3")
    seen = [(parser.retry, parser.last_event_id)]
    for chunk in (
        b"retry: 1500\nid: 4\n",
        b"\n",
        b"retry: soon\nretry: \xd9\xa3\nretry: -1\nretry: 99999999999999\n\n",
    ):
        parser.feed(chunk)
        seen.append((parser.retry, parser.last_event_id))
    assert seen == [(None, "3"), (1.5, "3"), (1.5, "4"), (1.5, "4")]
    assert read(b"data: x\n\n", last_event_id="3")[0].id == "3"


@pytest.mark.parametrize("piece", [b"data: xxxxxxxx\n", b"xxxxxxxxxx", b"data:\n"])
def test_an_event_has_an_end(piece: bytes) -> None:
    parser = EventStreamParser(max_event=1000)

    def feed() -> None:
        for _ in range(2000):
            parser.feed(piece)

    with pytest.raises(RemoteProtocolError, match="longer than 1000"):
        feed()
