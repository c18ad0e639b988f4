"""The setting that has answers begun early reaches the calls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salon.app.compose import compose
from salon.app.settings import Settings, load_settings
from salon.base import ConfigurationError
from salon.gateway import Gateway
from salon.gateway.query import CallQuery
from salon.gateway.room import RoomHandler


@pytest.mark.parametrize("after_ms", [None, 120])
async def test_the_pause_reaches_the_calls(settings: Settings, after_ms: int | None) -> None:
    assert settings.speculate_after_ms is None
    house = compose(replace(settings, stt="none", tts="none", speculate_after_ms=after_ms))
    assert isinstance(house.gateway, Gateway)
    handler = house.gateway.services.handler_for(CallQuery(handler="room", room="r"))
    assert isinstance(handler, RoomHandler)
    assert handler._turns.speculate_after_ms == after_ms


def test_it_is_at_least_a_window_long() -> None:
    assert load_settings({"SALON_SPECULATE_AFTER_MS": "32"}).speculate_after_ms == 32
    with pytest.raises(ConfigurationError, match="SALON_SPECULATE_AFTER_MS"):
        load_settings({"SALON_SPECULATE_AFTER_MS": "31"})
