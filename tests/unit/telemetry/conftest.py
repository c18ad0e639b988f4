"""A framework whose telemetry is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.core.ports.telemetry import TelemetryConfig, TelemetryProvider
from salon.telemetry import MockTelemetryProvider

MakeKit = Callable[..., RoomKit]


@pytest.fixture
def telemetry() -> MockTelemetryProvider:
    return MockTelemetryProvider()


@pytest.fixture
def make_kit() -> MakeKit:
    """``make_kit(telemetry, **options)``: a `RoomKit` that tells `telemetry`."""

    def make(telemetry: TelemetryProvider | TelemetryConfig, **options: Any) -> RoomKit:
        return RoomKit(telemetry=telemetry, **options)

    return make
