"""Pytest fixtures; this module alone of the package needs pytest.

With pytest-asyncio, ``from salon.testing.fixtures import event_loop_policy`` in a ``conftest.py``
puts every asynchronous test and fixture below it into virtual time.
"""

from __future__ import annotations

import pytest

from salon.testing.loop import VirtualTimePolicy


@pytest.fixture(scope="session")
def event_loop_policy() -> VirtualTimePolicy:
    """What pytest-asyncio makes its loops with."""
    return VirtualTimePolicy()
