"""What a recogniser may be told about the words to come."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SpeechHints:
    """What an agent can understand, as data for a recogniser.

    `phrases` are example sentences, already expanded, in plain words. An engine with a closed
    vocabulary builds its language model from them; an open one may use them as a bias. Without
    phrases the engine recognises free speech as well as it can.
    """

    phrases: tuple[str, ...] = ()
    language: str = "en"
    key: str = field(default="")
    """Equal keys mean equal hints; computed from the content when left empty."""

    def __post_init__(self) -> None:
        if not self.key:
            digest = hashlib.sha256("\n".join((self.language, *self.phrases)).encode())
            object.__setattr__(self, "key", digest.hexdigest()[:16])


NO_HINTS = SpeechHints()
