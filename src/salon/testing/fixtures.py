"""Virtual time for pytest-asyncio; this module alone of the package needs pytest.

``from salon.testing.fixtures import *`` in a ``conftest.py`` puts every asynchronous test and
fixture in its folder into virtual time, with every version of the plugin from 0.25 on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pytest_asyncio import plugin

from salon.testing.loop import VirtualTimeLoop, VirtualTimePolicy

_specifications = getattr(plugin, "PytestAsyncioSpecs", None)
HAS_LOOP_FACTORIES = hasattr(_specifications, "pytest_asyncio_loop_factories")
"""The plugin asks for loops by a hook; older ones ask for a policy by a fixture."""

__all__ = ["pytest_asyncio_loop_factories" if HAS_LOOP_FACTORIES else "event_loop_policy"]


def pytest_asyncio_loop_factories(
    config: Any, item: Any
) -> Mapping[str, Callable[[], VirtualTimeLoop]]:
    """What pytest-asyncio makes its loops with."""
    del config, item
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(scope="session")
def event_loop_policy() -> VirtualTimePolicy:
    """The same for older versions."""
    return VirtualTimePolicy()
