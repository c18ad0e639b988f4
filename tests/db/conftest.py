"""One server for the session, one database per module or test."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.db.server import Server, give_up, new_server

from salon.store import Stores, make_stores

_NUMBERS = itertools.count()

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.db)


def _run() -> Iterator[Server]:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        give_up('needs psycopg: pip install "salon[postgres]"')
    server = new_server()
    try:
        server.start()
        yield server
    finally:
        try:
            server.stop("immediate")
        finally:
            shutil.rmtree(server.folder)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Runs all the time."""
    yield from _run()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """To be stopped and started at will."""
    yield from _run()


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """Past the store, in a connection and transaction of its own."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """A database with the tables and nothing in them, made once."""
    import asyncio

    execute(server.url("postgres"), "CREATE DATABASE template")

    async def fill() -> None:
        stores = make_stores(server.url("template"))
        await stores.open()
        await stores.close()

    asyncio.run(fill())
    return "template"


@pytest.fixture
def new_database(server: Server) -> Callable[[str], str]:
    """Makes an empty database, after a template, and gives its URL."""

    def make(template: str = "template0") -> str:
        name = f"test{next(_NUMBERS)}"
        execute(server.url("postgres"), f"CREATE DATABASE {name} TEMPLATE {template}")
        return server.url(name)

    return make


@pytest.fixture
def url(template: str, new_database: Callable[[str], str]) -> str:
    """Of a database with empty tables."""
    return new_database(template)


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    """Open stores on `url`."""
    stores = make_stores(url)
    await stores.open()
    yield stores
    await stores.close()
