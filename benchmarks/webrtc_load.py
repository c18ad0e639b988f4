"""A WebRTC caller that costs next to nothing: its own side of ICE and DTLS, sound encoded once.

Packets are encrypted (SRTP needs it) and sent; what comes back is counted by its RTP header, which
is not encrypted, and neither decrypted nor decoded. Nothing is buffered: a packet that the server
sends late or not at all is seen here.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import struct
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import websockets
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceTransport,
)

from salon.base import ConfigurationError
from salon.media.g711 import encode_ulaw
from salon.media.opus import OpusEncoder
from salon.testing.speech import speak
from salon.transport import aiortc_hook as hook
from salon.transport.aiortc_peer import to_aiortc
from salon.transport.sdp import SessionDescription

FRAME_S = 0.02
GROUPS = 10
"""Calls send at this many different moments of a frame, as callers do who know nothing of each
other."""
SAYINGS = ("What are your opening hours on Saturday?", "I would like to change my order, please.")
ANSWER_TIMEOUT_S = 20.0
HEADER = struct.Struct("!BBHII")
Ending = Literal["hangup", "close", "vanish"]


@dataclass(frozen=True)
class Sound:
    """Encoded sound, one item per packet."""

    encoding: str
    payload_type: int
    clock_rate: int
    packets: Sequence[bytes]

    @property
    def rtpmap(self) -> str:
        channels = "/2" if self.encoding == "opus" else ""
        return f"{self.payload_type} {self.encoding}/{self.clock_rate}{channels}"


def speech_like(seconds: float, rate: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A buzz with pauses, so that a detector has something to decide."""
    t = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20))
    sound = buzz * (np.sin(2 * np.pi * 3 * t) > -0.2) * (np.sin(2 * np.pi * 0.3 * t) > 0)
    return (sound * 3000).astype(np.int16)


