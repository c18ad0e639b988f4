"""What Salon answers to an offer: one audio section, everything else declined.

Pure functions of their arguments (RFC 3264, RFC 9429, rules G138, G145, G147, G149, G151): the
caller owns the sockets, the certificate and the random numbers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from salon.base import ConfigurationError
from salon.transport.packets import NegotiationError, PayloadFormat
from salon.transport.sdp import (
    Candidate,
    Direction,
    Fingerprint,
    MediaDescription,
    SessionDescription,
    Setup,
)

TELEPHONE_EVENT = "telephone-event"

# Clock rate and channels under which a codec is registered; under any other it is another thing.
_SHAPES = {
    "opus": (48000, 2),
    "PCMU": (8000, 1),
    "PCMA": (8000, 1),
    "G722": (8000, 1),
    "G729": (8000, 1),
}
_OPPOSITE: dict[Direction, Direction] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
_STRONG_DIGESTS = frozenset({"sha-256", "sha-384", "sha-512"})
_CANDIDATE_TYPES = frozenset({"host", "srflx", "prflx", "relay"})


@dataclass(frozen=True, slots=True)
class AudioChoice:
    """The audio section to accept. `formats` are in the offer's order under the offer's payload
    types (G138), `direction` is the answer's."""

    index: int
    media: MediaDescription
    formats: tuple[PayloadFormat, ...]
    direction: Direction

    @property
    def codec(self) -> PayloadFormat:
        """The format to send: the first that isn't a telephone-event."""
        return next(kept for kept in self.formats if kept.encoding != TELEPHONE_EVENT)

    @property
    def events(self) -> tuple[PayloadFormat, ...]:
        """The telephone-event formats, at most one of each clock rate (G151)."""
        return tuple(kept for kept in self.formats if kept.encoding == TELEPHONE_EVENT)

    @property
    def sending(self) -> bool:
        """The peer wants to receive."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def receiving(self) -> bool:
        """The peer may send."""
        return self.direction in ("sendrecv", "recvonly")


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """Where and as whom the peer can be reached. `setup` is the peer's own word, `candidates` are
    those worth a try."""

    ufrag: str
    pwd: str
    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    ice_lite: bool
    candidates: tuple[Candidate, ...]
    end_of_candidates: bool


def choose_audio(offer: SessionDescription, wanted: tuple[str, ...]) -> AudioChoice:
    """The first audio section that can be accepted with the codecs named in `wanted`.
    NegotiationError says for each section why not."""
    reasons = []
    for index, media in enumerate(offer.media):
        if media.kind != "audio":
            continue
        reason = _obstacle(media)
        if reason is None:
            formats = _common_formats(media.formats, wanted)
            if formats:
                return AudioChoice(index, media, formats, _OPPOSITE[media.direction])
            offered = ", ".join(f"{one.encoding}/{one.clock_rate}" for one in media.formats)
            reason = f"offers {offered or 'no known format'}, wanted is {', '.join(wanted)}"
        reasons.append(f"audio section {media.mid or index} {reason}")
    raise NegotiationError("; ".join(reasons) or "the offer has no audio section")


def _obstacle(media: MediaDescription) -> str | None:
    if media.port == 0:
        # RFC 8843, 7.3.1: without the section it is bundled with, a bundle-only one has no port.
        if media.bundle_only:
            return "is bundle-only: audio must be the first section of its bundle"
        return "is disabled (port 0)"
    if not media.protocol.upper().endswith(("RTP/SAVPF", "RTP/SAVP")):
        return f"is {media.protocol}, not UDP/TLS/RTP/SAVPF"
    if not media.rtcp_mux:
        return "has no rtcp-mux"
    return None


def _common_formats(
    offered: Iterable[PayloadFormat], wanted: tuple[str, ...]
) -> tuple[PayloadFormat, ...]:
    names = {name.lower() for name in wanted}
    first: dict[tuple[str, int], PayloadFormat] = {}
    for one in offered:
        shape = (one.clock_rate, one.channels)
        if one.encoding.lower() not in names or _SHAPES.get(one.encoding, shape) != shape:
            continue
        rate = one.clock_rate if one.encoding == TELEPHONE_EVENT else 0
        first.setdefault((one.encoding.lower(), rate), one)
    rates = {one.clock_rate for one in first.values() if one.encoding != TELEPHONE_EVENT}
    if not rates:
        return ()
    events = [one for one in first.values() if one.encoding == TELEPHONE_EVENT]
    # Keys pressed are better heard on a foreign clock than not at all.
    fitting = [one for one in events if one.clock_rate in rates] or events[:1]
    return tuple(one for one in first.values() if one.encoding != TELEPHONE_EVENT or one in fitting)


def answer_setup(
    offered: Setup, preferred: Literal["active", "passive"]
) -> Literal["active", "passive"]:
    """Our DTLS role (RFC 8842, 5.3): `preferred` where the peer leaves the choice."""
    if offered == "actpass":
        return preferred
    return "active" if offered == "passive" else "passive"


def remote_transport(
    offer: SessionDescription, media: MediaDescription, *, ipv6: bool = False
) -> RemoteTransport:
    """The peer's ICE and DTLS parameters for `media`. What the section lacks comes from the tagged
    section of its bundle. Candidates that can't be used are left out: names (mDNS too), TCP,
    components other than RTP, unknown types, IPv6 unless `ipv6` (G147). NegotiationError without
    ICE credentials, without a SHA-2 fingerprint, or with ``a=setup:holdconn``."""
    tagged = _tagged(offer, media)
    ice = media if media.ice_ufrag or media.ice_pwd else tagged
    if not ice.ice_ufrag or not ice.ice_pwd:
        raise NegotiationError("the offer has no a=ice-ufrag and a=ice-pwd for its audio")
    prints = media.fingerprints or tagged.fingerprints
    strong = tuple(one for one in prints if one.algorithm in _STRONG_DIGESTS)
    if not strong:
        given = ", ".join(one.algorithm for one in prints) or "none"
        raise NegotiationError(f"needs a sha-256, sha-384 or sha-512 fingerprint, has {given}")
    source = media
    if not media.candidates and tagged.ice_ufrag == ice.ice_ufrag:
        source = tagged
    return RemoteTransport(
        ufrag=ice.ice_ufrag,
        pwd=ice.ice_pwd,
        fingerprints=strong,
        setup=_setup_of(offer, media),
        ice_lite=offer.ice_lite,
        candidates=tuple(one for one in source.candidates if usable_candidate(one, ipv6=ipv6)),
        end_of_candidates=source.end_of_candidates,
    )


def usable_candidate(candidate: Candidate, *, ipv6: bool = False) -> bool:
    """Whether a remote candidate is worth a connectivity check (G147); for trickled ones too."""
    if candidate.ip_version not in ((4, 6) if ipv6 else (4,)):
        return False
    address = ipaddress.ip_address(candidate.address)
    return (
        candidate.protocol == "udp"
        and candidate.component == 1
        and candidate.type in _CANDIDATE_TYPES
        and candidate.port != 0
        and not (address.is_multicast or address.is_unspecified)
    )


def _tagged(offer: SessionDescription, media: MediaDescription) -> MediaDescription:
    bundle = offer.bundle_of(media.mid)
    found = (one for one in offer.media if bundle and one.mid == bundle[0])
    return next(found, media)


def build_answer(
    offer: SessionDescription,
    choice: AudioChoice,
    *,
    ufrag: str,
    pwd: str,
    fingerprints: Iterable[tuple[str, str]],
    candidates: Iterable[Candidate],
    setup: Literal["active", "passive"],
    ssrc: int,
    cname: str,
    session_id: int,
    session_version: int,
    ice_lite: bool = False,
    external_ip: str | None = None,
    ipv6: bool = False,
    use_dtx: bool = False,
) -> str:
    """The complete answer (G145), CRLF between lines. `fingerprints` are
    algorithms and values (`Fingerprint` is such a pair), `candidates` are our own as gathered,
    `setup` is what to be if the peer leaves the choice, `use_dtx` asks the peer for silence
    suppression in Opus. The same arguments give the same text. ConfigurationError for an
    `external_ip` that is no IP address. A Chromium that bundles by ``max-bundle`` with a section
    before its audio refuses the answer: that section is declined and the transport was its own."""
    lines = [
        "v=0",
        f"o=- {session_id} {session_version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
    ]
    mid = choice.media.mid
    if offer.bundle_of(mid):
        lines.append(f"a=group:BUNDLE {mid}")
    if ice_lite:
        lines.append("a=ice-lite")
    lines.append("a=ice-options:trickle")
    role = answer_setup(_setup_of(offer, choice.media), setup)
    transport = [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}", f"a=setup:{role}"]
    for index, media in enumerate(offer.media):
        if index != choice.index:
            lines += [*_declined(media), *transport]
            continue
        lines += [*_accepted(choice, use_dtx), *transport]
        lines += [f"a=fingerprint:{algorithm} {value}" for algorithm, value in fingerprints]
        if choice.sending:
            # Without a stream's name some pages get a track event with no stream to play.
            lines += ["a=msid:salon audio", f"a=ssrc:{ssrc} cname:{cname}"]
        shown = published_candidates(candidates, external_ip=external_ip, ipv6=ipv6)
        lines += [f"a={one.to_sdp()}" for one in shown]
        lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"


def _setup_of(offer: SessionDescription, media: MediaDescription) -> Setup:
    # Silence means active (RFC 4145, 4.1).
    setup = media.setup or _tagged(offer, media).setup or "active"
    if setup == "holdconn":
        raise NegotiationError("a=setup:holdconn asks for no connection")
    return setup


def _opening(media: MediaDescription, port: int, formats: str) -> list[str]:
    lines = [f"m={media.kind} {port} {media.protocol} {formats}", "c=IN IP4 0.0.0.0"]
    return lines if media.mid is None else [*lines, f"a=mid:{media.mid}"]


def _declined(media: MediaDescription) -> list[str]:
    # Port 0 says it all, but aiortc reads a declined section like any other: without rtcp-mux, a
    # known codec and the lines of a transport it refuses the whole answer.
    first = media.format_names[0]
    lines = [*_opening(media, 0, first), "a=inactive"]
    if media.rtcp_mux:
        lines.append("a=rtcp-mux")
    return lines + [_rtpmap(one) for one in media.formats if str(one.payload_type) == first]


def _accepted(choice: AudioChoice, use_dtx: bool) -> list[str]:
    types = " ".join(str(one.payload_type) for one in choice.formats)
    lines = [*_opening(choice.media, 9, types), f"a={choice.direction}", "a=rtcp-mux"]
    for one in choice.formats:
        lines.append(_rtpmap(one))
        parameters = _format_parameters(one, use_dtx)
        if parameters:
            lines.append(f"a=fmtp:{one.payload_type} {parameters}")
    return lines


def _rtpmap(one: PayloadFormat) -> str:
    channels = f"/{one.channels}" if one.channels > 1 else ""
    return f"a=rtpmap:{one.payload_type} {one.encoding}/{one.clock_rate}{channels}"


def _format_parameters(one: PayloadFormat, use_dtx: bool) -> str:
    if one.encoding == "opus":
        return "minptime=10;useinbandfec=1" + (";usedtx=1" if use_dtx else "")
    return "0-15" if one.encoding == TELEPHONE_EVENT else ""


def published_candidates(
    candidates: Iterable[Candidate], *, external_ip: str | None = None, ipv6: bool = False
) -> tuple[Candidate, ...]:
    """Our candidates as the peer may see them: host addresses of the family of `external_ip`
    replaced by it and no inner address left in the others (G149), no IPv6 unless `ipv6` (G147),
    none twice. ConfigurationError for an `external_ip` that is no IP address."""
    outside = None
    if external_ip is not None:
        try:
            outside = ipaddress.ip_address(external_ip)
        except ValueError:
            raise ConfigurationError(
                f"external_ip is {external_ip!r}, which is no IP address"
            ) from None
    seen: dict[tuple[str, int, str, int], Candidate] = {}
    for one in candidates:
        version = one.ip_version
        if version == 6 and not ipv6:
            continue
        shown = one
        if outside is not None:
            if one.type == "host":
                address = str(outside) if version == outside.version else one.address
                shown = replace(one, address=address, related=None)
            elif one.related is not None:
                # The grammar wants raddr here; this is how RFC 9429, 5.1.1 hides it.
                hidden = "::" if version == 6 else "0.0.0.0"  # nosec B104 - hides, binds nothing
                shown = replace(one, related=(hidden, 0))
        key = (shown.protocol, shown.component, shown.address, shown.port)
        seen.setdefault(key, shown)
    return tuple(seen.values())
