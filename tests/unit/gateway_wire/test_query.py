"""The query of a connection (G12-G15)."""

from __future__ import annotations

import pytest

from salon.gateway import CallQuery, QueryError


def test_G14_defaults() -> None:
    assert CallQuery.parse({}) == CallQuery(
        dump=True, ping=20, server_side_track="server-side-track", handler="controller"
    )
    assert CallQuery.parse({"visited": "x", "unheard": "of", "id": ""}) == CallQuery()


@pytest.mark.parametrize(
    ("first", "second", "value", "field", "expected"),
    [
        ("dump", "dump_events", "false", "dump", False),
        ("ping", "ping_interval", "0", "ping", 0),
        ("serverSideTrack", "server_side_track", "x", "server_side_track", "x"),
    ],
)
def test_G14_both_spellings_the_first_wins(
    first: str, second: str, value: str, field: str, expected: object
) -> None:
    assert getattr(CallQuery.parse({first: value}), field) == expected
    assert getattr(CallQuery.parse({second: value}), field) == expected
    other = {"dump": "true", "ping": "7", "serverSideTrack": "y"}[first]
    both = CallQuery.parse({first: value, second: other})
    assert getattr(both, field) == expected


def test_texts_go_to_the_handler() -> None:
    query = CallQuery.parse(
        {"handler": "room", "room": "r", "participant": "p", "name": "Ann", "id": "i"}
        | {"interruption": "confirmed", "forward": "true"}
    )
    assert (query.handler, query.room, query.participant, query.name, query.id) == (
        "room",
        "r",
        "p",
        "Ann",
        "i",
    )
    assert (query.interruption, query.forward) == ("confirmed", True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dump", "1"),
        ("dump_events", "True"),
        ("forward", "yes"),
        ("ping", "-1"),
        ("ping", "1.5"),
        ("ping", "٣"),
        ("ping", "86401"),
        ("ping_interval", "9999999999"),
        ("handler", "nobody"),
        ("interruption", "sometimes"),
        ("id", "x" * 257),
        ("room", "a\nb"),
    ],
)
def test_G13_what_does_not_parse_is_named(key: str, value: str) -> None:
    with pytest.raises(QueryError) as caught:
        CallQuery.parse({key: value})
    assert (caught.value.parameter, caught.value.status) == (key, 400)
    assert key in str(caught.value)
