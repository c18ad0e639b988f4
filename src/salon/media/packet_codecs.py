"""The codecs of real-time packets, by their registered names: opus, PCMU, PCMA, G722, L16."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from salon.media.codec import TELEPHONE_RATE
from salon.media.conceal import Concealer
from salon.media.errors import MediaError
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from salon.media.g722 import G722Decoder, G722Encoder
from salon.media.opus import MAX_PACKET_MS, OpusDecoder, OpusEncoder
from salon.media.packet_codec import PacketDecoder, PacketEncoder
from salon.media.pcm import to_int16
from salon.media.resample import Resampler

Law = Literal["ulaw", "alaw"]
ByteOrder = Literal["little", "big"]

OPUS_CLOCK_RATE: Final = 48_000
"""Of Opus's timestamps, whatever it codes (RFC 7587)."""
DEFAULT_BITRATE: Final = 24_000
LOWEST_BITRATE: Final = 6_000
HIGHEST_BITRATE: Final = 64_000
"""Bounds of what a receiver may ask for, in bit/s."""
FEC_FROM_LOSS: Final = 3
"""Loss in percent from which redundancy is sent."""
_ROOMY_BITRATE: Final = 36_000
_ROOMLESS_LOSS: Final = 5
"""With fewer bits than that and more expected loss, the library would give up the upper half of the
spectrum for redundancy."""
MAX_RECOVERED_SAMPLES: Final = SAMPLE_RATE * MAX_PACKET_MS // 1000
MAX_PAYLOAD_SAMPLES: Final = 3_200
"""200 ms; longer payloads count as damaged. (Opus has its own bound, 120 ms.)"""

