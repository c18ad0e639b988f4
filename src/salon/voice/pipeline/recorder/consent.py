"""Consent to being recorded (V86): who has to agree before sound is captured. State only."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class RecordingConsent(StrEnum):
    """Whose consent recording needs."""

    SINGLE_PARTY = "single_party"
    """Of one who takes part."""
    ALL_PARTY = "all_party"
    """Of everyone who takes part, also those who come later."""
    NONE = "none"
    """Nobody's here: it is settled outside."""


class ConsentGate:
    """Says whether sound may be captured now. Call `AudioRecorder.hold` and `release` by it.

    Only those present count: consent given before `join` counts from the join on, and who comes
    back after `leave` is asked again.
    """

    def __init__(
        self,
        mode: RecordingConsent = RecordingConsent.ALL_PARTY,
        participants: Iterable[str] = (),
        consented: Iterable[str] = (),
    ) -> None:
        self.mode = mode
        self._present = dict.fromkeys(participants)
        self._consented = set(consented)

    @property
    def open(self) -> bool:
        """Whether sound may be captured. With nobody there, only under `NONE`."""
        if self.mode is RecordingConsent.NONE:
            return True
        if self.mode is RecordingConsent.SINGLE_PARTY:
            return any(person in self._consented for person in self._present)
        return bool(self._present) and not self.missing

    @property
    def missing(self) -> list[str]:
        """Those present who have not consented, in the order they came."""
        return [person for person in self._present if person not in self._consented]

    def join(self, participant: str) -> bool:
        """Someone takes part from now on. Returns `open`."""
        self._present[participant] = None
        return self.open

    def leave(self, participant: str) -> bool:
        """Someone takes part no longer. Returns `open`."""
        self._present.pop(participant, None)
        self._consented.discard(participant)
        return self.open

    def consent(self, participant: str) -> bool:
        """Someone agrees. Returns `open`."""
        self._consented.add(participant)
        return self.open

    def revoke(self, participant: str) -> bool:
        """Someone agrees no longer. Returns `open`."""
        self._consented.discard(participant)
        return self.open
