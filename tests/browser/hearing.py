"""What the page played, judged by its loudness and by a real recogniser."""

from __future__ import annotations

import asyncio
import base64
import re

import numpy as np
from tests.browser.room_page import RoomPage

from salon.media import Samples, rms_dbfs
from salon.models.speech import SpeechHints
from salon.providers.house import HouseAgent
from salon.voice.stt import PocketSphinxSpeechToText

_CHUNK = 1_600
_LIMIT_S = 60.0
_COMMON = frozenset(
    [
        "the",
        "a",
        "an",
        "and",
        "or",
        "of",
        "to",
        "in",
        "on",
        "at",
        "is",
        "are",
        "be",
        "it",
        "its",
        "you",
        "your",
        "can",
        "for",
        "with",
        "from",
        "this",
        "that",
    ]
)

_COLLECT = """() => {
  const chunks = window.salonReceived ?? [];
  let text = "";
  for (const chunk of chunks)
    for (const byte of new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength))
      text += String.fromCharCode(byte);
  return btoa(text);
}"""


async def received_sound(page: RoomPage) -> Samples:
    """Everything the call brought, ``int16[n]`` 16 kHz; needs ``#capture`` in the address."""
    return np.frombuffer(base64.b64decode(await page.page.evaluate(_COLLECT)), dtype="<i2").astype(
        np.int16
    )


def loud_ms(samples: Samples, *, above_dbfs: float = -45.0) -> int:
    """How many ms of `samples` are sound rather than silence, in steps of 20 ms."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    return 20 * sum(rms_dbfs(frame) > above_dbfs for frame in frames)


def content_words(text: str) -> set[str]:
    """The words of `text` that carry meaning, lower case."""
    return {word for word in plain(text).split() if len(word) > 2} - _COMMON


def resembles(heard: str, said: str) -> bool:
    """Whether `heard` may be what a recogniser made of `said`: a word of meaning is in both. For
    tests of what carries the words, which cost a word on a busy machine."""
    return bool(content_words(heard) & content_words(said))


def plain(text: str) -> str:
    """`text` as a recogniser writes it: lower-case words and nothing else."""
    folded = text.lower().replace("é", "e")
    return " ".join(re.findall(r"[a-z']+", folded))


async def recognised(samples: Samples, answer: str) -> str:
    """What PocketSphinx understands of `samples`, among all that the house agent understands and
    the sentences of `answer`."""
    sentences = (plain(part) for part in re.split(r"(?<=[.!?,:])\s", answer))
    known = HouseAgent.load().speech_hints().phrases
    hints = SpeechHints((*known, plain(answer), *(part for part in sentences if part)))
    engine = PocketSphinxSpeechToText(workers=1)
    async with asyncio.timeout(_LIMIT_S):
        await engine.start()
        try:
            await engine.prepare(hints)
            utterance = engine.recognize(hints)
            for start in range(0, len(samples), _CHUNK):
                utterance.push(samples[start : start + _CHUNK])
            return (await utterance.finish()).text
        finally:
            await engine.close()
