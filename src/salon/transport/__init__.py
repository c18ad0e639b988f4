"""What carries media: our WebSocket, the upgrade out of the web framework, and the one ticker."""

from salon.transport.asgi import AsgiMediaSocket, serve_asgi
from salon.transport.sockets import Acceptor, MediaSocket, Refusal, SocketHandler, UpgradeRequest
from salon.transport.ticker import Phase, Ticker, TickerStatistics, TickHandle
from salon.transport.upgrade import UpgradeOptions, media_protocol
from salon.transport.websocket import FrameSocket, SocketLimits, SocketStatistics

__all__ = [
    "Acceptor",
    "AsgiMediaSocket",
    "FrameSocket",
    "MediaSocket",
    "Phase",
    "Refusal",
    "SocketHandler",
    "SocketLimits",
    "SocketStatistics",
    "TickHandle",
    "Ticker",
    "TickerStatistics",
    "UpgradeOptions",
    "UpgradeRequest",
    "media_protocol",
    "serve_asgi",
]
