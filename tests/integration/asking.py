"""Questions that may be asked again: on a busy machine a recogniser may mishear one of them.

For tests of what carries a question. What they demand of the carrier they demand every time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

MOST_ASKINGS: Final = 3


async def ask_until(
    wanted: object, ask: Callable[[int], Awaitable[object]], *, most: int = MOST_ASKINGS
) -> int:
    """Call `ask` with 0, 1, … until `wanted` is what was understood; how many times it took.

    `AssertionError` with all that was understood instead after `most` times. What `ask` itself
    asserts is not forgiven once. Each misunderstanding is printed, for the report of the run.
    """
    misheard: list[object] = []
    for number in range(most):
        found = await ask(number)
        if found == wanted:
            return number + 1
        misheard.append(found)
        print(f"\nasking {number + 1} of {most}: {found!r} instead of {wanted!r}")
    raise AssertionError(f"asked {most} times for {wanted!r}, understood {misheard}")


def plain(text: str) -> str:
    """Recognised words without what a recogniser adds to them."""
    return text.lower().rstrip("?.")