_RISE_SAMPLES: Final = SAMPLE_RATE * 5 // 1000
_OPUS_FADE: Final = np.concatenate(
    [np.ones(SAMPLE_RATE * 60 // 1000), np.linspace(1.0, 0.0, SAMPLE_RATE * 60 // 1000)]
)
"""Gain of Opus's own concealment, which falls by itself at first."""
_DTYPES: Final[dict[str, str]] = {"little": "<i2", "big": ">i2"}
_NOTHING: Final[Samples] = np.zeros(0, dtype=np.int16)
_NOTHING.flags.writeable = False


class OpusPacketDecoder(PacketDecoder):
    """Opus with its own concealment and in-band FEC. `MissingExtraError` without the library.

    The library's concealment may hum on for seconds; here it ends after 120 ms.
    """

    clock_rate = OPUS_CLOCK_RATE

    def __init__(self) -> None:
        self._decoder = OpusDecoder(SAMPLE_RATE)
        self._rest = _NOTHING
        self._concealed = 0

    def decode(self, payload: bytes) -> Samples:
        """2.5 to 120 ms, by the packet."""
        return self._returned(self._decoder.decode(payload))

    def conceal(self, samples: int) -> Samples:
        """Made in steps of 2.5 ms; what is over waits for the next call."""
        missing = samples - len(self._rest)
        if missing > 0:
            unit = self._decoder.unit
            made = self._faded(self._decoder.conceal(-(-missing // unit) * unit))
            self._rest = np.concatenate([self._rest, made]) if len(self._rest) else made
        out, self._rest = self._rest[:samples], self._rest[samples:]
        return out

    def recover(self, following: bytes, samples: int) -> Samples | None:
        """Only whole steps of 2.5 ms up to 120 ms, and no less than `following` itself lasts."""
        if not 0 < samples <= MAX_RECOVERED_SAMPLES or samples % self._decoder.unit:
            return None
        recovered = self._decoder.recover(following, samples)
        return None if recovered is None else self._returned(recovered)

    def duration(self, payload: bytes) -> int:
        """By the first byte, and the second where it counts the frames."""
        return self._decoder.duration(payload)

    def reset(self) -> None:
        """Forget the past."""
        self._decoder.reset()
        self._rest = _NOTHING
        self._concealed = 0

    def _faded(self, made: Samples) -> Samples:
        gains = _OPUS_FADE[self._concealed : self._concealed + len(made)]
        self._concealed += len(made)
        made[: len(gains)] = to_int16(made[: len(gains)] * gains)
        made[len(gains) :] = 0
        return made

    def _returned(self, samples: Samples) -> Samples:
        """Real sound again: it rises from the level to which concealment had fallen."""
        concealed, self._concealed = self._concealed, 0
        if concealed:
            self._rest = _NOTHING
            level = _OPUS_FADE[concealed] if concealed < len(_OPUS_FADE) else 0.0
            if level < 1.0:
                head = samples[:_RISE_SAMPLES]
                head[:] = to_int16(np.linspace(level, 1.0, len(head)) * head.astype(np.float64))
        return samples


class OpusPacketEncoder(PacketEncoder):
    """Opus for one mix. `MissingExtraError` without the library; keywords as for `OpusEncoder`.

    Redundancy is sent, if `fec` is on, while the listeners report loss; it gets half as many bits
    again, up to `max_bitrate`: taken from the same bits it costs more than it repairs.
    """

    clock_rate = OPUS_CLOCK_RATE

    def __init__(
        self,
        *,
        bitrate: int = DEFAULT_BITRATE,
        max_bitrate: int = HIGHEST_BITRATE,
        fec: bool = True,
        expected_loss: int = 0,
        dtx: bool = False,
    ) -> None:
        self._bitrate = min(bitrate, max_bitrate)
        self._with_fec = min(bitrate * 3 // 2, max_bitrate)
        self._fec = fec
        self._encoder = OpusEncoder(bitrate=self._bitrate, fec=fec, dtx=dtx)
        self.set_expected_loss(expected_loss)

    def encode(self, frame: Samples) -> bytes:
        """About 60 bytes, or none in silence with DTX."""
        return self._encoder.encode(frame)

    def set_expected_loss(self, percent: int) -> None:
        """What the listeners report, 0 to 100; cheap, may be called with every report."""
        redundant = self._fec and percent >= FEC_FROM_LOSS
        if self._with_fec < _ROOMY_BITRATE:
            percent = min(percent, _ROOMLESS_LOSS)
        self._encoder.set_expected_loss(percent if redundant else 0)
        self._encoder.set_bitrate(self._with_fec if redundant else self._bitrate)


class _SampledDecoder(PacketDecoder):
    """A codec with a fixed number of bytes for a sample, at `coded_rate`, and no concealment.

    Gaps are filled at the coded rate, so that the resampler sees one unbroken stream.
    """

    def __init__(self, coded_rate: int, read: Callable[[bytes], Samples]) -> None:
        self._read = read
        self._concealer = Concealer(coded_rate)
        self._up = Resampler(coded_rate, SAMPLE_RATE)
        self._ratio = SAMPLE_RATE // coded_rate
        self._rest = _NOTHING

    def decode(self, payload: bytes) -> Samples:
        """Any whole number of samples up to 200 ms."""
        if not self.duration(payload):
            raise MediaError(f"a payload of {len(payload)} bytes is damaged or too long")
        self._rest = _NOTHING
        return self._up.process(self._concealer.hear(self._read(payload)))

    def conceal(self, samples: int) -> Samples:
        """Repeats the last pitch period."""
        missing = samples - len(self._rest)
        if missing > 0:
            made = self._up.process(self._concealer.conceal(-(-missing // self._ratio)))
            self._rest = np.concatenate([self._rest, made]) if len(self._rest) else made
        out, self._rest = self._rest[:samples], self._rest[samples:]
        return out

    def duration(self, payload: bytes) -> int:
        """By the number of bytes: two samples each."""
        return _bounded(2 * len(payload))

    def reset(self) -> None:
        """Forget the past."""
        self._concealer.reset()
        self._up.reset()
        self._rest = _NOTHING


def _bounded(samples: int) -> int:
    return samples if samples <= MAX_PAYLOAD_SAMPLES else 0


class G711PacketDecoder(_SampledDecoder):
    """PCMU (`law` "ulaw") or PCMA ("alaw") at 8 kHz, concealed."""

    clock_rate = TELEPHONE_RATE

    def __init__(self, law: Law) -> None:
        super().__init__(TELEPHONE_RATE, {"ulaw": decode_ulaw, "alaw": decode_alaw}[law])


class G711PacketEncoder(PacketEncoder):
    """PCMU (`law` "ulaw") or PCMA ("alaw") at 8 kHz."""

    clock_rate = TELEPHONE_RATE

    def __init__(self, law: Law) -> None:
        self._write = {"ulaw": encode_ulaw, "alaw": encode_alaw}[law]
        self._down = Resampler(SAMPLE_RATE, TELEPHONE_RATE)

    def encode(self, frame: Samples) -> bytes:
        """160 bytes."""
        return self._write(self._down.process(frame))


class G722PacketDecoder(_SampledDecoder):
    """G.722 at 64 kbit/s, concealed. `MissingExtraError` without its library."""

    clock_rate = TELEPHONE_RATE  # by an old mistake that RFC 3551 section 4.5.2 keeps

    def __init__(self) -> None:
        self._decoder = G722Decoder()
        super().__init__(SAMPLE_RATE, self._decoder.decode)

    def reset(self) -> None:
        """Forget the past."""
        super().reset()
        self._decoder = G722Decoder()
        self._read = self._decoder.decode


class G722PacketEncoder(PacketEncoder):
    """G.722 at 64 kbit/s. `MissingExtraError` without its library."""

    clock_rate = TELEPHONE_RATE

    def __init__(self) -> None:
        self._encoder = G722Encoder()

    def encode(self, frame: Samples) -> bytes:
        """160 bytes."""
        return self._encoder.encode(frame)


class L16PacketDecoder(_SampledDecoder):
    """Linear samples, 16 bit, mono, 16 kHz, concealed.

    Little-endian, as in the binary frames of a call; over RTP RFC 3551 wants `byteorder` "big".
    """

    clock_rate = SAMPLE_RATE

    def __init__(self, byteorder: ByteOrder = "little") -> None:
        dtype = _DTYPES[byteorder]
        super().__init__(
            SAMPLE_RATE, lambda payload: np.frombuffer(payload, dtype).astype(np.int16)
        )

    def duration(self, payload: bytes) -> int:
        """By the number of bytes; an odd one is damage."""
        return 0 if len(payload) % 2 else _bounded(len(payload) // 2)


class L16PacketEncoder(PacketEncoder):
    """Linear samples, 16 bit, mono, 16 kHz; `byteorder` as for `L16PacketDecoder`."""

    clock_rate = SAMPLE_RATE

    def __init__(self, byteorder: ByteOrder = "little") -> None:
        self._dtype = _DTYPES[byteorder]

    def encode(self, frame: Samples) -> bytes:
        """640 bytes."""
        return frame.astype(self._dtype, copy=False).tobytes()


_DECODERS: Final[dict[str, Callable[[], PacketDecoder]]] = {
    "opus": OpusPacketDecoder,
    "pcmu": lambda: G711PacketDecoder("ulaw"),
    "pcma": lambda: G711PacketDecoder("alaw"),
    "g722": G722PacketDecoder,
    "l16": L16PacketDecoder,
}
_ENCODERS: Final[dict[str, Callable[[], PacketEncoder]]] = {
    "pcmu": lambda: G711PacketEncoder("ulaw"),
    "pcma": lambda: G711PacketEncoder("alaw"),
    "g722": G722PacketEncoder,
    "l16": L16PacketEncoder,
}
PACKET_CODEC_NAMES: Final = ("opus", "PCMU", "PCMA", "G722", "L16")
"""Registered names, as SDP writes them."""


def make_packet_decoder(encoding: str, clock_rate: int) -> PacketDecoder:
    """A decoder for one incoming stream, by its registered name in any case.

    `MediaError` if the name is unknown or its clock is another one; `MissingExtraError` without the
    library that it needs.
    """
    make = _DECODERS.get(encoding.lower())
    if make is None:
        raise MediaError(f"no codec {encoding!r}; there are {', '.join(PACKET_CODEC_NAMES)}")
    decoder = make()
    if decoder.clock_rate != clock_rate:
        raise MediaError(f"{encoding} runs at {decoder.clock_rate} Hz, not {clock_rate}")
    return decoder


def make_packet_encoder(
    encoding: str, parameters: Mapping[str, str] = MappingProxyType({})
) -> PacketEncoder:
    """An encoder for one outgoing stream, by its registered name in any case.

    `parameters` are the receiver's format parameters. Of those of Opus (RFC 7587) `useinbandfec`,
    `usedtx` and `maxaveragebitrate` are honoured; wrong values count as absent. `MediaError` if
    the name is unknown; `MissingExtraError` without the library that it needs.
    """
    name = encoding.lower()
    if name == "opus":
        return _opus_encoder(parameters)
    make = _ENCODERS.get(name)
    if make is None:
        raise MediaError(f"no codec {encoding!r}; there are {', '.join(PACKET_CODEC_NAMES)}")
    return make()


def _opus_encoder(parameters: Mapping[str, str]) -> OpusPacketEncoder:
    given = {name.strip().lower(): value.strip() for name, value in parameters.items()}
    limit = given.get("maxaveragebitrate", "")
    fec, dtx = given.get("useinbandfec") == "1", given.get("usedtx") == "1"
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
        return OpusPacketEncoder(fec=fec, dtx=dtx)
    most = min(max(int(limit), LOWEST_BITRATE), HIGHEST_BITRATE)
    return OpusPacketEncoder(bitrate=min(DEFAULT_BITRATE, most), max_bitrate=most, fec=fec, dtx=dtx)


class SharedPacketEncoder:
    """One mix encoded once for all its listeners.

    Frames are numbered by the mix. Whoever asks for a number first has it encoded; the others get
    the same payload, as long as they are no more than `keep` frames behind.
    """

    __slots__ = ("_kept", "_next", "encoder", "keep")

    def __init__(self, encoder: PacketEncoder, keep: int = 50) -> None:
        if keep < 1:
            raise ValueError(f"at least one payload must be kept, not {keep}")
        self.encoder: Final = encoder
        """To be told of settings, not to be given frames."""
        self._kept: deque[bytes] = deque(maxlen=keep)
        self._next: int | None = None
        self.keep = keep

    @property
    def clock_rate(self) -> int:
        """Of the encoder."""
        return self.encoder.clock_rate

    def encode(self, index: int, frame: Samples) -> bytes | None:
        """The payload of frame `index`; empty if none need be sent.

        The first number may be any. None if `index` is no longer kept or would leave out a frame:
        then the listener needs an encoder of its own, or the mix has to `restart`.
        """
        following = self._next
        if following is None or index == following:
            payload = self.encoder.encode(frame)
            self._kept.append(payload)
            self._next = index + 1
            return payload
        behind = following - index
        return self._kept[-behind] if 0 < behind <= len(self._kept) else None

    def restart(self) -> None:
        """The next number may be any again, after a break in the mix."""
        self._kept.clear()
        self._next = None
