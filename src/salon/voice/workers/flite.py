"""The Flite worker: ``python -m salon.voice.workers.flite``. English only.

Takes the shared libraries of the system (Debian: ``libflite1``). A program of its own because a
piece cannot be stopped before its first sound, and because a fault in C must not end the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path
from typing import Any, Final

from salon.voice.workers.frames import Fields
from salon.voice.workers.serving import (
    EngineUnavailableError,
    Request,
    RequestRefusedError,
    Sink,
    serve,
)

VOICES: Final = {"slt": 16000, "rms": 16000, "awb": 16000, "kal16": 16000, "kal": 8000}
"""Names and their sampling rates; the first that is installed is the default."""
CHUNK_SAMPLES: Final = 640
_STOP, _CONTINUE = -1, 0

IPA: Final = {
    "aa": "ɑː", "ae": "æ", "ah": "ʌ", "ao": "ɔː", "aw": "aʊ", "ax": "ə", "axr": "ɚ", "ay": "aɪ",
    "b": "b", "ch": "tʃ", "d": "d", "dh": "ð", "dx": "ɾ", "eh": "ɛ", "el": "əl", "em": "əm",
    "en": "ən", "er": "ɜː", "ey": "eɪ", "f": "f", "g": "ɡ", "hh": "h", "hv": "h", "ih": "ɪ",
    "iy": "iː", "jh": "dʒ", "k": "k", "l": "l", "m": "m", "n": "n", "nx": "n", "ng": "ŋ",
    "ow": "oʊ", "oy": "ɔɪ", "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t", "th": "θ",
    "uh": "ʊ", "uw": "uː", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ",
}  # fmt: skip
"""Flite's names of the sounds of American English; pauses are not among them."""


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Streaming(ctypes.Structure):
    _fields_ = (
        ("min_buffsize", ctypes.c_int),
        ("asc", ctypes.c_void_p),
        ("utt", ctypes.c_void_p),
        ("item", ctypes.c_void_p),
        ("userdata", ctypes.c_void_p),
    )


class _Voice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.POINTER(_Wave),
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(_Streaming),
)

_POINTER, _TEXT, _FLOAT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float
_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "new_audio_streaming_info": (ctypes.POINTER(_Streaming), ()),
    "audio_streaming_info_val": (_POINTER, (_POINTER,)),
    "flite_feat_set": (None, (_POINTER, _TEXT, _POINTER)),
    "flite_feat_set_float": (None, (_POINTER, _TEXT, _FLOAT)),
    "flite_synth_text": (_POINTER, (_TEXT, _POINTER)),
    "delete_utterance": (None, (_POINTER,)),
    "utt_relation_present": (ctypes.c_int, (_POINTER, _TEXT)),
    "utt_relation": (_POINTER, (_POINTER, _TEXT)),
    "relation_head": (_POINTER, (_POINTER,)),
    "item_next": (_POINTER, (_POINTER,)),
    "item_parent": (_POINTER, (_POINTER,)),
    "item_as": (_POINTER, (_POINTER, _TEXT)),
    "item_feat_present": (ctypes.c_int, (_POINTER, _TEXT)),
    "item_feat_string": (_TEXT, (_POINTER, _TEXT)),
    "item_feat_float": (_FLOAT, (_POINTER, _TEXT)),
}


