"""Stores from a URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import salon.store
from salon.base import ConfigurationError, MissingExtraError
from salon.core.memory.store import MemoryStore
from salon.store import SqlStore, make_stores
from salon.store import factory as factory_module


async def test_memory_needs_no_file() -> None:
    stores = make_stores("memory://")
    assert isinstance(stores.conversation, MemoryStore)
    await stores.open()
    assert await stores.calls.list_calls() == []
    await stores.close()


async def test_sqlite_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, path in (("sqlite:///data/a.db", "data/a.db"), (f"sqlite:///{tmp_path}/b", "b")):
        stores = make_stores(url)
        assert isinstance(stores.conversation, SqlStore)
        assert not (tmp_path / path).exists()
        await stores.open()
        assert (tmp_path / path).is_file()
        await stores.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "salon.db",
        "/var/salon.db",
        "postgresql://host/db",
        "sqlite",
        "sqlite:salon.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite://salon.db",
        "sqlite:///folder/",
        "sqlite:///:memory:",
        "sqlite:///file:salon.db",
        "sqlite:///salon.db?mode=ro",
        "sqlite:///sal\0on.db",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"memory://|no parameters"):
        make_stores(url)


def test_credentials_do_not_reach_the_message() -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_stores("postgresql://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory_module, "find_spec", lambda name: None)
    assert make_stores("memory://")
    with pytest.raises(MissingExtraError, match=r"salon\[store\]"):
        make_stores("sqlite:///salon.db")


def test_the_package_without_sqlalchemy() -> None:
    script = """
import sys
sys.modules["sqlalchemy"] = None
import salon.store
from salon.base import MissingExtraError
salon.store.make_stores("memory://")
try:
    salon.store.SqlStore
except MissingExtraError as error:
    print(error.extra)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["store"]


def test_importing_the_package_loads_no_sql() -> None:
    script = "import sys, salon.store; print('sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False"]


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(salon.store, "Nothing")
