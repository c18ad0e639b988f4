"""WAV files: read any common kind as mono int16, write 16-bit files that survive a crash (G134)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from salon.media.errors import WavError
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.pcm import decode_pcm

_PCM: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
_HEADER_BYTES: Final = 44
_MAX_HEADER: Final = 4096
_MAX_DATA: Final = 0xFFFFFFFF - _HEADER_BYTES
MAX_WAV_BYTES: Final = 256 * 1024 * 1024
"""Largest file `read_wav` takes by default."""

WavSource = str | Path | bytes | bytearray | memoryview | BinaryIO


@dataclass(frozen=True, slots=True)
class _Format:
    """What a `fmt ` chunk says."""

    kind: int
    channels: int
    rate: int
    bits: int

    @classmethod
    def parse(cls, chunk: bytes) -> _Format:
        if len(chunk) < 16:
            raise WavError(f"the fmt chunk has {len(chunk)} bytes, 16 are the least")
        kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
        if kind == _EXTENSIBLE:
            if len(chunk) < 26:
                raise WavError("the extensible fmt chunk is cut short")
            (kind,) = struct.unpack_from("<H", chunk, 24)
        if (kind, bits) not in _SUPPORTED:
            raise WavError(
                f"format {kind:#x} with {bits} bits is not supported: "
                "integers of 8, 16, 24 or 32 bits and floats of 32 or 64 are"
            )
        if not 1 <= channels <= 64:
            raise WavError(f"{channels} channels are not within 1 to 64")
        if not 1_000 <= rate <= 384_000:
            raise WavError(f"sampling rate {rate} Hz is not within 1000 to 384000")
        return cls(kind, channels, rate, bits)


_SUPPORTED: Final = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}


def _load(source: WavSource, max_bytes: int) -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, Path)):
        with Path(source).open("rb") as file:
            data = file.read(max_bytes + 1)
    else:
        data = source.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise WavError(f"the file is larger than {max_bytes} bytes")
    return data


def read_wav(source: WavSource, *, max_bytes: int = MAX_WAV_BYTES) -> tuple[Samples, int]:
    """A WAV file (path, its bytes, or a binary file) as mono ``int16[n]`` and its rate in Hz.

    Takes integers of 8, 16, 24 and 32 bits and floats of 32 and 64, any number of channels
    (averaged, G130). A `data` chunk that promises more than the file holds, as streams and crashes
    leave behind, is read as far as it goes. `WavError` (a `ValueError`) for anything else that is
    wrong with it, `OSError` from the file system.
    """
    data = _load(source, max_bytes)
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise WavError("not a WAV file: it does not start with a RIFF/WAVE header")
    form: _Format | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt ":
            form = _Format.parse(data[at : at + size])
        elif name == b"data":
            if form is None:
                raise WavError("the data chunk comes before the fmt chunk")
            samples = decode_pcm(
                memoryview(data)[at : at + size],
                sample_width=form.bits // 8,
                channels=form.channels,
                floating=form.kind == _FLOAT,
            )
            return samples, form.rate
        at += size + size % 2
    raise WavError("the file has no data chunk" if form else "the file has no fmt chunk")


def _header(rate: int, channels: int, data_bytes: int) -> bytes:
    step = channels * 2
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        data_bytes + _HEADER_BYTES - 8,
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        channels,
        rate,
        rate * step,
        step,
        16,
        b"data",
        data_bytes,
    )


class WavWriter:
    """Writes a 16-bit WAV file piece by piece; an existing file is replaced.

    The header is brought up to date at each `flush`, which `write` calls once per second of sound:
    after a crash the file is readable up to there. Use it as a context manager, or call `close`.
    The calls block on the file system. `OSError` from there, `WavError` past 4 GiB.
    """

    def __init__(self, path: str | Path, sample_rate: int = SAMPLE_RATE, channels: int = 1) -> None:
        if channels < 1 or sample_rate < 1:
            raise WavError(f"can't write {channels} channels at {sample_rate} Hz")
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        self._bytes = 0
        self._unflushed = 0
        self._file: BinaryIO = self.path.open("wb")
        self.flush()

    @property
    def frames(self) -> int:
        """Samples per channel written so far."""
        return self._bytes // (2 * self.channels)

    @property
    def duration_ms(self) -> float:
        """Length of the sound written so far."""
        return self.frames * 1000 / self.sample_rate

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    def write(self, samples: Samples) -> None:
        """Add interleaved ``int16[n * channels]`` or ``int16[n, channels]``."""
        if samples.size % self.channels:
            raise WavError(f"{samples.size} samples do not fill {self.channels} channels")
        data = samples.astype("<i2", copy=False).tobytes()
        if self._bytes + len(data) > _MAX_DATA:
            raise WavError("a WAV file can't hold more than 4 GiB")
        self._file.write(data)
        self._bytes += len(data)
        self._unflushed += len(data)
        if self._unflushed >= self.sample_rate * self.channels * 2:
            self.flush()

    def flush(self) -> None:
        """Hand all to the operating system: the sound first, then the header that counts it."""
        self._file.flush()
        self._file.seek(0)
        self._file.write(_header(self.sample_rate, self.channels, self._bytes))
        self._file.flush()
        self._file.seek(0, 2)
        self._unflushed = 0

    def close(self) -> None:
        """Flush and close; calling it again does nothing."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def write_wav(path: str | Path, samples: Samples, sample_rate: int = SAMPLE_RATE) -> None:
    """Write mono ``int16[n]`` as a file."""
    with WavWriter(path, sample_rate) as writer:
        writer.write(samples)


