"""The recogniser's worker process: ``python -m salon.voice.stt.sphinx_worker DIRECTORY``.

Speaks the messages of `sphinx_wire` on its standard input and output and ends when the input
closes; Ctrl-C does not reach it. `DIRECTORY` holds ``<key>.json`` with the phrases of each model;
the worker adds what it builds from them beside it, so that the other workers need not build it
again.

The decoder holds the interpreter lock while it works, which is why it lives in a process of its
own. Sound is decoded in bites, and between two bites all that waits in the pipe is read, so that
a cancel overtakes the sound before it.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import time
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any, BinaryIO, Final

from salon.voice.stt import sphinx_wire as wire
from salon.voice.stt.sphinx_model import Decoder, ModelStore

_log = logging.getLogger("salon.voice.stt.sphinx_worker")

BITE_BYTES: Final = 3200
"""100 ms of sound: what is decoded between two looks at the pipe."""
PARTIAL_BYTES: Final = 6400
"""200 ms of sound between two interim results."""
KEPT_DECODERS: Final = 3
LEAVING_S: Final = 0.2
"""Whoever leaves closes the input within this time."""


class Worker:
    """Takes messages from `source`, answers on `sink`."""

    def __init__(self, store: ModelStore, source: int, sink: BinaryIO) -> None:
        self._store = store
        self._source = source
        self._sink = sink
        self._reader = wire.MessageReader()
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._closed = False
        self._decoders: OrderedDict[str, Decoder] = OrderedDict()
        self._decoder: Decoder | None = None
        self._number = 0
        self._partials = False
        self._since_partial = 0
        self._last_partial = ""
        self._cpu = 0.0

    def run(self) -> None:
        """Until the input closes."""
        while True:
            self._drain(block=not self._waiting)
            if self._closed:
                return
            if not self._waiting:
                continue
            kind, payload = self._waiting.popleft()
            try:
                self._take(kind, payload)
            except (RuntimeError, ValueError, OSError, KeyError) as error:
                self._decoder = None
                if self._left():
                    return
                _log.warning("utterance failed", exc_info=True)
                self._send(wire.FAILED, {"number": self._number, "message": str(error)})

    def _left(self) -> bool:
        """Whether the other side is gone, and perhaps the folder of models with it."""
        select.select([self._source], [], [], LEAVING_S)
        self._drain(block=False)
        return self._closed

    def _drain(self, *, block: bool) -> None:
        while not self._closed:
            ready, _, _ = select.select([self._source], [], [], None if block else 0)
            if not ready:
                return
            data = os.read(self._source, 1 << 16)
            self._closed = not data
            block = False
            for kind, payload in self._reader.feed(data):
                if kind == wire.CANCEL:
                    self._forget()
                else:
                    self._waiting.append((kind, payload))

    def _forget(self) -> None:
        """The newest utterance is given up; what came before it was finished long ago."""
        while self._waiting and self._waiting[-1][0] != wire.PREPARE:
            if self._waiting.pop()[0] == wire.BEGIN:
                return
        if self._decoder is not None:
            self._decoder.end()
            self._decoder = None

    def _take(self, kind: bytes, payload: bytes) -> None:
        if kind == wire.AUDIO:
            self._hear(payload)
        elif kind == wire.BEGIN:
            order = json.loads(payload)
            self._number, self._partials = order["number"], order["partials"]
            self._since_partial, self._last_partial = 0, ""
            decoder = self._open(order["key"])
            self._cpu = time.process_time()
            decoder.begin()
            self._decoder = decoder
        elif kind == wire.FINISH:
            self._finish()
        elif kind == wire.PREPARE:
            order = json.loads(payload)
            self._number = order["number"]
            self._open(order["key"])
            self._send(wire.READY, {"number": self._number})
        else:
            raise ValueError(f"unknown message {kind!r}")

    def _open(self, key: str) -> Decoder:
        decoder = self._decoders.get(key)
        if decoder is None:
            decoder = self._decoders[key] = self._store.decoder(key)
            while len(self._decoders) > KEPT_DECODERS:
                self._decoders.popitem(last=False)
        self._decoders.move_to_end(key)
        return decoder

    def _hear(self, sound: bytes) -> None:
        if self._decoder is None:
            return
        while len(sound) < BITE_BYTES and self._waiting and self._waiting[0][0] == wire.AUDIO:
            sound += self._waiting.popleft()[1]
        if len(sound) > BITE_BYTES:
            self._waiting.appendleft((wire.AUDIO, sound[BITE_BYTES:]))
            sound = sound[:BITE_BYTES]
        self._decoder.hear(sound)
        self._since_partial += len(sound)
        if self._partials and not self._waiting and self._since_partial >= PARTIAL_BYTES:
            self._since_partial = 0
            text = self._decoder.text()
            if text and text != self._last_partial:
                self._last_partial = text
                self._send(wire.PARTIAL, {"number": self._number, "text": text})

    def _finish(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is None:
            return
        decoder.finish()
        result: dict[str, Any] = decoder.result()
        result["number"] = self._number
        result["cpu_ms"] = round((time.process_time() - self._cpu) * 1000, 1)
        self._send(wire.FINAL, result)

    def _send(self, kind: bytes, content: dict[str, Any]) -> None:
        self._sink.write(wire.message(kind, json.dumps(content).encode()))
        self._sink.flush()


def main() -> None:
    """Serve until the input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    # What a library prints must not get between the messages.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Worker(ModelStore(Path(sys.argv[1])), 0, sink).run()


if __name__ == "__main__":
    main()
