"""The command group. A command's module is imported when the command is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from salon.base import ConfigurationError, MissingExtraError, SalonError
from salon.cli import USAGE

COMMANDS = ("serve", "dev", "console", "new", "probe", "doctor", "version")
_EXTRAS = {
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "watchfiles": "serve",
    "dotenv": "serve",
    "numpy": "voice",
    "av": "codecs",
    "G722": "codecs",
    "websockets": "client",
    "httpx": "openai",
    "sqlalchemy": "store",
    "alembic": "store",
}


class WrongSettings(click.ClickException):
    """The settings don't allow what was asked."""

    exit_code = USAGE


class SalonGroup(click.Group):
    """Finds the commands in their modules and says Salon's own errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"salon.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            missing = as_missing_extra(error)
            if missing is None:
                raise
            raise said(missing) from None
        except SalonError as error:
            raise said(error) from None
        except KeyboardInterrupt:
            from salon.cli.running import INTERRUPTED

            sys.exit(INTERRUPTED)


def as_missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The extra that brings the module which was not found, if one of ours does."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    return MissingExtraError(extra, "this command") if extra else None


def said(error: SalonError) -> click.ClickException:
    """The error as click prints it: one line, exit code 2 for settings and 1 for the rest."""
    wrong = isinstance(error, ConfigurationError)
    return WrongSettings(str(error)) if wrong else click.ClickException(str(error))


@click.group(cls=SalonGroup, context_settings={"help_option_names": ["-h", "--help"]})
def salon() -> None:
    """Live conversation between people and AI agents.

    Start with `salon serve` and open the address it prints, or make an agent of your own
    with `salon new my-agent`.

    \b
    Exit codes: 0 done · 1 tried and failed · 2 wrong usage or settings · 130 interrupted
    """
