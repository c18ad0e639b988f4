"""The migrations make what the schema says, on every engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Table, create_engine, insert, inspect, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable
from tests.unit.store.old_schema import check, fill, migrate

from salon.store import make_stores, schema
from salon.store.migrate import SCRIPTS, bring_up_to_date

OF_A_ROOM = {"events", "bindings", "participants", "tasks", "observations", "read_markers"}
TABLES = OF_A_ROOM | {"rooms", "calls", "identities", "addresses"}


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_migrations_and_schema_agree() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        bring_up_to_date(connection)
        bring_up_to_date(connection)
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        assert {*inspect(connection).get_table_names()} == TABLES | {"alembic_version"}
    engine.dispose()


def test_the_migrations_go_back() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        bring_up_to_date(connection)
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_R95_postgresql_gets_the_same_constraints() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    made = {name: str(CreateTable(table).compile(dialect=dialect)) for name, table in _tables()}
    assert made.keys() == TABLES
    assert "PRIMARY KEY (room_id, index)" in made["events"]
    assert "UNIQUE (room_id, idempotency_key, idempotency_channel_id)" in made["events"]
    assert "TIMESTAMP WITH TIME ZONE" in made["rooms"]
    assert "seq BIGSERIAL" in made["rooms"]
    for name in OF_A_ROOM:
        assert "REFERENCES rooms (id) ON DELETE CASCADE" in made[name]


def _tables() -> list[tuple[str, Table]]:
    return list(schema.metadata.tables.items())


def test_instants_are_kept_as_utc(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    schema.metadata.create_all(engine)
    elsewhere = datetime(2025, 3, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    naive = datetime(2025, 3, 1, 12, 0)
    row = {"id": "a", "handler": "h", "state": "live"}
    with engine.begin() as connection:
        connection.execute(insert(schema.calls), row | {"started_at": elsewhere, "ended_at": naive})
        found = connection.execute(select(schema.calls)).mappings().one()
    assert found["started_at"] == found["ended_at"] == datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
    assert found["started_at"].tzinfo is UTC
    engine.dispose()


async def test_a_database_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/old.db", json_serializer=schema.as_text)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()
    stores = make_stores(f"sqlite:///{tmp_path}/old.db")
    await stores.open()
    await check(stores.conversation)
    await stores.close()


def test_a_migrated_database_agrees_with_the_schema_and_goes_back() -> None:
    engine = create_engine("sqlite://", json_serializer=schema.as_text)
    with engine.begin() as connection:
        fill(connection)
        bring_up_to_date(connection)
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        migrate(connection, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()
