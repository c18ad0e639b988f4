"""Calls over WebRTC, if their libraries are there."""

from __future__ import annotations

import logging

from salon.app.house import EngineInfo
from salon.app.metrics import Metrics
from salon.app.settings import Settings
from salon.base import SalonError
from salon.gateway.endpoints import Endpoints
from salon.gateway.webrtc import PATHS, WebRtcCalls
from salon.media.packet_codecs import make_packet_encoder
from salon.transport.carriers import choose_carrier
from salon.transport.packets import PeerOptions
from salon.transport.sockets import Refusal
from salon.transport.ticker import Ticker

_log = logging.getLogger("salon.app")

OFF = "calls over WebRTC are switched off (SALON_WEBRTC=off)"
NOTES = {
    "aiortc": "as packets, by aiortc's ICE and DTLS",
    "aiortc-stock": "aiortc's stock path",
    "libdatachannel": "as packets, by libdatachannel",
}


def codec_installed(encoding: str) -> bool:
    """Whether sound in a format can be coded here; what can't is not agreed on."""
    if encoding == "telephone-event":
        return True
    try:
        make_packet_encoder(encoding)
    except SalonError as error:
        _log.warning("calls over WebRTC do without %s: %s", encoding, error)
        return False
    return True


def formats(codecs: tuple[str, ...]) -> tuple[str, ...]:
    """What may be agreed on: of `codecs`, or of all, what can be coded here."""
    return tuple(
        item
        for item in PeerOptions().formats
        if (not codecs or item.lower().replace("-", "_") in codecs) and codec_installed(item)
    )


class WebRtc:
    """Chooses the carrier when the server opens; without one the endpoint refuses with the reason
    (G286)."""

    def __init__(self, settings: Settings, ticker: Ticker, metrics: Metrics) -> None:
        self._settings = settings
        self._ticker = ticker
        self._metrics = metrics
        self._missing = OFF if settings.webrtc == "off" else "WebRTC is not ready"
        self._calls: WebRtcCalls | None = None

    def endpoints(self) -> Endpoints:
        """What the gateway has on the paths of WebRTC."""
        if self._calls is not None:
            return self._calls.paths()
        return dict.fromkeys(PATHS, Refusal(501, self._missing))

    async def open(self) -> None:
        """Try the libraries; what is missing is said and the rest of the server works."""
        if self._settings.webrtc == "off":
            return
        try:
            carrier = await choose_carrier(self._settings.webrtc, self._ticker)
        except SalonError as error:
            self._missing = str(error)
            return
        options = PeerOptions(
            ice_servers=self._settings.ice_servers,
            external_ip=self._settings.external_ip,
            formats=formats(self._settings.codecs),
        )
        self._metrics.webrtc_carrier(stock=carrier.degraded)
        self._calls = WebRtcCalls(
            carrier,
            options,
            on_connected=self._metrics.webrtc_connected,
            on_statistics=self._metrics.webrtc_ended,
        )

    async def close(self) -> None:
        """After the last call."""
        if self._calls is not None:
            self._calls.carrier.close()
            self._calls = None

    def describe(self) -> EngineInfo:
        """What is there, for people."""
        if self._calls is None:
            return EngineInfo("none", False, self._missing)
        carrier = self._calls.carrier
        return EngineInfo(carrier.name, True, carrier.note or NOTES.get(carrier.name, ""))
