"""One call to a server of the active-call protocol whose sound goes over WebRTC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from salon.base import SYSTEM_CLOCK, Clock, MissingExtraError, TaskScope
from salon.clients.call.client import CallClient, _fields
from salon.clients.call.connection import Connection
from salon.clients.call.errors import CallFailed, ClientError, ConnectFailed
from salon.clients.call.events import CallEvent

if TYPE_CHECKING:
    from salon.clients.call.offer import Agreed
    from salon.clients.call.offerer import Offerer, Route
    from salon.clients.call.packet_sound import PacketSound
    from salon.media.playout import PlayoutStatistics
    from salon.transport.packets import IceServer, PacketStatistics, PayloadFormat

CONNECT_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class WebRtcConnection:
    """How a call came to be. Times in ms: `gather_ms` before the offer was sent; the others since
    then. `codec` and `keys` (None: key presses can't be sent) are what was agreed on; `candidates`
    are all of this end, as `type address:port`, `route` is the pair in use."""

    codec: PayloadFormat
    keys: PayloadFormat | None
    gather_ms: float
    answer_ms: float
    ice_ms: float
    connect_ms: float
    candidates: tuple[str, ...]
    route: Route | None


class WebRtcCallClient(CallClient):
    """A `CallClient` whose sound takes a WebRTC connection; needs the extra "webrtc" as well.

    Only `invite` differs, and there is `press`. `received` holds what a listener hears: 20 ms
    frames of ``pcm`` out of a jitter buffer, `at` the moment at which they sound. Silence is left
    out, but for the first 200 ms behind sound. `send_audio` takes frames of ``pcm``, too.
    """

    path: ClassVar[str] = "/webrtc"

    def __init__(self, connection: Connection, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(connection, clock=clock)
        self._offerer: Offerer | None = None
        self._sound: PacketSound | None = None
        self._tasks = TaskScope("webrtc call")
        self.made: WebRtcConnection | None = None
        """Known after `invite`."""

    async def invite(
        self,
        codec: str = "opus",
        asr: Mapping[str, Any] | None = None,
        tts: Mapping[str, Any] | None = None,
        vad: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = 10,
        connect_timeout: float = CONNECT_TIMEOUT_S,
        ice_servers: Sequence[IceServer] = (),
        **option: Any,
    ) -> CallEvent:
        """Offer sound in `codec` (``opus``, ``pcmu``, ``pcma`` or ``g722``), wait for the `answer`
        and then until sound can flow. Options as for `CallClient.invite`; once for each call.

        `CallFailed` if the server refuses, is silent, or answers without sound in this codec;
        `ConnectFailed` if no connection comes about within `connect_timeout` seconds;
        `MissingExtraError`.
        """
        check_webrtc()
        from salon.clients.call.offer import formats_of
        from salon.clients.call.offerer import Offerer

        if self._offerer is not None:
            raise ValueError("a call is invited once")
        formats = formats_of(codec)
        began = self._clock.monotonic()
        self._offerer = offerer = Offerer(ice_servers, clock=self._clock)
        offer = await offerer.offer(formats)
        sent = self._clock.monotonic()
        given = {"asr": asr, "tts": tts, "vad": vad, **option}
        await self.send({"command": "invite", "option": {"offer": offer} | _fields(given)})
        answer = await self._answered(timeout)
        agreed = self._accept(offerer, answer, codec)
        await self._connect(offerer, agreed, connect_timeout)
        at = offerer.connected_at or sent
        self.made = WebRtcConnection(
            codec=agreed.codec,
            keys=agreed.keys,
            gather_ms=(sent - began) * 1000,
            answer_ms=(answer.at - sent) * 1000,
            ice_ms=((offerer.ice_at or sent) - sent) * 1000,
            connect_ms=(at - sent) * 1000,
            candidates=offerer.local_candidates,
            route=offerer.route(),
        )
        return answer

    def _accept(self, offerer: Offerer, answer: CallEvent, codec: str) -> Agreed:
        from salon.clients.call.packet_sound import PacketSound
        from salon.transport.packets import NegotiationError

        sdp = answer.data.get("sdp")
        try:
            agreed = offerer.accept(sdp if isinstance(sdp, str) else "", codec)
        except NegotiationError as error:
            raise CallFailed(f"the answer can't carry sound: {error}", answer) from None
        self._sound = sound = PacketSound(
            agreed.codec, agreed.keys, offerer.send, self._on_binary, clock=self._clock
        )
        offerer.on_packet = sound.take
        self._tasks.spawn(sound.listen(), name="listen")
        return agreed

    async def _connect(self, offerer: Offerer, agreed: Agreed, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await offerer.connected()
        except TimeoutError:
            raise ConnectFailed(
                f"no connection for the sound within {limit:g} s: UDP may be blocked between here "
                f"and the server; {_candidates(offerer, agreed)}"
            ) from None
        except ConnectFailed as error:
            raise ConnectFailed(
                f"no connection for the sound, {error}; {_candidates(offerer, agreed)}"
            ) from None

    async def press(self, keys: str) -> None:
        """Press telephone keys, ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D``, one after another,
        100 ms each (RFC 4733); sound stays out meanwhile. `ClientError` if the server takes none,
        `ValueError` for what is no key."""
        await self._ready().press(keys)

    async def send_audio(self, frame: bytes) -> None:
        """Send 20 ms: 640 bytes of ``pcm`` at 16 kHz, encoded here. The pacing is the caller's."""
        self._connection.require_open()
        self._ready().speak(frame)

    def _ready(self) -> PacketSound:
        if self._sound is None:
            raise ClientError("there is no sound before the invite")
        return self._sound

    def statistics(self) -> PacketStatistics | None:
        """Figures of the packets so far, also after the end; None before the `invite`."""
        return None if self._offerer is None else self._offerer.statistics()

    @property
    def remote_lost(self) -> int:
        """Packets that the server missed, by its last report."""
        return 0 if self._offerer is None else self._offerer.remote_lost

    def playout(self) -> PlayoutStatistics | None:
        """Figures of the jitter buffer; None before the answer."""
        return None if self._sound is None else self._sound.statistics()

    async def close(self) -> None:
        """Close both connections without `hangup`: for the server the caller has hung up."""
        await self._tasks.close()
        if self._offerer is not None:
            await self._offerer.close()
        await super().close()

    def _on_end(self, error: ClientError | None) -> None:
        if self._offerer is not None:
            self._offerer.fail(error or ClientError("the call has ended"))
        super()._on_end(error)


def check_webrtc() -> None:
    """`MissingExtraError` if calls over WebRTC can't be made with what is installed."""
    try:
        import aiortc  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("webrtc", f"a call over WebRTC ({error.name})") from None


def _candidates(offerer: Offerer, agreed: Agreed) -> str:
    theirs = [f"{one.type} {one.address}:{one.port}" for one in agreed.remote.candidates]
    left_out = agreed.refused_candidates
    more = f" ({left_out} more are names, TCP or IPv6)" if left_out else ""
    return (
        f"candidates here: {', '.join(offerer.local_candidates) or 'none'}; "
        f"of the server: {', '.join(theirs) or 'none'}{more}"
    )
