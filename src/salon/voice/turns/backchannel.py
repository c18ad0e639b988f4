"""Words that mean "go on, I am listening" and are no wish to speak."""

from __future__ import annotations

import re

BACKCHANNELS = frozenset(
    {
        *("ah", "aha", "hm", "hmm", "huh", "mhm", "mm", "mmhm", "mmm", "oh", "uh", "um", "wow"),
        *("ok", "okay", "right", "sure", "yeah", "yep", "yes", "yup", "exactly", "indeed"),
        *("cool", "fine", "good", "great", "nice", "true"),
        *("all right", "got it", "go on", "i see", "of course", "makes sense", "mm hmm", "uh huh"),
    }
)

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def is_backchannel(text: str, known: frozenset[str] = BACKCHANNELS) -> bool:
    """Whether `text` consists of nothing but words and phrases (up to three words) of `known`.

    Case and punctuation do not matter. Text without a word is no backchannel: it says nothing.
    """
    words = _WORD.findall(text.casefold())
    at = 0
    while at < len(words):
        for length in (3, 2, 1):
            if " ".join(words[at : at + length]) in known:
                at += length
                break
        else:
            return False
    return bool(words)
