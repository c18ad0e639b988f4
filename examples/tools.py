"""An agent whose language model uses tools, and which still helps without one.

Run it: SALON_LLM_BASE_URL=http://127.0.0.1:11434/v1 SALON_LLM_MODEL=... salon dev examples/tools.py
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import salon


@salon.tool
def time_in(hours_from_utc: int = 0) -> str:
    """The time of day somewhere.

    hours_from_utc: how many hours the place is ahead of UTC, between -12 and 14
    """
    return (datetime.now(UTC) + timedelta(hours=hours_from_utc)).strftime("%H:%M")


@salon.tool
def convert(value: float, to: Literal["celsius", "fahrenheit"]) -> float:
    """Convert a temperature.

    value: the temperature in the other unit
    to: the unit wanted
    """
    degrees = (value - 32) / 1.8 if to == "celsius" else value * 1.8 + 32
    return round(degrees, 1)


@salon.agent(
    description="Knows the time and converts temperatures.",
    suggestions=["What time is it?", "How much is 20 degrees in Fahrenheit?"],
    phrases=["what time is it", "tell me the time"],
    tools=[time_in, convert],
    system="You help with times and temperatures. Use the tools; never guess.",
)
async def helper(turn, room):
    if room.has_llm:
        async for piece in room.llm(turn):
            yield piece
    elif "time" in turn.text.lower():
        yield f"It is {time_in()} in UTC."
    else:
        yield "Without a language model I only know the time. Ask me for it."
