"""A scripted resolver, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from salon.core.ports.identity import IdentityResolver
from salon.models import IdentificationStatus, InboundMessage, RoomContext
from salon.models.identity import Identity, IdentityResult


class MockIdentityResolver(IdentityResolver):
    """Knows senders by `sender_id` alone. `calls` holds the messages it was asked about."""

    def __init__(
        self,
        mapping: Mapping[str, Identity] | None = None,
        ambiguous: Mapping[str, Sequence[Identity]] | None = None,
        unknown_status: IdentificationStatus = IdentificationStatus.UNKNOWN,
    ) -> None:
        self.mapping = dict(mapping or {})
        self.ambiguous = dict(ambiguous or {})
        self.unknown_status = unknown_status
        self.calls: list[InboundMessage] = []

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        del context
        self.calls.append(message)
        address = message.sender_id
        if (identity := self.mapping.get(address)) is not None:
            return IdentityResult(
                status=IdentificationStatus.IDENTIFIED, identity=identity, address=address
            )
        if candidates := self.ambiguous.get(address):
            return IdentityResult(
                status=IdentificationStatus.AMBIGUOUS,
                candidates=tuple(candidates),
                address=address,
            )
        return IdentityResult(status=self.unknown_status, address=address)
