"""Reception of one picture: packets in, frames and feedback out, without I/O or a clock.

Order is restored, holes are asked for (NACK), what can't be repaired is given up and a key frame
asked for (PLI), reports go to the sender. A frame that needs one that was lost is never given out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from salon.transport.packets import MediaPacket
from salon.transport.reception import ReceptionStatistics
from salon.transport.rtp import OutgoingStream, PacketError, parse_rtp
from salon.transport.rtp_session import RtpSession
from salon.transport.video_bandwidth import BandwidthEstimator, send_time
from salon.transport.video_feedback import build_nack, build_pli, build_remb
from salon.transport.video_frame import VideoStatistics
from salon.transport.video_payload import Depacketiser, EncodedFrame, PayloadError
from salon.transport.video_reorder import ReorderBuffer
from salon.transport.video_repair import Repair

CLOCK_RATE = 90_000
REPAIR_S = 0.25
"""A hole that is older is given up."""
REORDER_S = 0.05
"""The same where the sender repairs nothing: packets may still come in another order."""
REQUEST_S = 0.25
"""Key frames are not asked for more often."""
REPEAT_S = 0.5
"""And again, if none has come."""
BUSY_TICK_S = 0.02
IDLE_TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class VideoFormats:
    """What was agreed on. `codecs` gives the depacketiser of a payload type, `rtx` the payload
    type that a retransmission (RFC 4588) repairs; `nack` and `pli` say whether the sender takes
    them; `send_time_id` is the header extension that times packets, 0 without."""

    codecs: Mapping[int, Depacketiser]
    rtx: Mapping[int, int] = field(default_factory=dict)
    nack: bool = True
    pli: bool = True
    send_time_id: int = 0


class VideoReception:
    """Takes datagrams that are decrypted already; times are seconds: `now` monotonic, `wall` since
    the Unix epoch. What is to be sent collects in `outgoing`, bounded by one packet of each kind a
    call; take it with `take_outgoing` after each."""

    def __init__(
        self,
        formats: VideoFormats,
        *,
        ssrc: int,
        cname: str,
        now: float,
        media: int | None = None,
        bandwidth: BandwidthEstimator | None = None,
        random: Random | None = None,
    ) -> None:
        """`ssrc` is ours, `media` the sender's if its description says it."""
        self._formats = formats
        self._ssrc = ssrc
        self._media = media
        self._bandwidth = bandwidth
        self._statistics = ReceptionStatistics(CLOCK_RATE)
        outgoing = OutgoingStream(CLOCK_RATE, random=random)
        outgoing.ssrc = ssrc
        self._session = RtpSession(outgoing, self._statistics, cname=cname, now=now, random=random)
        self._repair = Repair()
        self._codec: Depacketiser = next(iter(formats.codecs.values()))
        self._buffer = ReorderBuffer(self._begins)
        self._needs_key = True
        self._request_due: float | None = None
        self._requested_at = float("-inf")
        self._told_highest: int | None = None
        self._restarts = 0
        self._outgoing: list[bytes] = []
        self.complete = self.key_frames = self.skipped = 0
        self.rejected = self.recovered = self.nacks_sent = self.key_frame_requests = 0

    def _begins(self, payload: bytes) -> bool:
        return self._codec.begins(payload)

    # -- packets ----------------------------------------------------------------------------------

    def rtp(self, data: bytes, now: float) -> list[EncodedFrame]:
        """Take one packet; the frames that are whole with it, in order."""
        try:
            packet = parse_rtp(data, now)
        except PacketError:
            self.rejected += 1
            return []
        original = self._formats.rtx.get(packet.payload_type)
        if original is not None:
            if len(packet.payload) < 2 or self._media is None:
                return []  # padding that probes the bandwidth
            packet = _unwrapped(packet, original, self._media)
        elif not self._counted(packet, data, now):
            return []
        codec = self._formats.codecs.get(packet.payload_type)
        if codec is None:
            self.rejected += 1
            return []
        self._codec = codec
        number = self._buffer.add(packet)
        if number is None:
            return []
        self.recovered += self._repair.arrived(number) and original is not None
        self._watch_holes(number, packet, now)
        return self._frames(now)

    def _counted(self, packet: MediaPacket, data: bytes, now: float) -> bool:
        """Count a packet of the sender's own source; False if it is of another one."""
        statistics = self._statistics
        statistics.received(packet)
        if statistics.restarts != self._restarts:
            self._restarts = statistics.restarts
            self._begin_anew(now)
        self._media = statistics.ssrc
        if packet.ssrc != statistics.ssrc:
            return False
        if self._bandwidth is not None and self._formats.send_time_id:
            sent = send_time(data, self._formats.send_time_id)
            if sent is not None:
                size = len(packet.payload)
                found = self._bandwidth.add(int(now * 1000), sent, size, packet.ssrc)
                if found is not None:
                    self._outgoing.append(build_remb(self._ssrc, found[1][-4:], found[0]))
        return True

    def _begin_anew(self, now: float) -> None:
        self._buffer.clear()
        self._repair = Repair()
        self._told_highest = None
        self._lose_picture(now)

    def _watch_holes(self, number: int, packet: MediaPacket, now: float) -> None:
        told, self._told_highest = self._told_highest, self._buffer.highest
        if self._codec.begins_key(packet.payload) and self._buffer.skip_to(number):
            self._given_up(now)
        elif told is not None and number > told + 1:
            repairable = self._repair.lost(range(told + 1, number), now)
            if not repairable and self._buffer.skip_hole():
                self._given_up(now)
            elif self._formats.nack:
                self._ask(now)

    def _ask(self, now: float) -> None:
        numbers = self._repair.to_ask(now)
        if numbers and self._media is not None:
            self._outgoing.append(build_nack(self._ssrc, self._media, numbers))
            self.nacks_sent += 1

    def _given_up(self, now: float) -> None:
        self.skipped += 1
        self._forget()
        self._lose_picture(now)

    def _forget(self) -> None:
        if self._buffer.next_number is not None:
            self._repair.forget_before(self._buffer.next_number)

    # -- frames -----------------------------------------------------------------------------------

    def _frames(self, now: float) -> list[EncodedFrame]:
        frames: list[EncodedFrame] = []
        while (packets := self._buffer.next_frame()) is not None:
            frame = self._frame(packets, now)
            if frame is not None:
                frames.append(frame)
        return frames

    def _frame(self, packets: list[MediaPacket], now: float) -> EncodedFrame | None:
        payloads = [packet.payload for packet in packets]
        if not any(payloads):
            return None
        codec = self._formats.codecs[packets[0].payload_type]
        try:
            data, key = codec.join(payloads)
        except PayloadError:
            self.rejected += 1
            self.skipped += 1
            self._lose_picture(now)
            return None
        self.complete += 1
        self.key_frames += key
        if key:
            self._needs_key = False
            self._request_due = None
        elif self._needs_key:
            self.skipped += 1
            self._want_key(now)
            return None
        return EncodedFrame(codec.codec, data, key, packets[0].timestamp)

    # -- lost pictures ----------------------------------------------------------------------------

    def lose_picture(self, now: float) -> None:
        """Decoding failed, or frames had to be dropped: nothing is of use before a key frame."""
        self._lose_picture(now)

    def request_key_frame(self, now: float) -> None:
        """Ask for a whole picture, although what comes may be of use."""
        self._request_due = now
        self._send_request(now)

    def _lose_picture(self, now: float) -> None:
        self._needs_key = True
        self._want_key(now)

    def _want_key(self, now: float) -> None:
        if self._request_due is None:
            self._request_due = now
        self._send_request(now)

    def _send_request(self, now: float) -> None:
        due = self._request_due
        if due is None or now < due or now - self._requested_at < REQUEST_S:
            return
        if self._media is None or not self._formats.pli:
            return
        self._outgoing.append(build_pli(self._ssrc, self._media))
        self.key_frame_requests += 1
        self._requested_at = now
        self._request_due = now + REPEAT_S if self._needs_key else None

    # -- time and control -------------------------------------------------------------------------

    def rtcp(self, data: bytes, now: float) -> bool:
        """Take a compound packet of the sender; True if the source took leave."""
        self._session.incoming_rtcp(data, now)
        return self._session.departed

    def tick(self, now: float, wall: float) -> list[EncodedFrame]:
        """What is due: retries, giving up, reports. Frames behind a hole that was given up."""
        frames: list[EncodedFrame] = []
        if self._buffer.broken or self._repair:
            self._forget()
            limit = REPAIR_S if self._formats.nack else REORDER_S
            if self._repair.age(now) >= limit and self._buffer.skip_hole():
                self._given_up(now)
                frames = self._frames(now)
            elif self._formats.nack:
                self._ask(now)
        self._send_request(now)
        if self._session.due(now):
            self._outgoing.append(self._session.report(now, wall))
        return frames

    @property
    def next_tick_s(self) -> float:
        """Seconds until `tick` should be called next."""
        return BUSY_TICK_S if self._repair or self._request_due is not None else IDLE_TICK_S

    def bye(self) -> bytes:
        """What to send at the end."""
        return self._session.bye()

    def take_outgoing(self) -> list[bytes]:
        """RTCP packets to send now, not encrypted."""
        if not self._outgoing:
            return []
        packets, self._outgoing = self._outgoing, []
        return packets

    @property
    def media(self) -> int | None:
        """The sender's source, as far as it is known."""
        return self._media

    def statistics(self) -> VideoStatistics:
        """Figures of reception; those of decoding are the driver's."""
        received, buffer = self._statistics, self._buffer
        return VideoStatistics(
            codec=self._codec.codec if received.packets_received else "",
            packets_received=received.packets_received,
            bytes_received=received.bytes_received,
            lost=received.lost,
            recovered=self.recovered,
            duplicates=buffer.duplicates,
            late=buffer.late,
            rejected=self.rejected + self._session.rejected,
            jitter_ms=received.jitter_ms,
            complete=self.complete,
            key_frames=self.key_frames,
            skipped=self.skipped,
            nacks_sent=self.nacks_sent,
            key_frame_requests=self.key_frame_requests,
        )


def _unwrapped(packet: MediaPacket, payload_type: int, ssrc: int) -> MediaPacket:
    """The packet that a retransmission repeats (RFC 4588, 4)."""
    sequence = int.from_bytes(packet.payload[:2], "big")
    return MediaPacket(
        packet.payload[2:],
        payload_type,
        sequence,
        packet.timestamp,
        packet.marker,
        packet.arrival,
        ssrc,
    )
