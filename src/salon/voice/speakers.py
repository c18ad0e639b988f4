"""Who says what on one line, as a recogniser tells speakers apart (V233, V235)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final as Constant

from salon.voice.events import Final

__all__ = ["UNKNOWN", "LabelEpochs", "SpokenBy", "speaker_name"]

UNKNOWN: Constant = "Unknown speaker"


def speaker_name(label: str | None, epoch: int) -> str:
    """What a speaker is called until somebody names them (V235)."""
    if label is None:
        return UNKNOWN
    return f"Speaker {label}" if epoch == 0 else f"Speaker {label}#{epoch}"


@dataclass(frozen=True, slots=True)
class SpokenBy(Final):
    """The words of one speaker within a turn. `label` None: nobody in particular; labels are
    comparable only inside one epoch."""

    label: str | None = None
    epoch: int = 0
    changed: bool = False
    """Another voice than before: ON_SPEAKER_CHANGE is due."""
    is_new: bool = False
    """Never heard before in this epoch."""

    @property
    def name(self) -> str:
        """What the speaker is called until somebody names them."""
        return speaker_name(self.label, self.epoch)


@dataclass(slots=True)
class LabelEpochs:
    """The streams of one session, counted from 0, and the labels of the newest. A session without
    a stream so far is in epoch -1."""

    epoch: int = -1
    _last: str | None = None
    _known: set[str] = field(default_factory=set)

    def opened(self) -> int:
        """A stream was opened: labels mean nothing any more (V235). Its number."""
        self.epoch += 1
        self._last = None
        self._known.clear()
        return self.epoch

    def heard(self, label: str | None) -> tuple[bool, bool]:
        """Whether the voice changed, and whether it is new. Words of nobody in particular neither
        change the speaker nor make the last one forgotten (V246)."""
        if label is None or label == self._last:
            return False, False
        is_new = label not in self._known
        self._last = label
        self._known.add(label)
        return True, is_new
