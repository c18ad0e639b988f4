"""The picture of a viewer from its packets: the driver of `VideoReception` and `VideoDecoder`.

A datagram is decrypted, put in order and given to the decoder's thread by the event loop's read
callback; no task, queue or executor hop exists per packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pylibsrtp

from salon.base import Clock
from salon.transport import aiortc_hook
from salon.transport import video_hook as hook
from salon.transport.rtp import is_rtcp
from salon.transport.video_decoder import VideoDecoder
from salon.transport.video_frame import VideoStatistics, ViewerFrame
from salon.transport.video_payload import EncodedFrame
from salon.transport.video_reception import VideoReception

_log = logging.getLogger("salon.transport")

MAX_EARLY = 256
"""Media that may come before the handshake is over on our side."""
JOIN_S = 2.0


class PacketVideo:
    """The video section of one connection. `show` gets pictures and `end` is told that the source
    took leave, both on the event loop."""

    def __init__(
        self,
        transceiver: Any,
        *,
        show: Callable[[ViewerFrame], None],
        end: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._transceiver = transceiver
        self._show = show
        self._end = end
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._decoder = VideoDecoder(self._wake)
        self._reception: VideoReception | None = None
        self._connection: Any = None
        self._srtp: tuple[aiortc_hook.SrtpSession, aiortc_hook.SrtpSession] | None = None
        self._types: frozenset[int] = frozenset()
        self._early: deque[bytes] = deque(maxlen=MAX_EARLY)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._key_wanted = False
        self._rejected = self._delivered = 0
        self._size = (0, 0)
        self.last_heard = clock.monotonic()
        """When a packet of ours came last, monotonic seconds."""
        hook.take_receiver(transceiver.receiver, self._begin)

    def attach(self) -> None:
        """Take the datagrams of the section's connection, which is known once a description is
        set."""
        transport = self._transceiver.receiver.transport
        connection = aiortc_hook.connection_of(transport.transport)
        if self._connection is None and not self._closed:
            self._connection = connection
            aiortc_hook.take_datagrams(connection, self._datagram)

    def _begin(self, parameters: Any) -> None:
        """The handshake is over: media may flow."""
        transport = self._transceiver.receiver.transport
        formats = hook.formats_of(parameters)
        self._srtp = aiortc_hook.srtp_of(transport)
        if self._closed or not formats.codecs or self._srtp is None:
            return
        self.attach()
        self._types = frozenset((*formats.codecs, *formats.rtx))
        self._reception = VideoReception(
            formats,
            ssrc=self._transceiver.sender._ssrc,
            cname=secrets.token_hex(8),
            now=self._clock.monotonic(),
            media=hook.source_of(parameters),
            bandwidth=hook.estimator(),
        )
        early, self._early = self._early, deque(maxlen=1)
        for data in early:
            if not self._datagram(data):
                hook.pass_on(self._connection, data)
        if self._key_wanted:
            self.request_key_frame()
        self._arm()

    # -- packets ----------------------------------------------------------------------------------

    def _datagram(self, data: bytes) -> bool:
        """A datagram that is not STUN; False leaves it to aiortc: DTLS and other sections."""
        if len(data) < 12 or not 127 < data[0] < 192:
            return False
        reception, srtp = self._reception, self._srtp
        if reception is None or srtp is None:
            if self._closed:
                return False
            self._rejected += len(self._early) == MAX_EARLY
            self._early.append(data)
            return True
        now = self._clock.monotonic()
        try:
            if is_rtcp(data):
                if int.from_bytes(data[4:8], "big") != reception.media:
                    return False
                left = reception.rtcp(srtp[1].unprotect_rtcp(data), now)
                frames: list[EncodedFrame] = []
            elif data[1] & 0x7F in self._types:
                frames = reception.rtp(srtp[1].unprotect(data), now)
                left = False
            else:
                return False
        except pylibsrtp.Error:
            self._rejected += 1
            return True
        self.last_heard = now
        self._decode(frames, now)
        self._arm()
        if left:
            self._end()
        return True

    def _decode(self, frames: Iterable[EncodedFrame], now: float) -> None:
        reception = self._reception
        if reception is None:
            return
        for frame in frames:
            if not self._decoder.put(frame):
                reception.lose_picture(now)
        self._transmit(reception.take_outgoing())

    def _transmit(self, packets: Iterable[bytes]) -> None:
        for packet in packets:
            route = aiortc_hook.route_of(self._connection)
            if route is not None and self._srtp is not None:
                route[0](self._srtp[0].protect_rtcp(packet), route[1])

    # -- time -------------------------------------------------------------------------------------

    def _arm(self) -> None:
        reception = self._reception
        if reception is None or self._closed:
            return
        due = self._loop.time() + reception.next_tick_s
        if self._timer is None or due < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        reception = self._reception
        if reception is None or self._closed:
            return
        now = self._clock.monotonic()
        self._decode(reception.tick(now, self._clock.time()), now)
        self._arm()

    # -- pictures ---------------------------------------------------------------------------------

    def _wake(self) -> None:
        """In the decoder's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is gone, and so is who looks
            self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        if self._closed:
            return
        if self._decoder.failed() and self._reception is not None:
            now = self._clock.monotonic()
            self._reception.lose_picture(now)
            self._transmit(self._reception.take_outgoing())
            self._arm()
        frame = self._decoder.take()
        if frame is not None:
            self._delivered += 1
            self._size = frame.width, frame.height
            self._show(frame)

    def request_key_frame(self) -> None:
        """Ask for a whole picture now, or as soon as there is a connection."""
        if self._reception is None:
            self._key_wanted = True
            return
        self._key_wanted = False
        self._reception.request_key_frame(self._clock.monotonic())
        self._transmit(self._reception.take_outgoing())
        self._arm()

    def statistics(self) -> VideoStatistics:
        """Figures so far."""
        base = self._reception.statistics() if self._reception is not None else VideoStatistics()
        decoder = self._decoder
        return replace(
            base,
            rejected=base.rejected + self._rejected,
            decoded=decoder.decoded,
            delivered=self._delivered,
            dropped=decoder.dropped + decoder.overflowed,
            decode_errors=decoder.errors,
            width=self._size[0],
            height=self._size[1],
        )

    async def close(self) -> None:
        """Take leave, give the connection back, end the thread; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._reception is not None and self._connection is not None:
            self._transmit([self._reception.bye()])
        hook.release_receiver(self._transceiver.receiver)
        if self._connection is not None:
            self._connection.__dict__.pop("data_received", None)
        self._srtp = None
        thread = self._decoder.close()
        if thread is not None:
            await asyncio.to_thread(thread.join, JOIN_S)
            if thread.is_alive():
                _log.warning("a video decoder did not end in time")
