"""Who somebody is across channels, and what was found out about a sender (chapter 16)."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from salon.base import new_id
from salon.models.base import Fact
from salon.models.enums import IdentificationStatus
from salon.models.hook import InjectedEvent


class Identity(Fact):
    """A person. `channel_addresses` holds, per channel type, the addresses that are theirs."""

    id: str = Field(default_factory=new_id)
    organization_id: str | None = None
    display_name: str | None = None
    email: str | None = None
    phone: str | None = None
    channel_addresses: dict[str, list[str]] = Field(default_factory=dict)
    external_id: str | None = None
    external_ids: dict[str, str] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)


class IdentityResult(Fact):
    """A resolver's answer. `address` and `channel_type` are filled in from the message where the
    resolver leaves them out. IDENTIFIED needs an `identity`."""

    status: IdentificationStatus
    identity: Identity | None = None
    candidates: tuple[Identity, ...] = ()
    address: str | None = None
    channel_type: str | None = None
    challenge_type: str | None = None
    message: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _identified_names_somebody(self) -> IdentityResult:
        if self.status is IdentificationStatus.IDENTIFIED and self.identity is None:
            raise ValueError("an identified result needs its identity")
        return self


class IdentityHookResult(Fact):
    """An identity hook's decision; made with the constructors.

    `status` is IDENTIFIED, PENDING, CHALLENGE_SENT or REJECTED. `identity` is somebody known,
    `new_identity` somebody to be stored first. `inject` is the question put to the sender.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    status: IdentificationStatus
    identity: Identity | None = None
    new_identity: Identity | None = None
    display_name: str | None = None
    candidates: tuple[Identity, ...] | None = None
    inject: InjectedEvent | None = None
    reason: str | None = None
    challenge_type: str | None = None
    message: str | None = None

    @model_validator(mode="after")
    def _is_a_decision(self) -> IdentityHookResult:
        if self.status in (IdentificationStatus.AMBIGUOUS, IdentificationStatus.UNKNOWN):
            raise ValueError(f"{self.status.value} is a finding, not a decision")
        if self.status is IdentificationStatus.IDENTIFIED and not (
            (self.identity is None) ^ (self.new_identity is None)
        ):
            raise ValueError("an identified sender needs either an identity or a new one")
        return self

    @classmethod
    def resolved(cls, identity: Identity) -> IdentityHookResult:
        """The sender is this person."""
        return cls(status=IdentificationStatus.IDENTIFIED, identity=identity)

    @classmethod
    def create(cls, identity: Identity) -> IdentityHookResult:
        """The sender is a new person, to be stored."""
        return cls(status=IdentificationStatus.IDENTIFIED, new_identity=identity)

    @classmethod
    def pending(
        cls,
        display_name: str | None = None,
        candidates: list[Identity] | tuple[Identity, ...] | None = None,
    ) -> IdentityHookResult:
        """Let the message pass; who it was is settled later. Candidates default to the
        resolver's."""
        found = None if candidates is None else tuple(candidates)
        return cls(status=IdentificationStatus.PENDING, display_name=display_name, candidates=found)

    @classmethod
    def challenge(
        cls,
        inject: InjectedEvent | None = None,
        message: str | None = None,
        challenge_type: str | None = None,
    ) -> IdentityHookResult:
        """Ask the sender, and hold the message back."""
        return cls(
            status=IdentificationStatus.CHALLENGE_SENT,
            inject=inject,
            message=message,
            challenge_type=challenge_type,
        )

    @classmethod
    def reject(cls, reason: str | None = None) -> IdentityHookResult:
        """Refuse the message; without a reason the default of the hook's trigger applies."""
        return cls(status=IdentificationStatus.REJECTED, reason=reason)