def caller(rate: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Sentences and pauses with the noise of a microphone; a buzz where no voice is installed."""
    try:
        pause = np.zeros(round(1.5 * rate), dtype=np.int16)
        said = [speak(text, rate=rate) for text in SAYINGS]
        sound = np.concatenate([part for one in said for part in (one, pause)])
    except ConfigurationError:
        sound = speech_like(8, rate)
    noise = np.random.default_rng(1).normal(0, 20, len(sound))
    return np.clip(sound + noise, -32768, 32767).astype(np.int16)


def opus_sound() -> Sound:
    """As browsers send it: coded from 48 kHz, mono, about 32 kbit/s."""
    samples = caller(48_000)
    encoder = OpusEncoder(sample_rate=48_000, bitrate=32_000, complexity=9, fec=True)
    packets = [encoder.encode(samples[at : at + 960]) for at in range(0, len(samples) - 959, 960)]
    return Sound("opus", 111, 48_000, packets)


def pcmu_sound() -> Sound:
    """G.711 µ-law, 160 bytes a packet."""
    samples = caller(8_000)
    packets = [encode_ulaw(samples[at : at + 160]) for at in range(0, len(samples) - 159, 160)]
    return Sound("PCMU", 0, 8_000, packets)


@dataclass
class Reception:
    """What came in a stretch of time, by the headers of its packets."""

    packets: int = 0
    first: int | None = None
    last: int = 0
    transit_ms: list[float] = field(default_factory=list)
    """Arrival less the packet's own time, from any origin."""

    def late_ms(self) -> list[float]:
        """How much later than the earliest each packet came."""
        earliest = min(self.transit_ms, default=0.0)
        return [transit - earliest for transit in self.transit_ms]

    @property
    def lost(self) -> int:
        """Packets missing among the numbers seen."""
        if self.first is None:
            return 0
        return max(0, self.last - self.first + 1 - self.packets)


class RtcCall:
    """One call. `open`, then `send` fifty times a second, then `end`."""

    certificate: RTCCertificate | None = None

    def __init__(self, url: str, sound: Sound, option: dict[str, object] | None = None) -> None:
        self.window = Reception()
        self.received = self.sent = 0
        self.connect_s = math.nan
        self.remote_port = 0
        self.lost_connection = False
        self.events: Counter[str] = Counter()
        self._url, self._sound, self._option = url, sound, option or {}
        if RtcCall.certificate is None:
            RtcCall.certificate = RTCCertificate.generateCertificate()
        self._gatherer = RTCIceGatherer(iceServers=[])
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [RtcCall.certificate])
        self._connection = hook.connection_of(self._ice)
        self._ssrc = id(self) & 0x7FFFFFFF
        self._sequence = self._timestamp = 0
        self._step = round(sound.clock_rate * FRAME_S)
        self._extended = 0
        self._base: tuple[int, float] | None = None
        self._replay: dict[str, object] | None = None
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._protect: Any = None
        self._route: Any = None
        self._socket: Any = None
        self._reader: asyncio.Task[None] | None = None

    # -- connecting -------------------------------------------------------------------------------

    async def open(self, *commands: dict[str, object]) -> None:
        """Connect; `connect_s` is from the offer to the first moment a packet may flow. `commands`
        follow the invite; a ``play`` is repeated whenever it has ended. `TimeoutError` or
        `ConnectionError` if it does not work."""
        hook.bound_gathering(self._connection, hook.SlowServers(), ipv6=False)
        hook.take_datagrams(self._connection, self._datagram)
        # from the start: the other side's first check may come before its answer
        self._connection.ice_controlling = True
        await self._gatherer.gather()
        self._socket = await websockets.connect(self._url, compression=None, ping_interval=None)
        self._reader = asyncio.ensure_future(self._read())
        option = {"codec": self._sound.encoding.lower(), **self._option, "offer": self._offer()}
        began = time.perf_counter()
        await self._send_command({"command": "invite", "option": option})
        for command in commands:
            await self._send_command(command)
            if command["command"] == "play":
                self._replay = command
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self._connect(await self._answer)
        self.connect_s = time.perf_counter() - began

    async def _connect(self, sdp: str) -> None:
        answer = SessionDescription.parse(sdp)
        media = answer.media[0]
        ufrag = media.ice_ufrag or answer.ice_ufrag or ""
        pwd = media.ice_pwd or answer.ice_pwd or ""
        prints = media.fingerprints or answer.fingerprints
        setup = media.setup or answer.setup
        hook.set_dtls_role(self._dtls, "client" if setup == "passive" else "server")
        for candidate in media.candidates:
            if candidate.protocol == "udp" and candidate.ip_version == 4:
                await self._ice.addRemoteCandidate(to_aiortc(candidate))
        await self._ice.addRemoteCandidate(None)
        await self._ice.start(RTCIceParameters(ufrag, pwd, answer.ice_lite))
        fingerprints = [RTCDtlsFingerprint(f.algorithm, f.value) for f in prints]
        await self._dtls.start(RTCDtlsParameters(fingerprints))
        keys, route = hook.srtp_of(self._dtls), hook.route_of(self._connection)
        if keys is None or route is None:
            raise ConnectionError(f"no connection: ICE {self._ice.state}, DTLS {self._dtls.state}")
        self._protect, self._route = keys[0].protect, route
        self.remote_port = route[1][1]

    def _offer(self) -> str:
        local = self._gatherer.getLocalParameters()
        fingerprint = self._dtls.getLocalParameters().fingerprints[0]
        sound = self._sound
        lines = [
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE 0",
            f"m=audio 9 UDP/TLS/RTP/SAVPF {sound.payload_type}",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            "a=mid:0",
            "a=sendrecv",
            "a=rtcp-mux",
            f"a=rtpmap:{sound.rtpmap}",
            *(
                [f"a=fmtp:{sound.payload_type} minptime=10;useinbandfec=1"]
                if sound.encoding == "opus"
                else []
            ),
            f"a=ice-ufrag:{local.usernameFragment}",
            f"a=ice-pwd:{local.password}",
            f"a=fingerprint:{fingerprint.algorithm} {fingerprint.value}",
            "a=setup:actpass",
            f"a=ssrc:{self._ssrc} cname:load",
            *(f"a=candidate:{one.to_sdp()}" for one in self._connection.local_candidates),
            "a=end-of-candidates",
        ]
        return "\r\n".join(lines) + "\r\n"

    async def _send_command(self, command: dict[str, object]) -> None:
        await self._socket.send(json.dumps(command))

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                event = json.loads(text)
                name = event.get("event", "")
                self.events[name] += 1
                if name == "answer" and not self._answer.done():
                    self._answer.set_result(event["sdp"])
                elif name == "trackEnd" and self._replay is not None and self._protect is not None:
                    await self._send_command(self._replay)
                elif name in ("error", "reject") and not self._answer.done():
                    self._answer.set_exception(ConnectionError(text))
        except websockets.ConnectionClosed:
            pass
        self.lost_connection = True
        if not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed before it answered"))

    # -- packets ----------------------------------------------------------------------------------

    def send(self, tick: int) -> None:
        """One packet of the sound, if connected."""
        if self._protect is None:
            return
        sound = self._sound
        header = HEADER.pack(0x80, sound.payload_type, self._sequence, self._timestamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + self._step) & 0xFFFFFFFF
        self._route[0](
            self._protect(header + sound.packets[tick % len(sound.packets)]), self._route[1]
        )
        self.sent += 1

    def _datagram(self, data: bytes) -> bool:
        if not 127 < data[0] < 192:
            return False
        if 191 < data[1] < 224 or len(data) < 12:
            return True
        now = time.perf_counter()
        _, _, sequence, timestamp, _ = HEADER.unpack_from(data)
        self.received += 1
        window, extended = self.window, self._extended
        if self._base is None:
            self._base, self._extended = (timestamp, now), sequence
        else:
            self._extended = extended + ((sequence - extended + 0x8000) & 0xFFFF) - 0x8000
        if window.first is None:
            window.first = window.last = self._extended
        window.last = max(window.last, self._extended)
        window.packets += 1
        elapsed = ((timestamp - self._base[0]) & 0xFFFFFFFF) / self._sound.clock_rate
        window.transit_ms.append((now - self._base[1] - elapsed) * 1000)
        return True

    # -- the end ----------------------------------------------------------------------------------

    async def end(self, how: Ending = "close") -> None:
        """`hangup` asks the server to end the call and waits for it, `close` closes the socket and
        says goodbye in DTLS, `vanish` resets the socket and says nothing."""
        self._protect = self._replay = None
        if self._socket is not None:
            if how == "hangup":
                await self._send_command({"command": "hangup"})
                if self._reader is not None:
                    await asyncio.wait((self._reader,), timeout=10)
            elif how == "vanish":
                self._socket.transport.abort()
        if how != "vanish":
            await self._dtls.stop()
        await self._ice.stop()
        if self._socket is not None and how != "vanish":
            await self._socket.close()
        if self._reader is not None:
            await asyncio.wait((self._reader,), timeout=5)
        hook.release(self._connection)
        self._dtls.remove_all_listeners()


