"""Which carrier a process gets, and what is said when it is not the one it should be."""

from __future__ import annotations

import builtins
import logging
from typing import Any

import pytest

from salon.base import MissingExtraError
from salon.transport import aiortc_hook
from salon.transport.carriers import choose_carrier
from salon.transport.packets import PeerOptions
from salon.transport.ticker import Ticker


@pytest.fixture(autouse=True)
def unprobed() -> Any:
    aiortc_hook._verdict.cache_clear()
    yield
    aiortc_hook._verdict.cache_clear()


@pytest.mark.parametrize("wanted", ["auto", "aiortc"])
async def test_packets_are_taken_where_they_can_be_had(wanted: str) -> None:
    carrier = await choose_carrier(wanted, Ticker())
    assert (carrier.name, carrier.degraded, carrier.note) == ("aiortc", False, "")
    peer = carrier.make(PeerOptions())
    assert peer.carrier == "aiortc"
    await peer.close()


async def test_the_stock_path_can_be_asked_for() -> None:
    carrier = await choose_carrier("stock", Ticker())
    assert (carrier.name, carrier.degraded) == ("aiortc-stock", False)
    peer = carrier.make(PeerOptions())
    assert peer.carrier == "aiortc-stock"
    await peer.close()


async def test_without_the_hook_the_stock_path_is_taken_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def datagram_received(self: object, data: bytes, addr: object) -> None:
        """What another version of aioice might do."""

    monkeypatch.setattr(aiortc_hook.StunProtocol, "datagram_received", datagram_received)
    with caplog.at_level(logging.WARNING, "salon.transport"):
        carrier = await choose_carrier("auto", Ticker())
    assert (carrier.name, carrier.degraded) == ("aiortc-stock", True)
    assert "does not pass" in carrier.note
    assert carrier.note in caplog.text


async def test_the_hook_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await aiortc_hook.probe() is None
    monkeypatch.setattr(aiortc_hook, "_probe", None)
    assert await aiortc_hook.probe() is None


async def test_a_hook_that_breaks_otherwise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aiortc_hook.Connection, "data_received")
    reason = await aiortc_hook.probe()
    assert reason is not None
    assert reason.startswith("AttributeError")


async def test_G286_missing_libraries_are_named_with_their_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without_aiortc(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("salon.transport.aiortc_"):
            raise ImportError("No module named 'aiortc'", name="aiortc")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_aiortc)
    with pytest.raises(MissingExtraError, match=r"salon\[webrtc\]"):
        await choose_carrier("auto", Ticker())
