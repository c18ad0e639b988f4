"""The thread that decodes, for all utterances of an engine together.

What of the utterances is ready goes through a streaming model in one batch. Nothing here knows of
the event loop; callbacks are called on the thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.timing import WordTime
from salon.voice.stt.base import Transcription
from salon.voice.stt.sherpa_onnx_words import segment_of

_log = logging.getLogger("salon.voice.stt.sherpa_onnx")

MAX_BATCH: Final = 32
_FULL: Final = 32_768.0
_PIECE: Final = SAMPLE_RATE // 5

Told = Callable[[Transcription], None]
Failed = Callable[[BaseException], None]


class Line:
    """One utterance on its way through the thread. Its fields belong to the decoder's lock."""

    def __init__(self, told: Told, failed: Failed, language: str | None) -> None:
        self.told = told
        self.failed = failed
        self.language = language
        self.waiting: deque[Samples] = deque()
        self.finished = False
        self.gone = False
        self.stream: Any = None
        self.done: list[Transcription] = []
        """Segments before the last endpoint."""
        self.partial = ""


class Decoder:
    """`streams` tells an online recogniser from an offline one. `close` ends the thread."""

    def __init__(self, recognizer: Any, *, streams: bool, tail_s: float = 0.0) -> None:
        self._recognizer = recognizer
        self._streams = streams
        self._tail = np.zeros(round(tail_s * SAMPLE_RATE), dtype=np.float32)
        self._changed = threading.Condition()
        self._lines: list[Line] = []
        self._ending = False
        self.batches = 0
        self.decoded = 0
        self._thread = threading.Thread(target=self._run, name="sherpa-onnx", daemon=True)
        self._thread.start()

    @property
    def lines(self) -> int:
        """Utterances under way."""
        return len(self._lines)

    def open(self, line: Line) -> None:
        """A new utterance."""
        with self._changed:
            self._lines.append(line)

    def push(self, line: Line, samples: Samples) -> None:
        """Sound for it, which is the decoder's own from now on."""
        with self._changed:
            if not line.gone:
                line.waiting.append(samples)
                self._changed.notify()

    def finish(self, line: Line) -> None:
        """There is no more."""
        with self._changed:
            line.finished = True
            self._changed.notify()

    def leave(self, line: Line) -> None:
        """It is given up."""
        with self._changed:
            line.gone = True
            line.waiting.clear()
            self._changed.notify()

    def close(self, timeout: float) -> bool:
        """End the thread after the step it is at; False if that takes longer."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if self._ending:
                    self._lines.clear()
                    return
                self._lines = [line for line in self._lines if not line.gone]
                work = [line for line in self._lines if self._is_due(line)][:MAX_BATCH]
                # Who was served goes behind the others.
                self._lines = [line for line in self._lines if line not in work] + work
                sound = [self._taken(line) for line in work]
                ends = [line.finished for line in work]
            if work:
                self._step(work, sound, ends)

    def _has_work(self) -> bool:
        return self._ending or any(line.gone or self._is_due(line) for line in self._lines)

    def _is_due(self, line: Line) -> bool:
        return line.finished or (self._streams and bool(line.waiting))

    def _taken(self, line: Line) -> Samples | None:
        if not line.waiting:
            return None
        sound = np.concatenate(line.waiting)
        line.waiting.clear()
        return sound

    def _step(self, work: list[Line], sound: list[Samples | None], ends: list[bool]) -> None:
        try:
            if self._streams:
                self._online(work, sound, ends)
            else:
                self._offline(work, sound)
        except Exception as error:  # noqa: BLE001 - the edge of the thread: utterances are told
            _log.warning("decoding failed", exc_info=True)
            for line in work:
                line.failed(error)
                self.leave(line)

    def _online(self, work: list[Line], sound: list[Samples | None], ends: list[bool]) -> None:
        recognizer = self._recognizer
        for line, samples, end in zip(work, sound, ends, strict=True):
            if line.stream is None:
                line.stream = recognizer.create_stream()
                if line.language:
                    line.stream.set_option("language", line.language)
            if samples is not None:
                _accept(line.stream, samples)
            if end:
                if len(self._tail):
                    line.stream.accept_waveform(SAMPLE_RATE, self._tail)
                line.stream.input_finished()
        while ready := [line for line in work if not line.gone and self._is_ready(line)]:
            recognizer.decode_streams([line.stream for line in ready])
            self.batches += 1
            self.decoded += len(ready)
            for line in ready:
                self._cut(line)
        for line, end in zip(work, ends, strict=True):
            self._tell(line, end)

    def _is_ready(self, line: Line) -> bool:
        return bool(self._recognizer.is_ready(line.stream))

    def _cut(self, line: Line) -> None:
        """At an endpoint the model begins anew, lest its search grow without end."""
        if not self._recognizer.is_endpoint(line.stream):
            return
        segment = self._segment(line)
        if segment.text:
            line.done.append(segment)
        self._recognizer.reset(line.stream)

    def _segment(self, line: Line) -> Transcription:
        result = self._recognizer.get_result_all(line.stream)
        return segment_of(result, float(result.start_time) * 1000)

    def _tell(self, line: Line, end: bool) -> None:
        if line.gone:
            return
        whole = _joined([*line.done, self._segment(line)])
        if end:
            line.told(Transcription(whole.text, True, whole.confidence, None, whole.words))
            self.leave(line)
        elif whole.text and whole.text != line.partial:
            line.partial = whole.text
            line.told(whole)

    def _offline(self, work: list[Line], sound: list[Samples | None]) -> None:
        """One after the other: a batch would have to wait for its longest."""
        for line, samples in zip(work, sound, strict=True):
            if line.gone:
                continue
            text = Transcription("", is_final=True)
            if samples is not None:
                stream = self._recognizer.create_stream()
                _accept(stream, samples)
                self._recognizer.decode_stream(stream)
                self.batches += 1
                self.decoded += 1
                found = segment_of(stream.result, 0.0)
                language = getattr(stream.result, "lang", "").strip("<|>") or None
                text = Transcription(found.text, True, found.confidence, language, found.words)
            line.told(text)
            self.leave(line)


def _accept(stream: Any, samples: Samples) -> None:
    """Piece by piece: the library reads an array number by number and lets no other thread run
    meanwhile."""
    sound = samples.astype(np.float32) / _FULL
    for at in range(0, len(sound), _PIECE):
        stream.accept_waveform(SAMPLE_RATE, sound[at : at + _PIECE])


def _joined(parts: list[Transcription]) -> Transcription:
    """Segments of one utterance; their times are the utterance's already."""
    text = ""
    words: list[WordTime] = []
    for part in parts:
        text = f"{text} ".lstrip() if part.text else text
        words += [
            WordTime(w.text, w.start_ms, w.end_ms, w.offset + len(text), w.length)
            for w in part.words
        ]
        text += part.text
    sure = [part.confidence for part in parts if part.confidence is not None]
    return Transcription(text.strip(), False, min(sure, default=None), None, tuple(words))
