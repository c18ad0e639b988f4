"""From a function's signature and docstring to what a language model is told about it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import (
    PydanticInvalidForJsonSchema,
    PydanticSchemaGenerationError,
    PydanticUserError,
)

from salon.base import ConfigurationError

_PARAMETER = re.compile(r"(?::param\s+)?\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s+(\S.*)")
_ARGUMENTS = re.compile(r"(args|arguments|parameters|params):?", re.IGNORECASE)
_OTHER = re.compile(r"(returns?|raises?|yields?|examples?):|:(returns?|raises?|rtype)\b", re.I)


@dataclass(frozen=True, slots=True)
class Description:
    """A docstring in parts: the text about the function, and one for each parameter named."""

    text: str
    parameters: Mapping[str, str]


def describe(doc: str | None, names: Iterable[str]) -> Description:
    """Take a docstring apart: lines ``name: text`` or ``:param name: text``, with or without a
    heading ``Args:``. What is told about results and errors is left out."""
    known = frozenset(names)
    text: list[str] = []
    parameters: dict[str, str] = {}
    current: str | None = None
    depth = 0
    for line in (doc or "").splitlines():
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        match = _PARAMETER.fullmatch(bare)
        if match is not None and match[1] in known:
            current, depth = match[1], indent
            parameters[current] = match[2].strip()
        elif _OTHER.match(bare):
            break
        elif bare and current is not None and indent > depth:
            parameters[current] += f" {bare}"
        elif not _ARGUMENTS.fullmatch(bare):
            current = None
            text.append(bare)
    return Description("\n".join(text).strip(), parameters)


def arguments_model(
    function: Callable[..., Any], descriptions: Mapping[str, str]
) -> tuple[type[BaseModel], dict[str, str]]:
    """A model of the arguments, and the model's field for each parameter.

    Fields have names of their own, since a parameter may be called ``json`` or ``_x``, which a
    model can't. `ConfigurationError` names the parameter that can't be used.
    """
    hints = _hints(function)
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        name = parameter.name
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise _wrong(function, f"parameter {parameter} can't be given by name")
        if name not in hints:
            raise _wrong(function, f"parameter {name!r} has no type hint")
        default = ... if parameter.default is parameter.empty else parameter.default
        names[name] = f"field_{position}"
        fields[names[name]] = (
            hints[name],
            Field(default, alias=name, description=descriptions.get(name)),
        )
    try:
        model = create_model(
            f"{function.__name__}_arguments", __config__=ConfigDict(extra="forbid"), **fields
        )
        schema_of(model)
    except (
        PydanticSchemaGenerationError,
        PydanticInvalidForJsonSchema,
        PydanticUserError,
        ValueError,  # an older pydantic, of a type without a signature
    ) as error:
        why = str(error).splitlines()[0]
        raise _wrong(function, f"a parameter's type can't be given as JSON: {why}") from error
    return model, names


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of `model`, without titles, which only cost the model's attention."""
    schema: dict[str, Any] = _untitled(model.model_json_schema(by_alias=True))
    schema.pop("description", None)
    schema.setdefault("properties", {})
    return schema


def _untitled(node: Any, *, names: bool = False) -> Any:
    """`names` says that the keys of `node` are names of properties, among them perhaps "title"."""
    if isinstance(node, dict):
        return {
            key: _untitled(value, names=not names and key in ("properties", "$defs"))
            for key, value in node.items()
            if names or key != "title" or not isinstance(value, str)
        }
    if isinstance(node, list):
        return [_untitled(item) for item in node]
    return node


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise _wrong(function, f"a type hint names something unknown: {error}") from error
    except TypeError as error:
        raise _wrong(function, f"a type hint is no type: {error}") from error


def _wrong(function: Callable[..., Any], what: str) -> ConfigurationError:
    return ConfigurationError(f"tool {function.__qualname__}: {what}")
