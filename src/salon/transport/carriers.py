"""Which carrier of WebRTC a process uses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from salon.base import MissingExtraError
from salon.transport.packets import PacketPeer, PeerFactory, PeerOptions
from salon.transport.ticker import Ticker

_log = logging.getLogger("salon.transport")

CARRIERS = ("auto", "aiortc", "native", "stock")
"""Names of `choose_carrier`."""


@dataclass(frozen=True, slots=True)
class WebRtcCarrier:
    """A way to make peers; `name` is that of the peers, `note` what people should know of it."""

    name: str
    make: PeerFactory
    note: str = ""
    degraded: bool = False
    """The stock path is taken although packets were wanted."""
    close: Callable[[], None] = lambda: None
    """Lets go of what all peers shared, after the last of them."""


async def choose_carrier(wanted: str, ticker: Ticker) -> WebRtcCarrier:
    """The carrier for `wanted` (one of `CARRIERS`; ``auto`` is aiortc).

    Raises `MissingExtraError` if its libraries are not installed. aiortc's media path is bypassed
    if its hook is there, else its stock path is used with a warning.
    """
    if wanted == "native":
        from salon.transport.native import native_factory

        factory = native_factory(ticker)
        return WebRtcCarrier("libdatachannel", factory, close=factory.close)
    try:
        from salon.transport.aiortc_hook import SlowServers, probe
        from salon.transport.aiortc_peer import AiortcPeer, Certificates
        from salon.transport.aiortc_stock import AiortcStockPeer
    except ImportError as error:
        raise MissingExtraError("webrtc", f"WebRTC ({error.name})") from None

    def stock(options: PeerOptions) -> PacketPeer:
        return AiortcStockPeer(options)

    if wanted == "stock":
        return WebRtcCarrier("aiortc-stock", stock)
    reason = await probe()
    if reason is not None:
        note = f"aiortc's packets can't be had ({reason}), its stock path costs more CPU"
        _log.warning("%s", note)
        return WebRtcCarrier("aiortc-stock", stock, note, degraded=True)
    certificates, servers = Certificates(), SlowServers()

    def packets(options: PeerOptions) -> PacketPeer:
        return AiortcPeer(options, certificates, servers=servers)

    return WebRtcCarrier("aiortc", packets)
