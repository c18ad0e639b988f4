"""A house opens in stages, closes the other way round, and does without what is optional."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from salon.app.house import House, Service
from salon.app.settings import Settings
from salon.base import ConfigurationError, UnavailableError
from salon.testing import virtual_time
from salon.transport.sockets import Refusal, UpgradeRequest

from .conftest import FakeGateway, fake_house

ASKED = UpgradeRequest("/ws", {}, {}, ("127.0.0.1", 1))


class Parts:
    """Services that write down what happens to them."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    def service(
        self,
        name: str,
        *,
        fails: Exception | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        **options: Any,
    ) -> Service:
        async def start() -> None:
            if fails is not None:
                raise fails
            self.happened.append(f"+{name}")

        async def stop() -> None:
            self.happened.append(f"-{name}")
            if close is not None:
                await close()

        return Service(name, start, stop, **options)


def house_of(settings: Settings, *stages: tuple[Service, ...]) -> House:
    return replace(fake_house(settings), stages=stages)


@virtual_time
async def test_stages_open_in_order_and_close_the_other_way_round() -> None:
    parts = Parts()
    house = house_of(Settings(), (parts.service("store"),), (parts.service("calls"),))
    await house.open()
    await house.open()
    assert house.ready
    await house.close()
    await house.close()
    assert not house.ready
    assert parts.happened == ["+store", "+calls", "-calls", "-store"]


@virtual_time
async def test_a_required_part_that_fails_closes_what_runs_and_its_error_rises() -> None:
    parts = Parts()
    house = house_of(
        Settings(),
        (parts.service("store"),),
        (parts.service("agent", fails=ConfigurationError("no such agent")),),
        (parts.service("calls"),),
    )
    with pytest.raises(ConfigurationError, match="no such agent"):
        await house.open()
    assert parts.happened == ["+store", "-store"]
    assert not house.ready


@pytest.mark.parametrize("error", [UnavailableError("gone"), OSError("gone"), ImportError("gone")])
def test_an_optional_part_may_fail_and_its_reason_is_kept(error: Exception) -> None:
    reasons: list[str] = []

    @virtual_time
    async def opened() -> None:
        parts = Parts()
        service = parts.service("speech", fails=error, on_failure=reasons.append)
        house = house_of(Settings(), (service, parts.service("store")))
        await house.open()
        assert house.ready
        await house.close()
        assert parts.happened == ["+store", "-store"]

    opened()
    assert reasons == ["gone"]


@virtual_time
async def test_a_bug_in_an_optional_part_is_no_missing_part() -> None:
    service = Parts().service("speech", fails=KeyError("bug"), on_failure=lambda _reason: None)
    with pytest.raises(KeyError):
        await house_of(Settings(), (service,)).open()


def test_a_part_that_does_not_close_holds_no_other_up(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()

    async def broken() -> None:
        raise ValueError("cannot close")

    async def forever() -> None:
        await asyncio.Event().wait()

    @virtual_time
    async def closed() -> None:
        house = house_of(
            Settings(),
            (parts.service("first"),),
            (parts.service("slow", close=forever, close_timeout=2.0),),
            (parts.service("broken", close=broken),),
        )
        await house.open()
        await house.close()

    closed()
    assert parts.happened[3:] == ["-broken", "-slow", "-first"]
    assert "slow did not close in 2 s" in caplog.text
    assert "broken failed to close" in caplog.text


@virtual_time
async def test_calls_are_taken_only_while_the_house_is_open() -> None:
    house = fake_house(Settings())
    refusal = house.accept(ASKED)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.headers["Retry-After"]) == (503, "5")
    await house.open()
    assert not isinstance(house.accept(ASKED), Refusal)
    await house.drain(3.0)
    assert isinstance(house.accept(ASKED), Refusal)
    assert house.draining
    assert cast(FakeGateway, house.gateway).drained == [3.0]


@virtual_time
async def test_the_metrics_follow_the_gateway_once_the_house_is_open() -> None:
    house = fake_house(Settings())
    await house.open()
    gateway = cast(FakeGateway, house.gateway)
    value = house.metrics.registry.get_sample_value
    assert (value("salon_calls_active"), value("salon_max_calls")) == (0, 2)
    gateway.handlers.append(cast(Any, object()))
    assert value("salon_calls_active") == 1
