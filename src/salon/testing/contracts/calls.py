"""The contract of `CallLog`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from salon.core.ports.calls import CallLog, CallRecord
from salon.testing.contracts.samples import later


def _call(call_id: str, at: float = 0, **fields: Any) -> CallRecord:
    return CallRecord(call_id, "room", later(at), **fields)


class CallLogContract:
    """Give it a `calls` fixture: a new, usable, empty log per test."""

    async def test_a_call_from_start_to_end(self, calls: CallLog) -> None:
        record = _call("a", room_id="r", participant_id="ann")
        await calls.started(record)
        assert await calls.list_calls() == [record]
        await calls.ended("a", at=later(5), reason="hangup")
        over = replace(record, state="ended", ended_at=later(5), reason="hangup")
        assert await calls.list_calls() == [over]
        await calls.ended("a", at=later(9), reason="again")
        await calls.ended("unknown", at=later(9), reason="again")
        assert await calls.list_calls() == [over]

    async def test_an_id_may_come_again(self, calls: CallLog) -> None:
        await calls.started(_call("a", 1))
        await calls.ended("a", at=later(2), reason="first")
        await calls.started(_call("a", 3))
        newest, oldest = await calls.list_calls()
        assert (newest.state, newest.started_at) == ("live", later(3))
        assert (oldest.state, oldest.reason) == ("ended", "first")
        await calls.ended("a", at=later(4), reason="second")
        assert [item.reason for item in await calls.list_calls()] == ["second", "first"]

    async def test_a_live_id_started_again_is_one_call(self, calls: CallLog) -> None:
        await calls.started(_call("a", 1))
        await calls.started(_call("a", 2))
        assert await calls.list_calls() == [_call("a", 2)]

    async def test_fail_live_ends_what_a_crash_cut(self, calls: CallLog) -> None:
        await calls.started(_call("over", 1))
        await calls.ended("over", at=later(2), reason="hangup")
        for name in ("x", "y"):
            await calls.started(_call(name, 3, room_id="r"))
        failed = await calls.fail_live(at=later(9))
        expected = [
            _call(name, 3, room_id="r", state="failed", ended_at=later(9), reason="failed")
            for name in ("x", "y")
        ]
        assert failed == expected
        assert await calls.fail_live(at=later(10)) == []
        await calls.ended("x", at=later(11), reason="late")
        assert (await calls.list_calls(room_id="r"))[::-1] == expected
        assert [item.state for item in await calls.list_calls()] == ["failed", "failed", "ended"]

    async def test_calls_are_listed_newest_first(self, calls: CallLog) -> None:
        for name, at in (("b", 2), ("a", 1), ("d", 4), ("c", 3), ("c2", 3)):
            await calls.started(_call(name, at, room_id="even" if at % 2 == 0 else "odd"))
        await calls.ended("c2", at=later(8), reason="hangup")
        await calls.ended("c", at=later(9), reason="hangup")
        assert [item.id for item in await calls.list_calls()] == ["d", "c2", "c", "b", "a"]
        assert [item.id for item in await calls.list_calls(limit=2)] == ["d", "c2"]
        assert [item.id for item in await calls.list_calls(room_id="odd")] == ["c2", "c", "a"]
        assert [item.id for item in await calls.list_calls(room_id="even", limit=1)] == ["d"]
        assert await calls.list_calls(room_id="none") == []
