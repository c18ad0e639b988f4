"""``salon version``."""

from __future__ import annotations

import platform

import click


@click.command()
def version() -> None:
    """Print the versions of Salon and Python."""
    from salon.app.version import version as installed

    click.echo(f"salon {installed()} (Python {platform.python_version()}, {platform.system()})")
