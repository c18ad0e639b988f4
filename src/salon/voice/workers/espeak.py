"""The eSpeak NG worker: ``python -m salon.voice.workers.espeak``.

A program of its own because the library is GPL-3 and keeps global state: two threads in one
library corrupt its heap. It takes the library and data of the `espeakng-loader` package.
"""

from __future__ import annotations

import ctypes
import re
import sys
from typing import Any, Final

from salon.voice.workers.frames import Fields
from salon.voice.workers.serving import (
    EngineUnavailableError,
    Request,
    RequestRefusedError,
    Sink,
    serve,
)

DEFAULT_VOICE: Final = "en-us"
ALIASES: Final = {"zh": "cmn", "no": "nb", "tl": "fil", "iw": "he", "in": "id"}
"""Language codes in use that eSpeak NG calls otherwise."""
NORMAL_WPM: Final = 175
CHUNK_MS: Final = 60
_SENTENCE_END: Final = re.compile(r"[.!?…。！？][\"'”’»)\]\s]*$")
_SWITCH: Final = re.compile(r"\([^)]*\)?")  # where a foreign word changes the language
_VARIANT: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")

_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA, _DONT_EXIT = 0x1, 0x2, 0x8000
_CHARS_UTF8, _END_PAUSE = 0x1, 0x1000
_POS_CHARACTER = 1
_RATE, _VOLUME = 1, 2
_LIST_TERMINATED, _WORD, _SENTENCE, _END, _MSG_TERMINATED, _PHONEME = 0, 1, 2, 5, 6, 7


