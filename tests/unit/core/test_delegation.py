"""What a method made by `via` has of a method written out."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest

from salon.core.delegation import via
from salon.core.kit import RoomKit


class Counter:
    """A service."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, step: int = 1, /, *others: int, twice: bool = False) -> int:
        """Count on."""
        self.count += (step + sum(others)) * (1 + twice)
        return self.count

    async def later(self, step: int, *, service: int = 0) -> int:
        """Count on, some time."""
        return self.add(step + service)


class Facade(RoomKit):
    """Named as a method is assigned."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()

    count_on = via(lambda kit: _counter(kit), Counter.add)
    count_later = via(lambda kit: _counter(kit), Counter.later)
    again = count_on


def _counter(kit: RoomKit) -> Counter:
    assert isinstance(kit, Facade)
    return kit.counter


@pytest.fixture
def facade() -> Facade:
    return Facade()


async def test_arguments_go_to_the_service_and_its_results_come_back(facade: Facade) -> None:
    assert facade.count_on() == 1
    assert facade.count_on(2, 3, twice=True) == 11
    assert await facade.count_later(4, service=5) == 20
    assert facade.counter.count == 20


def test_each_instance_has_its_own_service() -> None:
    one, other = Facade(), Facade()
    one.count_on()
    assert (one.counter.count, other.counter.count) == (1, 0)


@pytest.mark.parametrize(
    ("made", "written", "name"),
    [
        (Facade.count_on, Counter.add, "count_on"),
        (Facade.count_later, Counter.later, "count_later"),
        (Facade.again, Counter.add, "again"),
    ],
)
def test_a_method_is_as_if_written_out(made: Any, written: Any, name: str) -> None:
    assert inspect.isfunction(made)
    assert (made.__name__, made.__qualname__) == (name, f"Facade.{name}")
    assert made.__module__ == __name__
    assert made.__doc__ == written.__doc__
    assert inspect.signature(made) == inspect.signature(written)
    assert get_type_hints(made) == get_type_hints(written)
    assert inspect.iscoroutinefunction(made) == inspect.iscoroutinefunction(written)


def test_bound_to_an_instance_it_takes_no_self(facade: Facade) -> None:
    assert list(inspect.signature(facade.count_later).parameters) == ["step", "service"]


def test_wrong_arguments_are_refused_as_the_service_refuses_them(facade: Facade) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'thrice'"):
        facade.count_on(thrice=True)  # type: ignore[call-arg]


async def test_a_service_may_have_its_own_version_of_a_method(facade: Facade) -> None:
    class Stubborn(Counter):
        def add(self, step: int = 1, /, *others: int, twice: bool = False) -> int:
            return 0

    facade.counter = Stubborn()
    assert facade.count_on(7) == 0
    assert await facade.count_later(7) == 0


async def test_what_a_service_raises_rises(facade: Facade) -> None:
    class Broken(Counter):
        async def later(self, step: int, *, service: int = 0) -> int:
            raise OSError("no")

    facade.counter = Broken()
    with pytest.raises(OSError, match="no"):
        await facade.count_later(1)


async def test_a_subclass_may_write_a_method_out() -> None:
    class Louder(Facade):
        async def count_later(self, step: int, *, service: int = 0) -> int:
            return 10 * await super().count_later(step, service=service)

    assert await Louder().count_later(2) == 20
