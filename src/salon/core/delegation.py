"""Methods of a facade that are methods of one of its services."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from salon.core.kit import RoomKit

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def via(
    service: Callable[[RoomKit], S], method: Callable[Concatenate[S, P], R]
) -> Callable[Concatenate[RoomKit, P], R]:
    """For the body of `RoomKit`: a method that calls `method` of the service that `service` finds.

    It has the parameters, the types and the docstring of `method`, and the name it is assigned to.
    `help` and `inspect.signature` see no difference to a method written out.
    """
    return cast("Callable[Concatenate[RoomKit, P], R]", _Delegate(service, method))


class _Delegate:
    """Stands in the body of a class until the class exists, then a plain function replaces it."""

    def __init__(self, service: Callable[[Any], Any], method: Callable[..., Any]) -> None:
        self._service = service
        self._method = method

    def __set_name__(self, owner: type, name: str) -> None:
        function = _forward(self._service, self._method)
        function.__name__ = name
        function.__qualname__ = f"{owner.__qualname__}.{name}"
        function.__module__ = owner.__module__
        setattr(owner, name, function)


def _forward(service: Callable[[Any], Any], method: Callable[..., Any]) -> Callable[..., Any]:
    target = method.__name__  # looked up when called: a service may have its own version
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def call_async(kit: Any, /, *args: Any, **kwargs: Any) -> Any:
            return await getattr(service(kit), target)(*args, **kwargs)

        return call_async

    @functools.wraps(method)
    def call(kit: Any, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(service(kit), target)(*args, **kwargs)

    return call
