"""The session descriptions of a call over WebRTC, seen from who offers it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from salon.clients.call.errors import ClientError
from salon.transport.answer import (
    TELEPHONE_EVENT,
    AudioChoice,
    RemoteTransport,
    answer_setup,
    choose_audio,
    remote_transport,
)
from salon.transport.packets import NegotiationError, PayloadFormat
from salon.transport.sdp import Candidate, Fingerprint, SessionDescription

_OPUS: Final = "minptime=10;useinbandfec=1"
FORMATS: Final[dict[str, tuple[PayloadFormat, ...]]] = {
    "opus": (
        PayloadFormat(111, "opus", 48_000, 2),
        PayloadFormat(110, TELEPHONE_EVENT, 48_000),
        PayloadFormat(126, TELEPHONE_EVENT, 8_000),
    ),
    "g722": (PayloadFormat(9, "G722", 8_000), PayloadFormat(126, TELEPHONE_EVENT, 8_000)),
    "pcmu": (PayloadFormat(0, "PCMU", 8_000), PayloadFormat(126, TELEPHONE_EVENT, 8_000)),
    "pcma": (PayloadFormat(8, "PCMA", 8_000), PayloadFormat(126, TELEPHONE_EVENT, 8_000)),
}
"""What is offered for each codec, under the numbers that browsers use."""


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """This end, as the offer tells it."""

    ufrag: str
    pwd: str
    fingerprint: Fingerprint
    candidates: tuple[Candidate, ...]


def formats_of(codec: str) -> tuple[PayloadFormat, ...]:
    """What to offer for a codec of this name; `ClientError` if there is none."""
    found = FORMATS.get(codec.lower())
    if found is None:
        raise ClientError(f"no codec {codec!r} over WebRTC; there are {', '.join(FORMATS)}")
    return found


def build_offer(
    formats: Iterable[PayloadFormat],
    local: LocalTransport,
    *,
    session_id: int,
    ssrc: int,
    cname: str,
) -> str:
    """A complete offer of one audio section with all candidates (G145), CRLF between lines."""
    formats = tuple(formats)
    numbers = " ".join(str(one.payload_type) for one in formats)
    lines = [
        "v=0",
        f"o=- {session_id} 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        f"m=audio 9 UDP/TLS/RTP/SAVPF {numbers}",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
    ]
    for one in formats:
        channels = f"/{one.channels}" if one.channels > 1 else ""
        lines.append(f"a=rtpmap:{one.payload_type} {one.encoding}/{one.clock_rate}{channels}")
        if one.encoding in ("opus", TELEPHONE_EVENT):
            given = _OPUS if one.encoding == "opus" else "0-15"
            lines.append(f"a=fmtp:{one.payload_type} {given}")
    lines += [
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.pwd}",
        "a=setup:actpass",
        f"a=fingerprint:{local.fingerprint.algorithm} {local.fingerprint.value}",
        "a=msid:salon-client audio",
        f"a=ssrc:{ssrc} cname:{cname}",
        *(f"a={one.to_sdp()}" for one in local.candidates),
        "a=end-of-candidates",
    ]
    return "\r\n".join(lines) + "\r\n"


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an answer agreed to, and where its sender can be reached."""

    choice: AudioChoice
    remote: RemoteTransport
    dtls_role: str
    """Ours: ``client`` or ``server``."""
    refused_candidates: int
    """Of the answer's candidates, those no check can be sent to: names, TCP, IPv6."""

    @property
    def codec(self) -> PayloadFormat:
        """What is sent."""
        return self.choice.codec

    @property
    def keys(self) -> PayloadFormat | None:
        """How key presses are sent: on the clock of the codec, if that was agreed to."""
        events = self.choice.events
        fitting = (one for one in events if one.clock_rate == self.codec.clock_rate)
        return next(fitting, events[0] if events else None)


def read_answer(sdp: str, codec: str) -> Agreed:
    """`NegotiationError` says what keeps this answer from carrying sound in `codec`."""
    if not sdp.strip():
        raise NegotiationError(
            "it has no session description (calls over WebRTC are placed at /webrtc)"
        )
    description = SessionDescription.parse(sdp)
    audio = [media for media in description.media if media.kind == "audio"]
    if not audio:
        raise NegotiationError("it has no audio section")
    if all(media.port == 0 for media in audio):
        raise NegotiationError(f"it declines the audio: {codec} is not taken there")
    names = tuple(one.encoding for one in formats_of(codec))
    choice = choose_audio(description, names)
    if not (choice.sending and choice.receiving):
        raise NegotiationError(f"its audio is {choice.media.direction}, not in both directions")
    remote = remote_transport(description, choice.media)
    role = answer_setup(remote.setup, "active")
    return Agreed(
        choice,
        remote,
        "client" if role == "active" else "server",
        len(choice.media.candidates) - len(remote.candidates),
    )