def wav_bytes(samples: Samples, sample_rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    """Interleaved int16 as the bytes of a WAV file."""
    data = samples.astype("<i2", copy=False).tobytes()
    return _header(sample_rate, channels, len(data)) + data


class RiffHeaderStripper:
    """Takes the WAV header off a stream of engine chunks, if it starts with one (G134).

    The header ends where the `data` chunk begins: 44 bytes in the usual case. If no `data` chunk
    shows within 4096 bytes, 44 bytes are cut. A stream that does not start with ``RIFF`` passes
    unchanged. Bytes are held only until that is decided.
    """

    __slots__ = ("_decided", "_held", "channels", "sample_rate")

    def __init__(self) -> None:
        self._held = b""
        self._decided = False
        self.sample_rate: int | None = None
        """Rate the header gave, once it has been seen."""
        self.channels: int | None = None
        """Channels the header gave, once it has been seen."""

    def feed(self, chunk: bytes) -> bytes:
        """The sound in `chunk`, preceded by what was held; maybe nothing yet."""
        if self._decided:
            return chunk
        self._held += chunk
        start = self._sound_start()
        if start is None:
            return b""
        return self._release(start)

    def flush(self) -> bytes:
        """What is still held at the end of the stream, less a header cut short."""
        if not self._held.startswith(b"RIFF"):
            return self._release(0)
        return self._release(_HEADER_BYTES)

    def _release(self, start: int) -> bytes:
        out, self._held = self._held[start:], b""
        self._decided = True
        return out

    def _sound_start(self) -> int | None:
        held = self._held
        if held[:4] != b"RIFF"[: len(held)]:
            return 0
        at = 12
        while at + 8 <= min(len(held), _MAX_HEADER):
            name, size = struct.unpack_from("<4sI", held, at)
            at += 8
            if name == b"data":
                return at
            if name == b"fmt " and at + 8 <= len(held):
                self.channels, self.sample_rate = struct.unpack_from("<HI", held, at + 2)
            at += size + size % 2
        return _HEADER_BYTES if len(held) > _MAX_HEADER or at > _MAX_HEADER else None


def strip_riff_header(first_chunk: bytes) -> bytes:
    """The first chunk of an engine without its WAV header, when it has one (G134)."""
    stripper = RiffHeaderStripper()
    return stripper.feed(first_chunk) + stripper.flush()