def _version() -> str:
    """The library tells no version, but its file's name does."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            _, found, version = line.rpartition("/libflite.so.")
            if found:
                return version.strip()
    return "unknown"


class Flite:
    """The libraries, with every voice that is installed; loaded voices stay."""

    def __init__(self) -> None:
        self._library = self._open("libflite.so.1")
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._library.flite_init()
        self._libraries: dict[str, ctypes.CDLL] = {}
        for name in VOICES:
            with contextlib.suppress(EngineUnavailableError):
                self._libraries[name] = self._open(f"libflite_cmu_us_{name}.so.1")
        if not self._libraries:
            raise EngineUnavailableError("Flite has no voices: apt-get install libflite1")
        self._default = next(iter(self._libraries))
        self._loaded: dict[str, Any] = {}
        self._callback = _Callback(self._made)  # referenced for as long as the library calls it
        self._sink: Sink | None = None
        self._text = ""
        self._told = False
        self._failure: BaseException | None = None
        self._voice(self._default)

    @staticmethod
    def _open(name: str) -> ctypes.CDLL:
        try:
            # Voices look for the main library's functions among the global names.
            return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            message = f"Flite is not installed ({error}): apt-get install libflite1"
            raise EngineUnavailableError(message) from error

    def hello(self) -> Fields:
        """Fields of the hello frame."""
        voices = [
            {"name": name, "language": "en-us", "sample_rate": VOICES[name]}
            for name in self._libraries
        ]
        return {
            "engine": "flite",
            "version": _version(),
            "licence": "BSD-style (Carnegie Mellon University)",
            "sample_rate": VOICES[self._default],
            "voices": voices,
            "default_voice": self._default,
            "words": True,
            "phonemes": True,
            "volume": False,
        }

    def speak(self, request: Request, sink: Sink) -> None:
        """Synthesize ASCII text; all times go out before the first sound."""
        if not request.text.isascii():
            raise RequestRefusedError("Flite takes ASCII text only")
        if not any(character.isalnum() for character in request.text):
            return
        voice = self._voice(request.voice or self._default)
        library = self._library
        stretch = 1.0 / request.speed
        library.flite_feat_set_float(voice.contents.features, b"duration_stretch", stretch)
        self._sink, self._text = sink, request.text
        self._told, self._failure = False, None
        data = request.text.replace("\0", " ").encode("ascii")
        utterance = library.flite_synth_text(data, voice)
        if utterance:
            library.delete_utterance(utterance)
        if self._failure is not None:
            raise self._failure
        if not utterance:
            raise RuntimeError("flite_synth_text gave nothing")

    def _voice(self, name: str) -> Any:
        if name in self._loaded:
            return self._loaded[name]
        if name not in self._libraries:
            raise RequestRefusedError(f"Flite has no voice {name[:60]!r}")
        register = self._libraries[name][f"register_cmu_us_{name}"]
        register.restype, register.argtypes = ctypes.POINTER(_Voice), (_TEXT,)
        voice = register(None)
        if not voice:
            raise RequestRefusedError(f"Flite cannot load the voice {name!r}")
        library = self._library
        streaming = library.new_audio_streaming_info()
        streaming.contents.min_buffsize = CHUNK_SAMPLES
        streaming.contents.asc = ctypes.cast(self._callback, _POINTER)
        value = library.audio_streaming_info_val(streaming)
        library.flite_feat_set(voice.contents.features, b"streaming_info", value)
        self._loaded[name] = voice
        return voice

    def _made(self, wave: Any, start: int, size: int, last: int, streaming: Any) -> int:
        """Called by the library with some sound; `_STOP` stops it."""
        if self._sink is None:
            return _STOP
        try:
            if not self._told:
                self._told = True
                self._tell_times(self._sink, streaming.contents.utt)
            if size <= 0:
                return _CONTINUE
            address = ctypes.addressof(wave.contents.samples.contents) + 2 * start
            more = self._sink.audio(ctypes.string_at(address, 2 * size))
        except BaseException as error:  # noqa: BLE001 - cannot pass through C; raised by speak
            self._failure = error
            return _STOP
        return _CONTINUE if more else _STOP

    def _tell_times(self, sink: Sink, utterance: int | None) -> None:
        """Walk the utterance's segments: each knows its end, its word and its token."""
        library = self._library
        if not utterance or not library.utt_relation_present(utterance, b"Segment"):
            return
        ranges = self._token_ranges(utterance)
        spans: dict[int, tuple[int, int]] = {}
        start = 0
        segment = library.relation_head(library.utt_relation(utterance, b"Segment"))
        while segment:
            end = round(library.item_feat_float(segment, b"end") * 1000)
            ipa = IPA.get(library.item_feat_string(segment, b"name").decode("ascii", "ignore"))
            if ipa is not None:
                sink.phoneme(ipa, start, end)
                token = self._token_of(segment)
                if token is not None:
                    spans[token] = (spans.get(token, (start, end))[0], end)
            start = end
            segment = library.item_next(segment)
        for token, (begin, end) in spans.items():
            if token in ranges:
                sink.word(begin, end, *ranges[token])

    def _token_of(self, segment: int) -> int | None:
        library = self._library
        item = library.item_as(segment, b"SylStructure")
        for _ in range(2):  # syllable, word
            item = library.item_parent(item) if item else None
        item = library.item_as(item, b"Token") if item else None
        token: int | None = library.item_parent(item) if item else None
        return token

    def _token_ranges(self, utterance: int) -> dict[int, tuple[int, int]]:
        """Where each token stands in the text; the library keeps only the strings, in order."""
        library = self._library
        ranges: dict[int, tuple[int, int]] = {}
        at = 0
        item = library.relation_head(library.utt_relation(utterance, b"Token"))
        while item:
            name = library.item_feat_string(item, b"name").decode("ascii", "ignore")
            found = self._text.find(name, at)
            if found >= 0:
                ranges[item] = (found, len(name))
                at = found + len(name)
            item = library.item_next(item)
        return ranges


if __name__ == "__main__":
    sys.exit(serve(Flite))
