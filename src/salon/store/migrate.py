"""Brings a database to the newest schema."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from salon.base import ConfigurationError
from salon.store.schema import HEAD

SCRIPTS = Path(__file__).with_name("migrations")


def bring_up_to_date(connection: Connection) -> None:
    """Create or migrate the tables inside the transaction of `connection`.

    `ConfigurationError` if a newer Salon wrote the database.
    """
    if _revision(connection) == HEAD:
        return  # the usual start does not load Alembic
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    revision = _revision(connection)
    if revision is not None and revision not in known:
        raise ConfigurationError(
            f"the database has schema {revision!r}, but this version of Salon knows no schema "
            f"newer than {HEAD!r}: use the Salon that wrote it, or a newer one"
        )
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    value = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if value is None else str(value)
