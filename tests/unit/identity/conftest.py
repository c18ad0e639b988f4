"""Everything here runs in virtual time: a timeout costs nothing and a deadlock is an error."""

from salon.testing.fixtures import *  # noqa: F403 - hooks and fixtures for pytest
