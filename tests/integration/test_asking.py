"""Asking again forgives what was misheard, three times at most, and nothing else."""

from __future__ import annotations

import pytest
from tests.integration.asking import ask_until, plain


@pytest.mark.parametrize("wrong", [0, 1, 2])
async def test_it_counts_the_askings_and_tells_of_each_that_failed(
    wrong: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask(number: int) -> str:
        return "hours" if number >= wrong else f"ours {number}"

    assert await ask_until("hours", ask) == wrong + 1
    assert capsys.readouterr().out.count("instead of 'hours'") == wrong


async def test_three_times_misheard_is_wrong() -> None:
    asked = []

    async def ask(number: int) -> str:
        asked.append(number)
        return f"ours {number}"

    with pytest.raises(AssertionError, match=r"ours 0.*ours 1.*ours 2"):
        await ask_until("hours", ask)
    assert asked == [0, 1, 2]


async def test_what_the_asking_itself_demands_is_not_forgiven() -> None:
    asked = []

    async def ask(number: int) -> str:
        asked.append(number)
        raise AssertionError("packets got lost")

    with pytest.raises(AssertionError, match="got lost"):
        await ask_until("hours", ask)
    assert asked == [0]


def test_plain_takes_off_what_a_recogniser_adds() -> None:
    assert plain("What is Salon?") == "what is salon"
