"""What carries WebRTC calls, and what is said if nothing does (G149, G205, G286)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from salon.app import webrtc as module
from salon.app.metrics import Metrics
from salon.app.settings import Settings
from salon.app.webrtc import OFF, WebRtc
from salon.base import MissingExtraError
from salon.gateway.endpoints import Endpoint
from salon.gateway.webrtc import PATHS
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import IceServer, PacketPeer, PacketStatistics, PeerOptions
from salon.transport.sockets import Refusal
from salon.transport.ticker import Ticker

Client = Callable[..., TestClient]
TURN = IceServer(("turn:turn.example:3478?transport=udp",), "ann", "turn-secret")
STUN = IceServer(("stun:stun.example:3478",))


class Bench:
    """A `WebRtc` whose carrier is what the test gives it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.metrics = Metrics()
        self.settings = Settings(data_dir=folder / "data", **settings)
        self.webrtc = WebRtc(self.settings, Ticker(), self.metrics)
        self.asked: list[str] = []
        self.made: list[PeerOptions] = []
        self.closed = 0
        self.answer: WebRtcCarrier | MissingExtraError = self.carrier()

    def carrier(self, name: str = "aiortc", **changes: Any) -> WebRtcCarrier:
        return WebRtcCarrier(name, self._make, close=self._close, **changes)

    def _make(self, options: PeerOptions) -> PacketPeer:
        self.made.append(options)
        raise NotImplementedError

    def _close(self) -> None:
        self.closed += 1

    async def choose(self, wanted: str, _ticker: Ticker) -> WebRtcCarrier:
        self.asked.append(wanted)
        if isinstance(self.answer, MissingExtraError):
            raise self.answer
        return self.answer

    def refusals(self) -> dict[str, Refusal]:
        found = self.webrtc.endpoints()
        return {path: item for path, item in found.items() if isinstance(item, Refusal)}

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    def make(**settings: Any) -> Bench:
        made = Bench(tmp_path, **settings)
        monkeypatch.setattr(module, "choose_carrier", made.choose)
        return made

    return make


async def test_G286_switched_off_it_refuses_and_asks_for_no_library(
    bench: Callable[..., Bench],
) -> None:
    made = bench(webrtc="off")
    await made.webrtc.open()
    assert made.asked == []
    assert made.refusals() == dict.fromkeys(PATHS, Refusal(501, OFF))
    described = made.webrtc.describe()
    assert (described.name, described.note) == ("none", OFF)
    await made.webrtc.close()
    assert made.closed == 0


async def test_G286_missing_libraries_are_the_reason_of_the_refusal(
    bench: Callable[..., Bench],
) -> None:
    made = bench()
    made.answer = MissingExtraError("webrtc", "WebRTC (aiortc)")
    await made.webrtc.open()
    refusals = made.refusals()
    assert set(refusals) == set(PATHS)
    for refusal in refusals.values():
        assert refusal.status == 501
        assert "webrtc" in refusal.message
    assert "webrtc" in made.webrtc.describe().note


async def test_before_it_is_open_it_refuses(bench: Callable[..., Bench]) -> None:
    made = bench()
    assert {refusal.status for refusal in made.refusals().values()} == {501}


@pytest.mark.parametrize("wanted", ["auto", "aiortc", "native", "stock"])
async def test_G10_G149_an_open_carrier_takes_calls_with_the_settings(
    bench: Callable[..., Bench], wanted: str
) -> None:
    made = bench(webrtc=wanted, ice_servers=(TURN,), external_ip="192.0.2.9")
    await made.webrtc.open()
    assert made.asked == [wanted]
    endpoints = made.webrtc.endpoints()
    assert set(endpoints) == set(PATHS)
    for endpoint in endpoints.values():
        assert isinstance(endpoint, Endpoint)
        assert endpoint.call_type == "webrtc"
    calls = made.webrtc._calls
    assert calls is not None
    assert calls.options == PeerOptions(ice_servers=(TURN,), external_ip="192.0.2.9")
    assert made.webrtc.describe().note == "as packets, by aiortc's ICE and DTLS"
    await made.webrtc.close()
    await made.webrtc.close()
    assert made.closed == 1
    assert len(made.refusals()) == len(PATHS)


@pytest.mark.parametrize("degraded", [False, True])
async def test_a_slower_path_is_told(bench: Callable[..., Bench], degraded: bool) -> None:
    made = bench()
    note = "its stock path costs more CPU" if degraded else ""
    made.answer = made.carrier("aiortc-stock", note=note, degraded=degraded)
    await made.webrtc.open()
    assert made.value("salon_webrtc_stock_path") == degraded
    described = made.webrtc.describe()
    assert (described.name, described.note) == ("aiortc-stock", note or "aiortc's stock path")


async def test_connections_are_measured(bench: Callable[..., Bench]) -> None:
    made = bench()
    await made.webrtc.open()
    calls = made.webrtc._calls
    assert calls is not None
    calls.on_connected(0.25)
    calls.on_statistics(PacketStatistics(packets_received=7, lost=-1, unsent=2))
    assert made.value("salon_webrtc_connect_seconds_sum") == 0.25
    packets = {
        kind: made.value("salon_webrtc_packets_total", kind=kind)
        for kind in ("received", "lost", "unsent")
    }
    assert packets == {"received": 7, "lost": 0, "unsent": 2}


# -- servers for the browser ----------------------------------------------------------------------


def test_G205_the_servers_are_told_in_the_browsers_shape(client: Client) -> None:
    browser = client(ice_servers=(STUN, TURN))
    assert browser.get("/iceservers").json() == [
        {"urls": ["stun:stun.example:3478"]},
        {
            "urls": ["turn:turn.example:3478?transport=udp"],
            "username": "ann",
            "credential": "turn-secret",
            "credential_type": "password",
        },
    ]
    assert client().get("/iceservers").json() == []


def test_G205_turn_credentials_are_for_who_may_call(client: Client) -> None:
    key = "a-key-of-enough-length"
    browser = client(
        "192.0.2.1",
        "http://salon.example",
        ice_servers=(TURN,),
        api_key=key,
        host="0.0.0.0",
        allowed_hosts=frozenset({"salon.example"}),
    )
    refused = browser.get("/iceservers")
    assert refused.status_code == 401
    assert "turn-secret" not in refused.text
    allowed = browser.get("/iceservers", headers={"Authorization": f"Bearer {key}"})
    assert allowed.json()[0]["credential"] == "turn-secret"
    for path in ("/list", "/api/info", "/health", "/ready", "/metrics"):
        answer = browser.get(path, headers={"Authorization": f"Bearer {key}"})
        assert "turn-secret" not in answer.text, path
