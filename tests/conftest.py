"""How the tests are shared out among worker processes (``pytest -n 2 --dist loadgroup``), and what
each of them leaves as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent

IN_VIRTUAL_TIME = (HERE / "unit", HERE / "conformance", HERE / "db")
"""What a busy machine only slows down; everything else keeps time with sound, and runs in a row."""


@pytest.hookimpl(tryfirst=True)  # the workers' own hook reads the mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(folder in item.path.parents for folder in IN_VIRTUAL_TIME):
            item.add_marker(pytest.mark.xdist_group("real time"))


@pytest.fixture(autouse=True)
def path_as_before() -> Iterator[None]:
    """Where modules are found: whoever loads an agent puts its folder first."""
    before = list(sys.path)
    yield
    sys.path[:] = before
