"""Stores from a URL."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import salon.store
from salon.base import ConfigurationError, MissingExtraError, UnavailableError
from salon.core.memory.store import InMemoryStore
from salon.store import PostgresStore, SqlStore, make_stores
from salon.store import factory as factory_module


async def test_memory_needs_no_file() -> None:
    stores = make_stores("memory://")
    assert isinstance(stores.conversation, InMemoryStore)
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
        "mysql://host/db",
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


async def test_postgresql_connects_only_when_opened() -> None:
    stores = make_stores("postgresql://ann:secret@localhost:1/db?sslmode=prefer")
    assert isinstance(stores.conversation, PostgresStore)
    for shown in (repr(stores), repr(stores.conversation), repr(stores.conversation.database)):
        assert "secret" not in shown
    assert repr(stores.conversation) == (
        "PostgresStore('postgresql://ann:***@localhost:1/db?sslmode=prefer')"
    )
    with pytest.raises(UnavailableError, match="refused") as caught:
        await stores.open()
    assert "secret" not in str(caught.value)
    with pytest.raises(UnavailableError, match="not open"):
        await stores.conversation.list_rooms()
    await stores.close()


def test_postgres_is_an_accepted_scheme() -> None:
    assert isinstance(make_stores("postgres:///db").conversation, PostgresStore)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql:ann:secret@host/db", "not a store URL"),
        ("postgresql://ann:secret@host:port/db", "not a PostgreSQL URL"),
        ("postgresql://ann:secret@host", "names no database"),
        ("postgresql://ann:secret@host/", "names no database"),
        ("postgresql://ann@host/db?password=secret", "does not take password"),
        ("postgresql://ann@host/db?options=-csecret", "does not take options"),
        ("mysql://ann:secret@host/db", "not a store URL"),
    ],
)
def test_credentials_do_not_reach_the_message(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        make_stores(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


async def test_a_pool_needs_two_connections() -> None:
    store = PostgresStore("postgresql://localhost:1/db", pool_size=1)
    with pytest.raises(ConfigurationError, match="2 connections"):
        await store.open()
    with pytest.raises(UnavailableError, match="refused"):
        await store.init(max_size=2)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory_module, "find_spec", lambda name: None)
    assert make_stores("memory://")
    with pytest.raises(MissingExtraError, match=r"salon\[store\]"):
        make_stores("sqlite:///salon.db")
    with pytest.raises(MissingExtraError, match=r"salon\[postgres\]"):
        make_stores("postgresql://host/db")


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


@pytest.mark.parametrize("missing", ["sqlalchemy", "psycopg"])
def test_postgres_without_its_extra(missing: str) -> None:
    script = f"""
import sys
sys.modules[{missing!r}] = None
import salon.store
from salon.base import MissingExtraError
try:
    salon.store.PostgresStore("postgresql://host/db")
except MissingExtraError as error:
    print(error.extra)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["postgres"]


def test_importing_the_package_loads_no_sql() -> None:
    script = "import sys, salon.store; print('sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False"]


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(salon.store, "Nothing")
