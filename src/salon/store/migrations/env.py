"""Alembic's entry: migrates over the connection it is given, inside its transaction."""

from __future__ import annotations

from alembic import context

from salon.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
