"""Trying again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.core.resilience import (
    RetryPolicy,
    RetrySchedule,
    call_with_retry,
    is_retryable,
    retry_delay,
)
from salon.testing import VirtualClock


class ProviderError(Exception):
    """With an opinion of its own on whether to try again."""

    def __init__(self, retryable: Any) -> None:
        super().__init__("meant")
        self.retryable = retryable


class Flaky:
    """Fails with these errors, then works."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.at: list[float] = []

    async def __call__(self) -> str:
        self.at.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_R191_delays_grow_up_to_the_limit() -> None:
    policy = RetryPolicy()
    assert [retry_delay(policy, n) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    steady = RetryPolicy(base_delay_seconds=0.5, exponential_base=1)
    assert [retry_delay(steady, n) for n in range(3)] == [0.5, 0.5, 0.5]
    capped = RetryPolicy(base_delay_seconds=10, max_delay_seconds=3)
    assert retry_delay(capped, 0) == 3


def test_R191_no_number_of_retries_is_too_large() -> None:
    assert retry_delay(RetryPolicy(), 100_000) == 60


@pytest.mark.parametrize(
    ("error", "names", "expected"),
    [
        (ValueError(), None, True),
        (ProviderError(True), None, True),
        (ProviderError(False), None, False),
        (ProviderError(True), [], True),
        (ProviderError(False), ["ProviderError"], False),
        (ProviderError("maybe"), [], False),
        (ProviderError(None), ["ProviderError"], True),
        (ConnectionResetError(), ["ConnectionResetError"], True),
        (ConnectionResetError(), ["OSError"], True),
        (ConnectionResetError(), ["TimeoutError"], False),
        (TimeoutError(), None, True),
        (asyncio.CancelledError(), None, False),
        (KeyboardInterrupt(), ["KeyboardInterrupt"], False),
    ],
)
def test_R192_which_errors_are_tried_again(
    error: BaseException, names: list[str] | None, expected: bool
) -> None:
    assert is_retryable(error, RetryPolicy(retryable_errors=names)) is expected


def test_R192_without_a_policy_nothing_is_tried_again() -> None:
    assert RetrySchedule(None).failed(ValueError()) is None


def test_R191_attempts_are_one_more_than_retries() -> None:
    schedule = RetrySchedule(RetryPolicy(max_retries=2))
    assert [schedule.failed(ValueError()) for _ in range(4)] == [1, 2, None, None]
    assert schedule.retries == 2


async def test_R191_attempts_come_when_due() -> None:
    operation, heard = Flaky(*(ValueError(str(n)) for n in range(3))), []
    result = await call_with_retry(
        RetryPolicy(max_retries=3),
        operation,
        clock=VirtualClock(),
        on_retry=lambda error, number, delay: heard.append((str(error), number, delay)),
    )
    assert result == "done"
    assert [at - operation.at[0] for at in operation.at] == pytest.approx([0, 1, 3, 7])
    assert heard == [("0", 1, 1.0), ("1", 2, 2.0), ("2", 3, 4.0)]


async def test_R191_the_last_error_is_raised() -> None:
    operation = Flaky(*(ValueError(str(n)) for n in range(9)))
    with pytest.raises(ValueError, match="2"):
        await call_with_retry(RetryPolicy(max_retries=2), operation, clock=VirtualClock())
    assert len(operation.at) == 3


@pytest.mark.parametrize(
    ("policy", "error"),
    [(None, ValueError("x")), (RetryPolicy(max_retries=0), ValueError("x")),
     (RetryPolicy(), ProviderError(False)), (RetryPolicy(), asyncio.CancelledError())],
)  # fmt: skip
async def test_R192_what_is_not_to_be_tried_again_stops_at_once(
    policy: RetryPolicy | None, error: BaseException
) -> None:
    operation = Flaky(error)
    with pytest.raises(type(error)):
        await call_with_retry(policy, operation, clock=VirtualClock())
    assert len(operation.at) == 1
