"""Session descriptions from outside, read into values (RFC 8866, with the ICE, DTLS and BUNDLE
attributes of RFC 8839, 8842 and 8843 as browsers write them by RFC 9429).

Knows the grammar, not what Salon can do with it: choosing and answering are in `answer`. The text
is untrusted: sizes are bounded, every value that is kept is checked, and what is malformed raises
`NegotiationError` with its line. Attributes and line types nobody here uses are passed over.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, cast

from salon.transport.packets import NegotiationError, PayloadFormat

MAX_TEXT_BYTES = 64 * 1024
MAX_LINE_CHARACTERS = 4096
MAX_MEDIA = 64
MAX_CANDIDATES = 200
"""In a whole description, all sections together."""
MAX_FORMATS = 128
"""In one media section."""

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup = Literal["actpass", "active", "passive", "holdconn"]

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_SETUPS = ("actpass", "active", "passive", "holdconn")
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,256}")
_PROTOCOL = re.compile(r"[A-Za-z0-9/._\-]{1,64}")
_ADDRESS = re.compile(r"[A-Za-z0-9.:%_\-]{1,255}")
_FOUNDATION = re.compile(r"[!-~]{1,32}")
# RFC 8839 allows letters, digits, + and /; the rest is what libwebrtc takes from old peers.
_ICE_UFRAG = re.compile(r"[A-Za-z0-9+/\-_=#]{4,256}")
_ICE_PWD = re.compile(r"[A-Za-z0-9+/\-_=#]{22,256}")
_HEX_PAIRS = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){15,63}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MILLISECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")

_DIGEST_BYTES = {"sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
_REGISTERED = {
    name.lower(): name
    for name in ("opus", "PCMU", "PCMA", "G722", "G729", "L16", "CN", "telephone-event")
}
_STATIC_FORMATS = {
    0: PayloadFormat(0, "PCMU", 8000),
    8: PayloadFormat(8, "PCMA", 8000),
    9: PayloadFormat(9, "G722", 8000),
    13: PayloadFormat(13, "CN", 8000),
    18: PayloadFormat(18, "G729", 8000),
}


def _number(text: str, what: str, highest: int, lowest: int = 0) -> int:
    # int() alone takes signs, underscores and the digits of every script.
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise NegotiationError(f"{what} is not a number")
    value = int(text)
    if not lowest <= value <= highest:
        raise NegotiationError(f"{what} {value} is outside {lowest} to {highest}")
    return value


def _match(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        raise NegotiationError(f"malformed {what}")
    return text


class Fingerprint(NamedTuple):
    """A certificate's digest (RFC 8122): algorithm in lower case (``sha-256``), value as pairs of
    upper-case hex digits between colons."""

    algorithm: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read ``sha-256 AB:CD:...``. NegotiationError if a known digest has another length."""
        parts = text.split()
        if len(parts) != 2:
            raise NegotiationError("a fingerprint is an algorithm and a value")
        algorithm = _match(_TOKEN, parts[0].lower(), "fingerprint algorithm")
        value = _match(_HEX_PAIRS, parts[1].upper(), "fingerprint value")
        length = (len(value) + 1) // 3
        if length != _DIGEST_BYTES.get(algorithm, length):
            raise NegotiationError(f"a {algorithm} fingerprint can't have {length} bytes")
        return cls(algorithm, value)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An ICE candidate (RFC 8839, 5.1; TCP: RFC 6544). `protocol` and `type` are lower case,
    `related` is the base or mapped address and port (``raddr``, ``rport``)."""

    foundation: str
    component: int
    protocol: str
    priority: int
    address: str
    port: int
    type: str
    related: tuple[str, int] | None = None
    tcptype: str | None = None
    ufrag: str | None = None

    @property
    def is_mdns(self) -> bool:
        """The address is a browser's `.local` name, which only its own network can resolve."""
        return self.address.lower().rstrip(".").endswith(".local")

    @property
    def ip_version(self) -> Literal[4, 6] | None:
        """None if the address is a name."""
        try:
            return ipaddress.ip_address(self.address).version
        except ValueError:
            return None

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """Read the attribute with or without its leading ``a=`` and ``candidate:``.
        NegotiationError says what is wrong with it."""
        if len(text) > MAX_LINE_CHARACTERS:
            raise NegotiationError(f"a candidate of {len(text)} characters")
        try:
            return cls._parse(text.strip().removeprefix("a=").removeprefix("candidate:"))
        except NegotiationError as error:
            raise NegotiationError(f"candidate {_shown(text)}: {error}") from None

    @classmethod
    def _parse(cls, text: str) -> Candidate:
        parts = text.split()
        if len(parts) < 8 or parts[6] != "typ":
            raise NegotiationError(
                "expected foundation, component, protocol, priority, address, port, typ and type"
            )
        if len(parts) % 2:
            raise NegotiationError("an extension has no value")
        extensions = dict(zip(parts[8::2], parts[9::2], strict=True))
        related = None
        if "raddr" in extensions:
            related = (
                _match(_ADDRESS, extensions["raddr"], "raddr"),
                _number(extensions.get("rport", "0"), "rport", 65535),
            )
        tcptype, ufrag = extensions.get("tcptype"), extensions.get("ufrag")
        return cls(
            foundation=_match(_FOUNDATION, parts[0], "foundation"),
            component=_number(parts[1], "component", 256, 1),
            protocol=_match(_TOKEN, parts[2], "protocol").lower(),
            priority=_number(parts[3], "priority", 2**32 - 1),
            address=_match(_ADDRESS, parts[4], "address"),
            port=_number(parts[5], "port", 65535),
            type=_match(_TOKEN, parts[7], "type").lower(),
            related=related,
            tcptype=None if tcptype is None else _match(_TOKEN, tcptype, "tcptype").lower(),
            ufrag=None if ufrag is None else _match(_ICE_UFRAG, ufrag, "ufrag"),
        )

    def to_sdp(self) -> str:
        """The attribute's text, from ``candidate:`` on."""
        text = (
            f"candidate:{self.foundation} {self.component} {self.protocol} {self.priority} "
            f"{self.address} {self.port} typ {self.type}"
        )
        if self.related is not None:
            text += f" raddr {self.related[0]} rport {self.related[1]}"
        if self.tcptype is not None:
            text += f" tcptype {self.tcptype}"
        if self.ufrag is not None:
            text += f" ufrag {self.ufrag}"
        return text


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One ``m=`` section; what it doesn't say itself is taken from the session level.

    `format_names` are the formats of the ``m=`` line as written; `payload_types` the same as
    numbers (empty if the section isn't RTP); `formats` those of them whose meaning is known, in
    the same order. `bad_candidates` counts candidate lines that could not be read.
    `ptime` is in milliseconds.
    """

    kind: str
    port: int
    protocol: str
    format_names: tuple[str, ...]
    payload_types: tuple[int, ...] = ()
    formats: tuple[PayloadFormat, ...] = ()
    mid: str | None = None
    direction: Direction = "sendrecv"
    rtcp_mux: bool = False
    bundle_only: bool = False
    setup: Setup | None = None
    ice_ufrag: str | None = None
    ice_pwd: str | None = None
    fingerprints: tuple[Fingerprint, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    bad_candidates: int = 0
    end_of_candidates: bool = False
    ssrcs: tuple[int, ...] = ()
    connection: str | None = None
    ptime: float | None = None


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description. `groups` are the mids of each BUNDLE group, the first being the tagged
    section (RFC 8843)."""

    ice_ufrag: str | None = None
    ice_pwd: str | None = None
    ice_lite: bool = False
    fingerprints: tuple[Fingerprint, ...] = ()
    setup: Setup | None = None
    groups: tuple[tuple[str, ...], ...] = ()
    media: tuple[MediaDescription, ...] = ()
    connection: str | None = None

    @classmethod
    def parse(cls, text: str) -> SessionDescription:
        """Read a description; lines may end in LF or CRLF. NegotiationError names the line."""
        return _Reader().read(text)

    def bundle_of(self, mid: str | None) -> tuple[str, ...]:
        """The mids bundled with `mid`, itself among them; () if it is in no group."""
        return next((group for group in self.groups if mid is not None and mid in group), ())


def _shown(line: str) -> str:
    """A line fit for a message: short, ASCII, quoted."""
    return ascii(line if len(line) <= 120 else line[:117] + "...")


@dataclass(slots=True)
class _Level:
    """What has been read so far at the session level or in one media section."""

    port: int = 0
    kind: str = ""
    protocol: str = ""
    format_names: tuple[str, ...] = ()
    payload_types: tuple[int, ...] = ()
    rtpmaps: dict[int, PayloadFormat] = field(default_factory=dict)
    parameters: dict[int, str] = field(default_factory=dict)
    groups: list[tuple[str, ...]] = field(default_factory=list)
    mid: str | None = None
    direction: Direction | None = None
    rtcp_mux: bool = False
    bundle_only: bool = False
    ice_lite: bool = False
    setup: Setup | None = None
    ice_ufrag: str | None = None
    ice_pwd: str | None = None
    fingerprints: list[Fingerprint] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    bad_candidates: int = 0
    end_of_candidates: bool = False
    ssrcs: dict[int, None] = field(default_factory=dict)
    connection: str | None = None
    ptime: float | None = None

    def formats(self) -> tuple[PayloadFormat, ...]:
        known = []
        for number in self.payload_types:
            meaning = self.rtpmaps.get(number) or _STATIC_FORMATS.get(number)
            if meaning is not None:
                given = self.parameters.get(number)
                if given is not None:
                    meaning = replace(meaning, parameters=_parameters(meaning.encoding, given))
                known.append(meaning)
        return tuple(known)

    def finished(self, session: _Level) -> MediaDescription:
        # Credentials come as a pair: half a pair here isn't completed from the session.
        ice = self if self.ice_ufrag or self.ice_pwd else session
        return MediaDescription(
            kind=self.kind,
            port=self.port,
            protocol=self.protocol,
            format_names=self.format_names,
            payload_types=self.payload_types,
            formats=self.formats(),
            mid=self.mid,
            direction=self.direction or session.direction or "sendrecv",
            rtcp_mux=self.rtcp_mux,
            bundle_only=self.bundle_only,
            setup=self.setup or session.setup,
            ice_ufrag=ice.ice_ufrag,
            ice_pwd=ice.ice_pwd,
            fingerprints=tuple(self.fingerprints or session.fingerprints),
            candidates=tuple(self.candidates),
            bad_candidates=self.bad_candidates,
            end_of_candidates=self.end_of_candidates or session.end_of_candidates,
            ssrcs=tuple(self.ssrcs),
            connection=self.connection or session.connection,
            ptime=self.ptime,
        )


def _parameters(encoding: str, text: str) -> Mapping[str, str]:
    """``fmtp`` as names (lower case) and values; a telephone-event's list is named ``events``, as
    RFC 4733 registers it; a word without a value has ""."""
    if encoding == "telephone-event":
        return {"events": text.strip()}
    pairs = (item.partition("=") for item in text.split(";") if item.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _media_line(value: str) -> _Level:
    parts = value.split()
    if len(parts) < 4:
        raise NegotiationError("expected media, port, protocol and formats")
    kind, port, protocol, *names = parts
    if len(names) > MAX_FORMATS:
        raise NegotiationError(f"{len(names)} formats, at most {MAX_FORMATS}")
    _match(_PROTOCOL, protocol, "protocol")
    for name in names:
        _match(_TOKEN, name, "format")
    numbers: tuple[int, ...] = ()
    if "RTP/" in protocol.upper():
        numbers = tuple(_number(name, "payload type", 127) for name in names)
        if len(set(numbers)) != len(numbers):
            raise NegotiationError("a payload type is listed twice")
    return _Level(
        kind=_match(_TOKEN, kind, "media"),
        port=_number(port.partition("/")[0], "port", 65535),
        protocol=protocol,
        format_names=tuple(names),
        payload_types=numbers,
    )


def _connection_line(value: str) -> str:
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise NegotiationError("expected IN, IP4 or IP6, and an address")
    return _match(_ADDRESS, parts[2].partition("/")[0], "address")


def _read_rtpmap(level: _Level, value: str) -> None:
    number, _, mapping = value.partition(" ")
    payload_type = _number(number, "payload type", 127)
    name, _, rest = mapping.strip().partition("/")
    rate, _, channels = rest.partition("/")
    _match(_TOKEN, name, "encoding")
    meaning = PayloadFormat(
        payload_type,
        _REGISTERED.get(name.lower(), name),
        _number(rate, "clock rate", 10**9, 1),
        _number(channels or "1", "channels", 255, 1),
    )
    if payload_type in level.payload_types:
        level.rtpmaps.setdefault(payload_type, meaning)


def _read_fmtp(level: _Level, value: str) -> None:
    number, _, parameters = value.partition(" ")
    if level.payload_types and number != "*":
        level.parameters.setdefault(_number(number, "payload type", 127), parameters)


def _read_group(level: _Level, value: str) -> None:
    semantics, *mids = value.split()[: MAX_MEDIA + 1] or [""]
    if semantics == "BUNDLE":
        level.groups.append(tuple(_match(_TOKEN, mid, "mid") for mid in mids))


def _read_setup(level: _Level, value: str) -> None:
    if value not in _SETUPS:
        raise NegotiationError("setup is actpass, active, passive or holdconn")
    level.setup = cast(Setup, value)


def _read_ssrc(level: _Level, value: str) -> None:
    level.ssrcs[_number(value.partition(" ")[0], "SSRC", 2**32 - 1)] = None


def _read_candidate(level: _Level, value: str) -> None:
    # One address nobody understands must not cost the call: the others may do (RFC 8839, 5.1).
    try:
        level.candidates.append(Candidate.parse(value))
    except NegotiationError:
        level.bad_candidates += 1


def _read_fingerprint(level: _Level, value: str) -> None:
    level.fingerprints.append(Fingerprint.parse(value))


def _read_ptime(level: _Level, value: str) -> None:
    level.ptime = float(_match(_MILLISECONDS, value, "ptime"))


_ATTRIBUTES: Mapping[str, Callable[[_Level, str], None]] = {
    "rtpmap": _read_rtpmap,
    "fmtp": _read_fmtp,
    "group": _read_group,
    "setup": _read_setup,
    "fingerprint": _read_fingerprint,
    "candidate": _read_candidate,
    "ssrc": _read_ssrc,
    "ptime": _read_ptime,
}
_FLAGS = {
    "rtcp-mux": "rtcp_mux",
    "bundle-only": "bundle_only",
    "ice-lite": "ice_lite",
    "end-of-candidates": "end_of_candidates",
}
_TEXTS = {
    "mid": ("mid", _TOKEN),
    "ice-ufrag": ("ice_ufrag", _ICE_UFRAG),
    "ice-pwd": ("ice_pwd", _ICE_PWD),
}


class _Reader:
    """Reads one description from its first line to its last."""

    def __init__(self) -> None:
        self._session = _Level()
        self._media: list[_Level] = []
        self._level = self._session
        self._candidates = 0

    def read(self, text: str) -> SessionDescription:
        if len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
            raise NegotiationError(f"a description of more than {MAX_TEXT_BYTES} bytes")
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        if lines[0].rstrip() != "v=0":
            raise NegotiationError(f"SDP line 1 {_shown(lines[0])}: expected v=0")
        for number, line in enumerate(lines[1:], 2):
            try:
                self._line(line)
            except NegotiationError as error:
                shown = "" if "ice-pwd" in line else f" {_shown(line)}"  # keep it out of logs
                raise NegotiationError(f"SDP line {number}{shown}: {error}") from None
        return self._finished()

    def _line(self, line: str) -> None:
        if not line.strip():
            return
        if len(line) > MAX_LINE_CHARACTERS:
            raise NegotiationError(f"{len(line)} characters, at most {MAX_LINE_CHARACTERS}")
        if _CONTROL.search(line):
            raise NegotiationError("a control character")
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise NegotiationError("expected a letter and =")
        value = line[2:].strip()
        match line[0]:
            case "m":
                if len(self._media) == MAX_MEDIA:
                    raise NegotiationError(f"more than {MAX_MEDIA} media sections")
                self._level = _media_line(value)
                self._media.append(self._level)
            case "c":
                self._level.connection = _connection_line(value)
            case "a":
                self._attribute(value)

    def _attribute(self, text: str) -> None:
        name, _, value = text.partition(":")
        if name in _DIRECTIONS:
            self._level.direction = cast(Direction, name)
        elif name in _FLAGS:
            setattr(self._level, _FLAGS[name], True)
        elif name in _TEXTS:
            where, pattern = _TEXTS[name]
            setattr(self._level, where, _match(pattern, value.strip(), name))
        elif name in _ATTRIBUTES:
            if name == "candidate":
                self._candidates += 1
                if self._candidates > MAX_CANDIDATES:
                    raise NegotiationError(f"more than {MAX_CANDIDATES} candidates")
            _ATTRIBUTES[name](self._level, value.strip())

    def _finished(self) -> SessionDescription:
        session = self._session
        mids = [level.mid for level in self._media if level.mid is not None]
        if len(set(mids)) != len(mids):
            raise NegotiationError("two media sections have the same mid")
        return SessionDescription(
            ice_ufrag=session.ice_ufrag,
            ice_pwd=session.ice_pwd,
            ice_lite=session.ice_lite,
            fingerprints=tuple(session.fingerprints),
            setup=session.setup,
            groups=tuple(session.groups),
            media=tuple(level.finished(session) for level in self._media),
            connection=session.connection,
        )
