"""Flags made from the table of settings, so that both say and check the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from salon.app.settings import VARIABLES, Settings, load_settings
from salon.app.variables import Variable, switch

F = TypeVar("F", bound=Callable[..., Any])
_BY_FIELD = {variable.field: variable for variable in VARIABLES}

SERVER = (
    "host",
    "port",
    "max_calls",
    "tls_cert",
    "tls_key",
    "tls_self_signed",
    "log_level",
    "shutdown_timeout",
)
CALLS = ("external_ip", "codecs")
SPEECH = ("stt", "tts", "tts_voice", "recording")
PLACES = ("data_dir", "knowledge_dir", "llm_base_url", "llm_model")


def setting_options(*fields: str) -> Callable[[F], F]:
    """Flags for these settings. The command gets them as keyword arguments, None if not given."""

    def decorate(function: F) -> F:
        decorated: Any = click.option(
            "--env-file",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            default=None,
            help="Read settings from this file instead of .env.",
        )(function)
        for name in reversed(fields):
            decorated = _option(_BY_FIELD[name])(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _option(variable: Variable) -> Callable[[F], F]:
    flag = variable.field.replace("_", "-")
    shown = f"{variable.doc} [{variable.name}]"
    if variable.parse is switch:
        return click.option(f"--{flag}/--no-{flag}", default=None, help=shown)

    def parse(_context: click.Context, param: click.Parameter, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return variable.parse(text)
        except ValueError as error:
            raise click.BadParameter(f"{text!r}: {error}", param=param) from None

    metavar = variable.field.rpartition("_")[2].upper()
    return click.option(f"--{flag}", metavar=metavar, default=None, callback=parse, help=shown)


def settings_from(flags: dict[str, Any], **more: Any) -> Settings:
    """The settings with `flags` (as a command got them) over everything else."""
    overrides = {**flags, **more}
    env_file = overrides.pop("env_file", None) or Path(".env")
    return load_settings(env_file=env_file, overrides=overrides)