class Crowd:
    """Open calls, all sending."""

    def __init__(self) -> None:
        self.calls: list[RtcCall] = []
        self.slips = 0
        """Times at which this side could not keep up by more than a frame."""
        self._task: asyncio.Task[None] | None = None

    async def grow(
        self,
        url: str,
        count: int,
        sound: Sound,
        *commands: dict[str, object],
        option: dict[str, object] | None = None,
        parallel: int = 2,
        timeout: float = 60.0,
    ) -> list[float]:
        """`count` calls more, `parallel` at a time, while the others go on; their connect times in
        seconds. A call that can't be opened, or not within `timeout` s from the first, is left
        out."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._send())
        gate = asyncio.Semaphore(parallel)
        times: list[float] = []
        until = time.monotonic() + timeout

        async def one(number: int) -> None:
            async with gate:
                call = RtcCall(f"{url}?id=load-{number}", sound, option)
                try:
                    async with asyncio.timeout(max(0.0, until - time.monotonic())):
                        await call.open(*commands)
                except (OSError, TimeoutError, websockets.WebSocketException):
                    await call.end()
                    return
                times.append(call.connect_s)
                self.calls.append(call)

        first = len(self.calls)
        await asyncio.gather(*(one(first + number) for number in range(count)))
        return times

    async def _send(self) -> None:
        """The sending side of all calls, spread over each frame."""
        began, step, tick = time.perf_counter(), FRAME_S / GROUPS, 0
        while True:
            for call in self.calls[tick % GROUPS :: GROUPS]:
                call.send(tick // GROUPS)
            tick += 1
            wait = began + tick * step - time.perf_counter()
            self.slips += wait < -FRAME_S and tick % GROUPS == 0
            await asyncio.sleep(max(0.0, wait))

    def begin_window(self) -> None:
        """Count anew."""
        self.slips = 0
        for call in self.calls:
            call.window = Reception()

    def window(self, seconds: float) -> dict[str, float]:
        """What came since `begin_window`, `seconds` ago."""
        windows = [call.window for call in self.calls]
        packets = sum(window.packets for window in windows)
        lost = sum(window.lost for window in windows)
        late = [value for window in windows for value in window.late_ms()]
        return {
            "packets_per_call_second": packets / max(len(windows), 1) / seconds,
            "lost_percent": 100 * lost / max(packets + lost, 1),
            "late_p95_ms": statistics.quantiles(late, n=20)[-1] if len(late) > 20 else math.nan,
            "held": sum(not call.lost_connection for call in self.calls),
            "client_slips": self.slips,
        }

    def refused_datagrams(self) -> int:
        """Datagrams to the server that the kernel threw away, as its sockets were full."""
        ports = {call.remote_port for call in self.calls}
        dropped = 0
        for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) in ports:
                dropped += int(fields[-1])
        return dropped

    async def end(self) -> None:
        """Close all calls."""
        if self._task is not None:
            self._task.cancel()
        calls, self.calls = self.calls, []
        await asyncio.gather(*(call.end("close") for call in calls), return_exceptions=True)
