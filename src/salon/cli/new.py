"""``salon new``: a project that runs, with one agent, its test and its packaging."""

from __future__ import annotations

import re
import sys
from keyword import iskeyword
from pathlib import Path
from string import Template

import click

_TEMPLATES = Path(__file__).parent / "starter"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@click.command()
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Folder to make the project in; default: here.",
)
def new(name: str, into: Path) -> None:
    """Make a starter project called NAME: an agent, its test, a README, pyproject.toml."""
    if not _NAME.fullmatch(name):
        raise click.UsageError(
            f"{name!r} is no name for a project: letters, digits, - and _, a letter first"
        )
    taken = taken_by(name)
    if taken is not None:
        raise click.UsageError(f"{name!r} is the name of {taken}; choose another")
    target = into / name
    if target.exists():
        raise click.UsageError(f"{target} exists already")
    try:
        for path, text in starter_files(name).items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{target} can't be made: {error.strerror}") from None
    click.echo(
        f"made {target}\n\n  cd {target}\n  salon dev agent.py\n\nand open the page it names."
    )


def taken_by(name: str) -> str | None:
    """Whose the name is already; an import of it would find that instead of the project."""
    package = _package(name)
    if package == "salon":
        return "Salon itself"
    if package in sys.stdlib_module_names:
        return "a module of Python's standard library"
    return "a word of Python's own" if iskeyword(package) else None


def _package(name: str) -> str:
    return name.lower().replace("-", "_")


def starter_files(name: str) -> dict[str, str]:
    """The files of the project, by their paths."""
    found = {}
    for file in sorted(_TEMPLATES.rglob("*.tmpl")):
        path = file.relative_to(_TEMPLATES).as_posix().removesuffix(".tmpl").replace("dot_", ".")
        found[path] = Template(file.read_text(encoding="utf-8")).substitute(
            name=name, package=_package(name)
        )
    return found
