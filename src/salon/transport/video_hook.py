"""Where the packets of a picture leave aiortc: below its receiver.

aiortc negotiates and connects as always. The receiver's `receive`, which would start its thread,
task and jitter buffer, is replaced on the one object; datagrams are taken off before aiortc's
queue (`salon.transport.aiortc_hook`). Both use names that aiortc does not promise to keep: `probe`
tries them once per process, and where they are gone its own path is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any, Final

from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters

from salon.transport import aiortc_hook
from salon.transport.video_bandwidth import SEND_TIME_URI, BandwidthEstimator
from salon.transport.video_payload import depacketisers
from salon.transport.video_reception import VideoFormats

_log = logging.getLogger("salon.transport")

_CONNECT: Final = "_RTCPeerConnection__connect"


def take_connecting(pc: Any, failed: Callable[[Exception], None]) -> None:
    """Have `failed` told of what ends aiortc's task that connects: nobody awaits that, and one that
    is closed amid the handshake would be reported by the event loop."""
    usual = getattr(pc, _CONNECT, None)
    if usual is None:
        return

    async def connect() -> None:
        try:
            await usual()
        except Exception as error:  # noqa: BLE001 - the edge of aiortc's task
            failed(error)

    pc.__dict__[_CONNECT] = connect


def release_connecting(pc: Any) -> None:
    """Undo `take_connecting`, which frees whoever it belongs to."""
    pc.__dict__.pop(_CONNECT, None)


def take_receiver(receiver: Any, begin: Callable[[Any], None]) -> None:
    """Have `begin` told of the agreed parameters when media may flow, instead of the receiver."""

    async def receive(parameters: Any) -> None:
        begin(parameters)

    receiver.__dict__["receive"] = receive


def release_receiver(receiver: Any) -> None:
    """Undo `take_receiver`, which frees whoever it belongs to."""
    receiver.__dict__.pop("receive", None)


def pass_on(connection: Any, data: bytes) -> None:
    """Give a datagram to aiortc after all."""
    type(connection).data_received(connection, data, 1)


def formats_of(parameters: Any) -> VideoFormats:
    """What was agreed on, of what can be read here."""
    known = depacketisers()
    codecs, rtx = {}, {}
    feedback = set()
    for codec in parameters.codecs:
        name = codec.mimeType.partition("/")[2].upper()
        if name == "RTX":
            rtx[codec.payloadType] = codec.parameters.get("apt")
        elif name in known:
            codecs[codec.payloadType] = known[name]
            feedback |= {(item.type, item.parameter or "") for item in codec.rtcpFeedback}
    return VideoFormats(
        codecs=codecs,
        rtx={repair: media for repair, media in rtx.items() if media in codecs},
        nack=("nack", "") in feedback,
        pli=("nack", "pli") in feedback,
        send_time_id=next(
            (item.id for item in parameters.headerExtensions if item.uri == SEND_TIME_URI), 0
        ),
    )


def source_of(parameters: Any) -> int | None:
    """The sender's source, if its description says it."""
    return next((item.ssrc for item in parameters.encodings), None)


def estimator() -> BandwidthEstimator | None:
    """aiortc's estimate of the bandwidth; None if this version has none."""
    try:
        from aiortc.rate import RemoteBitrateEstimator
    except ImportError:
        return None
    made: BandwidthEstimator = RemoteBitrateEstimator()
    return made


async def _probe() -> None:
    """Raises whatever goes wrong."""
    reason = await aiortc_hook.probe()
    if reason is not None:
        raise RuntimeError(reason)
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        transceiver = pc.addTransceiver("video", direction="recvonly")
        receiver = transceiver.receiver
        if list(signature(receiver.receive).parameters) != ["parameters"]:
            raise RuntimeError("a receiver is told other things than its parameters")
        connect = vars(RTCPeerConnection)[_CONNECT]
        if not {"receiver", "receive"} <= set(connect.__code__.co_names):
            raise RuntimeError("nobody tells a receiver to begin")
        if not isinstance(transceiver.sender._ssrc, int):
            raise RuntimeError("the source of reports is not known")
        aiortc_hook.connection_of(receiver.transport.transport)
        told: list[Any] = []
        agreed: Any = RTCRtpReceiveParameters()
        take_receiver(receiver, told.append)
        await receiver.receive(agreed)
        if told != [agreed]:
            raise RuntimeError("a receiver can't be replaced")
        release_receiver(receiver)
    finally:
        await pc.close()


@cache
def _verdict() -> list[str | None]:
    return []


async def probe() -> str | None:
    """Why packets of a picture can't be taken past aiortc's receiver, or None if they can; tried
    once, with a warning if not."""
    verdict = _verdict()
    if not verdict:
        try:
            await _probe()
            verdict.append(None)
        except Exception as error:  # noqa: BLE001 - whatever a foreign version does differently
            verdict.append(f"{type(error).__name__}: {error}")
            _log.warning(
                "aiortc's video packets can't be had (%s); its own path is a frame slower",
                verdict[0],
            )
    return verdict[0]
