"""From ``agent.py`` or ``package.module:name`` to the agent in it."""

from __future__ import annotations

import importlib
import itertools
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from salon.base import ConfigurationError
from salon.core.ports.ai import AIProvider
from salon.providers.agent import FunctionAgent

_numbers = itertools.count(1)
_ours: dict[str, frozenset[str]] = {}
"""The local modules each place brought in, which its next load drops."""


def load_agent(spec: str | Path) -> AIProvider:
    """Import the agent that `spec` names: ``agent.py``, ``agent.py:name``, ``package.module:name``.

    Without a name the module must hold one ``@agent``, or else one `AIProvider`. A file's folder
    comes first on the import path, for a module it is the working folder. Each call loads afresh:
    the file as a new module, and with it the local modules that an earlier load brought in.
    `ConfigurationError` if there is no such file, none or several agents, or if the import raises;
    then it holds the lines of the traceback that are the user's.
    """
    place, name = _parts(str(spec))
    if place.endswith(".py") or "/" in place or Path(place).is_file():
        module = _load_file(Path(place))
    else:
        module = _load_module(place)
    return _named(module, name, place) if name else _only(module, place)


def _parts(spec: str) -> tuple[str, str | None]:
    place, colon, name = spec.rpartition(":")
    if colon and name.isidentifier():
        if not place:
            raise ConfigurationError(f"agent {spec!r}: the file or module before ':' is missing")
        return place, name
    if colon and not Path(spec).exists():
        raise ConfigurationError(f"agent {spec!r}: {name!r} is no name of an agent")
    if not spec:
        raise ConfigurationError("no agent is named; use agent.py or package.module:name")
    return spec, None


def _load_file(path: Path) -> ModuleType:
    if not path.exists():
        raise ConfigurationError(f"agent {str(path)!r}: no such file")
    if not path.is_file():
        raise ConfigurationError(f"agent {str(path)!r} is not a file")
    file = path.resolve()
    folder = str(file.parent)
    _first_on_path(folder)
    name = f"salon_agent_{next(_numbers)}"
    spec = ModuleSpec(name, _FreshLoader(name, str(file)), origin=str(file))
    spec.has_location = True
    module = module_from_spec(spec)

    def run() -> ModuleType:
        sys.modules[name] = module
        try:
            _FreshLoader(name, str(file)).exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    return _imported(str(path), str(file), folder, run)


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(f"agent {name!r} is neither a file nor the name of a module")
    folder = str(Path.cwd())
    _first_on_path(folder)
    return _imported(name, name, folder, lambda: importlib.import_module(name))


def _imported(shown: str, key: str, folder: str, run: Callable[[], ModuleType]) -> ModuleType:
    for old in _ours.pop(key, ()):
        sys.modules.pop(old, None)
    importlib.invalidate_caches()
    before = frozenset(sys.modules)
    try:
        return run()
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and _is_part(error.name, shown):
            raise ConfigurationError(
                f"agent {shown!r}: there is no module {error.name!r}"
            ) from None
        raise ConfigurationError(f"{shown} can't be imported:\n{user_traceback(error)}") from error
    finally:
        new = frozenset(sys.modules) - before
        _ours[key] = frozenset(n for n in new if _is_local(sys.modules.get(n), folder))


def user_traceback(error: BaseException) -> str:
    """The traceback without the lines of the import machinery and of this module."""
    hidden = (__file__, "<frozen importlib", importlib.__file__)
    report = traceback.TracebackException.from_exception(error)
    frames = [frame for frame in report.stack if not frame.filename.startswith(hidden)]
    lines = [*traceback.format_list(frames), *report.format_exception_only()]
    return "".join(lines).rstrip()


def _only(module: ModuleType, place: str) -> AIProvider:
    found = {id(value): (name, value) for name, value in vars(module).items() if _answers(value)}
    agents = [(n, a) for n, a in found.values() if isinstance(a, FunctionAgent)]
    here = [(n, a) for n, a in agents if a.function.__module__ == module.__name__]
    candidates: list[tuple[str, Any]] = here or agents or list(found.values())
    if not candidates:
        raise ConfigurationError(
            f"{place} holds no agent: put @salon.agent on a function (turn, room)"
        )
    if len(candidates) > 1:
        names = _names(candidates)
        raise ConfigurationError(
            f"{place} holds several agents ({names}): name one, as {place}:{candidates[0][0]}"
        )
    agent: AIProvider = candidates[0][1]
    return agent


def _named(module: ModuleType, name: str, place: str) -> AIProvider:
    if not hasattr(module, name):
        others = _names((n, v) for n, v in vars(module).items() if _answers(v))
        raise ConfigurationError(f"{place} has no {name!r}; agents in it: {others or 'none'}")
    value = getattr(module, name)
    if isinstance(value, AIProvider):
        return value
    if isinstance(value, type) and issubclass(value, AIProvider):
        raise ConfigurationError(f"{place}:{name} is a class: name an instance of it")
    hint = ": put @salon.agent on it" if callable(value) else ""
    raise ConfigurationError(f"{place}:{name} is no agent but {type(value).__name__}{hint}")


def _names(candidates: Iterable[tuple[str, object]]) -> str:
    return ", ".join(sorted(name for name, _ in candidates))


def _answers(value: object) -> bool:
    return isinstance(value, AIProvider)


def _is_part(missing: str, wanted: str) -> bool:
    return wanted == missing or wanted.startswith(f"{missing}.")


def _is_local(module: ModuleType | None, folder: str) -> bool:
    """Whether the module is the user's own; Salon and what is installed are not, even if an
    environment stands in the same folder."""
    file = getattr(module, "__file__", None)
    if module is None or not file or module.__name__.partition(".")[0] == "salon":
        return False
    path = Path(file)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not installed and path.is_relative_to(folder)


def _first_on_path(folder: str) -> None:
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)


class _FreshLoader(SourceFileLoader):
    """Compiles from the source each time: cached bytecode may be as old as a second."""

    def path_stats(self, path: Any) -> Any:
        raise OSError("no cache")
