"""Shows methods made by `via` with the signature and the docstring of the service's method."""

from __future__ import annotations

import copy
from typing import Any

import griffe


class Via(griffe.Extension):
    """`name = via(lambda kit: ..., Service.method)` in `RoomKit` reads as a method `name`."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """The whole package is known: services come before or after the facade."""
        if "core.kit" not in pkg.modules and "core" not in pkg.modules:
            return
        facade = pkg["core.kit.RoomKit"]
        for name, member in list(facade.members.items()):
            value = getattr(member, "value", None)
            if isinstance(value, griffe.ExprCall) and str(value.function) == "via":
                service, method = str(value.arguments[1]).split(".")
                path = facade.module.resolve(service).removeprefix(f"{pkg.name}.")
                function = copy.copy(pkg[path][method])
                function.name, function.lineno, function.endlineno = name, *_lines(member)
                facade.set_member(name, function)


def _lines(member: Any) -> tuple[int | None, int | None]:
    return member.lineno, member.endlineno
