"""Every asynchronous test and fixture here runs in virtual time; this is all that it takes."""

from __future__ import annotations

from salon.testing.fixtures import *  # noqa: F403 - hooks and fixtures for pytest
