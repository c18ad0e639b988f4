"""Identity hooks: the first answer decides."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.identity import (
    IdentityHook,
    IdentityHookRegistration,
    IdentityHookResult,
    IdentityHooks,
    IdentityResult,
)
from salon.models import ChannelDirection, ChannelType, IdentificationStatus
from salon.testing.contracts.identity import make_context
from salon.testing.contracts.samples import make_event

UNKNOWN = IdentityResult(status=IdentificationStatus.UNKNOWN)
HERE = IdentityHook.ON_IDENTITY_UNKNOWN
Failures = list[tuple[str, str, str]]


@pytest.fixture
def failures() -> Failures:
    return []


@pytest.fixture
def hooks(failures: Failures) -> IdentityHooks:
    def heard(hook: IdentityHookRegistration, kind: str, message: str) -> None:
        failures.append((hook.name, kind, message))

    return IdentityHooks(heard)


def says(reason: str | None) -> Any:
    async def hook(*_: Any) -> IdentityHookResult | None:
        return None if reason is None else IdentityHookResult.reject(reason)

    return hook


async def ask(hooks: IdentityHooks, trigger: IdentityHook = HERE) -> str | None:
    found = await hooks.ask(trigger, make_event(), make_context(), UNKNOWN)
    return None if found is None else found[0].reason


async def test_R175_nobody_asked_nobody_answers(hooks: IdentityHooks) -> None:
    assert await ask(hooks) is None


async def test_R175_the_first_answer_wins(hooks: IdentityHooks) -> None:
    asked: list[str] = []

    async def late(*_: Any) -> None:
        asked.append("late")

    hooks.add(HERE, late, priority=5)
    hooks.add(HERE, says("room"), room_id="room", name="r")
    hooks.add(HERE, says("global"), name="g")
    hooks.add(HERE, says(None), priority=-1)
    assert await ask(hooks) == "global"
    assert hooks.remove("g")
    assert not hooks.remove("g")
    assert not hooks.remove("r")
    assert await ask(hooks) == "room"
    assert hooks.remove("r", room_id="room")
    assert await ask(hooks) is None
    assert asked == ["late"]


async def test_R175_a_hook_gets_event_context_and_result(hooks: IdentityHooks) -> None:
    got: list[tuple[Any, ...]] = []

    async def look(event: Any, context: Any, result: Any) -> IdentityHookResult:
        got.append((event, context, result))
        return IdentityHookResult.pending()

    hooks.add("on_identity_unknown", look)
    event, context = make_event(), make_context()
    found = await hooks.ask(HERE, event, context, UNKNOWN)
    assert found == (IdentityHookResult.pending(), "look")
    assert got == [(event, context, UNKNOWN)]


async def test_R175_triggers_are_apart(hooks: IdentityHooks) -> None:
    hooks.add(IdentityHook.ON_IDENTITY_AMBIGUOUS, says("ambiguous"))
    assert await ask(hooks) is None
    assert await ask(hooks, IdentityHook.ON_IDENTITY_AMBIGUOUS) == "ambiguous"


@pytest.mark.parametrize(
    ("filters", "asked"),
    [
        ({}, True),
        ({"channel_types": {ChannelType.VOICE}}, True),
        ({"channel_types": {"sms"}}, False),
        ({"channel_ids": {"phone"}}, True),
        ({"channel_ids": {"page"}}, False),
        ({"directions": {ChannelDirection.INBOUND}}, True),
        ({"directions": {ChannelDirection.OUTBOUND}}, False),
        ({"room_id": "room"}, True),
        ({"room_id": "other"}, False),
        ({"channel_types": {"voice"}, "channel_ids": {"page"}}, False),
    ],
)
async def test_R175_filters_must_all_match(
    hooks: IdentityHooks, filters: dict[str, Any], asked: bool
) -> None:
    hooks.add(HERE, says("yes"), **filters)
    assert await ask(hooks) == ("yes" if asked else None)


async def _raise(*_: Any) -> None:
    raise ZeroDivisionError("meant")


async def _raise_nothing(*_: Any) -> None:
    raise TimeoutError


async def _hang(*_: Any) -> None:
    await asyncio.Event().wait()


async def _cancel(*_: Any) -> None:
    raise asyncio.CancelledError


async def _wrong(*_: Any) -> str:
    return "yes"


@pytest.mark.parametrize(
    ("fn", "kind", "message"),
    [
        (_raise, "hook_error", "meant"),
        (_raise_nothing, "hook_error", "TimeoutError"),
        (_hang, "hook_timeout", "took longer than 2 s"),
        (_cancel, "hook_error", "cancelled itself"),
        (_wrong, "hook_invalid_result", "returned str"),
    ],
)
async def test_R175_a_broken_hook_is_skipped(
    hooks: IdentityHooks, failures: Failures, fn: Any, kind: str, message: str
) -> None:
    hooks.add(HERE, fn, name="broken", timeout=2)
    hooks.add(HERE, says("next"))
    assert await ask(hooks) == "next"
    assert failures == [("broken", kind, message)]


async def test_a_cancelled_caller_is_cancelled(hooks: IdentityHooks, failures: Failures) -> None:
    hooks.add(HERE, _hang)
    asking = asyncio.create_task(ask(hooks))
    await asyncio.sleep(1)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    assert failures == []


def test_other_triggers_are_refused(hooks: IdentityHooks) -> None:
    with pytest.raises(ValueError, match="before_broadcast"):
        hooks.add("before_broadcast", says("x"))


async def test_nobody_has_to_listen_to_failures() -> None:
    hooks = IdentityHooks()
    hooks.add(HERE, _raise)
    assert await ask(hooks) is None
