"""Everything here runs in virtual time."""

from __future__ import annotations

from salon.testing.fixtures import *  # noqa: F403 - hooks and fixtures for pytest
