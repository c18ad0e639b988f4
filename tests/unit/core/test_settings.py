"""What a `RoomKit` is made of is looked at when it is made."""

from __future__ import annotations

from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.core.kit import RoomKit
from salon.models import EventType, PersistencePolicy


@pytest.mark.parametrize("wrong", [{EventType.MESSAGE}, "all", True, PersistencePolicy])
def test_R101_what_is_no_policy_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"persistence_policy=.*PersistencePolicy\("):
        RoomKit(persistence_policy=wrong)