class _EventId(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def _is_inside(text: str, offset: int) -> bool:
    """Whether a word that starts here goes on with the run of letters and digits before it."""
    before = text[max(offset - 2, 0) : offset]
    return before[-1:].isalnum() or (before[-1:] in (".", ",", ":") and before[:1].isdigit())


class _Times:
    """Turns events, which carry starts only, into words and phonemes with ends."""

    def __init__(self, sink: Sink, text: str) -> None:
        self._sink = sink
        self._text = text
        self._word: tuple[int, int, int] | None = None
        self._phoneme: tuple[str, int] | None = None

    def take(self, event: Any) -> None:
        at = int(event.audio_position)
        kind = event.type
        if kind == _PHONEME:
            self._end_phoneme(at)
            ipa = _SWITCH.sub("", event.id.string.decode("utf-8", "ignore"))
            if ipa.strip("_: "):
                self._phoneme = (ipa, at)
        elif kind == _WORD:
            self._begin_word(at, *self._range(event.text_position - 1, event.length))
        elif kind in (_SENTENCE, _END, _MSG_TERMINATED):
            self.finish(at)

    def finish(self, at: int) -> None:
        """Whatever sounds ends at `at` milliseconds."""
        self._end_phoneme(at)
        self._end_word(at)

    def _begin_word(self, at: int, offset: int, length: int) -> None:
        """A number comes as several words, the later ones inside it: they prolong the first."""
        if self._word is not None and (not length or _is_inside(self._text, offset)):
            start, first, known = self._word
            run = self._text[first : max(first + known, offset + length)]
            self._word = (start, first, max(known, len(run.split(maxsplit=1)[0])))
            return
        self._end_word(at)
        if length:
            self._word = (at, offset, length)

    def _range(self, offset: int, length: int) -> tuple[int, int]:
        offset = min(max(offset, 0), len(self._text))
        return offset, len(self._text[offset : offset + max(length, 0)].rstrip())

    def _end_word(self, at: int) -> None:
        if self._word is not None:
            start, offset, length = self._word
            self._sink.word(start, max(at, start), offset, length)
            self._word = None

    def _end_phoneme(self, at: int) -> None:
        if self._phoneme is not None:
            ipa, start = self._phoneme
            self._sink.phoneme(ipa, start, max(at, start))
            self._phoneme = None


class Espeak:
    """The library, loaded once per process."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise EngineUnavailableError("espeakng-loader is not installed") from error
        data = espeakng_loader.get_data_path().encode()
        try:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise EngineUnavailableError(f"eSpeak NG does not load: {error}") from error
        library = self._library
        library.espeak_Info.restype = ctypes.c_char_p
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        options = _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT
        self.rate: int = library.espeak_Initialize(_SYNCHRONOUS, CHUNK_MS, data, options)
        if self.rate <= 0:
            raise EngineUnavailableError(f"eSpeak NG does not start with the data in {data!r}")
        self._callback = _Callback(self._made)  # referenced for as long as the library calls it
        library.espeak_SetSynthCallback(self._callback)
        self._voices = self._list_voices()
        self._voice: str | None = None
        self._sink: Sink | None = None
        self._times: _Times | None = None
        self._failure: BaseException | None = None
        self._samples = 0
        self._use(DEFAULT_VOICE)

    def hello(self) -> Fields:
        """Fields of the hello frame."""
        version = self._library.espeak_Info(None).decode().split(" ")[0]
        return {
            "engine": "espeak-ng",
            "version": version,
            "licence": "GPL-3.0-or-later",
            "sample_rate": self.rate,
            "voices": [{"name": name} for name in self._voices],
            "default_voice": DEFAULT_VOICE,
            "words": True,
            "phonemes": True,
            "volume": True,
        }

    def speak(self, request: Request, sink: Sink) -> None:
        """Synthesize; sound goes to the sink every `CHUNK_MS` of it."""
        self._use(self._choose(request.voice, request.language))
        library = self._library
        library.espeak_SetParameter(_RATE, round(NORMAL_WPM * request.speed), 0)
        library.espeak_SetParameter(_VOLUME, round(request.volume * 20), 0)
        data = request.text.replace("\0", " ").encode("utf-8", "replace")
        self._sink, self._times = sink, _Times(sink, request.text)
        self._failure, self._samples = None, 0
        # Pieces are played back to back: a sentence brings its pause, a cut in one does not.
        sentence = _SENTENCE_END.search(request.text) is not None
        flags = _CHARS_UTF8 | (_END_PAUSE if sentence else 0)
        status = library.espeak_Synth(
            data, ctypes.c_size_t(len(data) + 1), 0, _POS_CHARACTER, 0, flags, None, None
        )
        self._times.finish(self._samples * 1000 // self.rate)
        if self._failure is not None:
            raise self._failure
        if status != 0 and not sink.audio(b""):
            return
        if status != 0:
            raise RuntimeError(f"espeak_Synth gave {status}")

    def _made(self, wave: Any, count: int, events: Any) -> int:
        """Called by the library with some sound; 1 stops it."""
        if self._sink is None or self._times is None:
            return 1
        try:
            index = 0
            while events[index].type != _LIST_TERMINATED:
                self._times.take(events[index])
                index += 1
            if not wave or count <= 0:
                return 0
            self._samples += count
            return 0 if self._sink.audio(ctypes.string_at(wave, count * 2)) else 1
        except BaseException as error:  # noqa: BLE001 - cannot pass through C; raised by speak
            self._failure = error
            return 1

    def _list_voices(self) -> dict[str, str]:
        """Language names, and the identifiers the library loads them by."""
        names: dict[str, str] = {}
        listed = self._library.espeak_ListVoices(None)
        index = 0
        while listed[index]:
            # A priority byte, then the language's name.
            voice = listed[index].contents
            language = ctypes.string_at(voice.languages + 1).decode().lower()
            names.setdefault(language, voice.identifier.decode())
            index += 1
        return names

    def _choose(self, voice: str | None, language: str | None) -> str:
        """A known voice, with a variant perhaps: names from outside never reach the file system."""
        if voice is not None:
            base, plus, variant = voice.partition("+")
            if base.lower() not in self._voices or (plus and not _VARIANT.fullmatch(variant)):
                raise RequestRefusedError(f"eSpeak NG has no voice {voice[:60]!r}")
            return base.lower() + plus + variant
        return self._for_language(language) if language else DEFAULT_VOICE

    def _for_language(self, language: str) -> str:
        """The nearest voice to a BCP 47 tag: itself, the bare language, its home country, any."""
        wanted = language.lower().replace("_", "-")
        base = wanted.partition("-")[0]
        base = ALIASES.get(base, base)
        if base == "en" and wanted not in self._voices:
            return DEFAULT_VOICE
        for name in (wanted, base, f"{base}-{base}"):
            if name in self._voices:
                return name
        return next((name for name in self._voices if name.startswith(base + "-")), DEFAULT_VOICE)

    def _use(self, voice: str) -> None:
        if voice != self._voice:
            base, plus, variant = voice.partition("+")
            identifier = self._voices[base] + plus + variant
            if self._library.espeak_SetVoiceByName(identifier.encode()) != 0:
                raise RequestRefusedError(f"eSpeak NG cannot load the voice {voice!r}")
            self._voice = voice


if __name__ == "__main__":
    sys.exit(serve(Espeak))
