"""Stage 5 of the inbound pipeline: who sent this (R170-R175)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import replace

from salon.core.identity.decision import Actions, decide, hook_for
from salon.core.identity.hooks import IdentityHooks
from salon.core.ports.identity import IdentityResolver
from salon.models import (
    AnyChannelType,
    ChannelBinding,
    IdentificationStatus,
    InboundMessage,
    RoomContext,
    RoomEvent,
)
from salon.models.identity import Identity, IdentityHookResult, IdentityResult

_log = logging.getLogger("salon.core.identity.stage")

OnIdentityTimeout = Callable[[str, str], None]
"""``(room id, address)``: becomes the framework event `identity_timeout`."""


class IdentityStage:
    """Asks the resolver, then the hooks, and says what to do. Writes nothing; runs before the room
    lock (R173)."""

    def __init__(
        self,
        resolver: IdentityResolver | None,
        hooks: IdentityHooks,
        *,
        channel_types: Collection[AnyChannelType] | None = None,
        timeout: float = 10.0,
        on_timeout: OnIdentityTimeout = lambda *_: None,
    ) -> None:
        self._resolver = resolver
        self._hooks = hooks
        self._types = None if channel_types is None else {str(item) for item in channel_types}
        self._timeout = timeout
        self._on_timeout = on_timeout

    def enabled_for(self, channel_type: AnyChannelType) -> bool:
        """Whether senders on channels of this type are looked up at all (R170)."""
        return self._resolver is not None and (
            self._types is None or str(channel_type) in self._types
        )

    def applies(
        self, event: RoomEvent, context: RoomContext, *, sender_is_participant: bool
    ) -> bool:
        """Whether the sender is in question (R172): the channel does not name participants, and the
        room has not identified this one. PENDING and AMBIGUOUS are in question."""
        if sender_is_participant or not self.enabled_for(event.source.channel_type):
            return False
        known = context.participant(event.source.participant_id)
        return known is None or known.identification is not IdentificationStatus.IDENTIFIED

    async def run(
        self,
        event: RoomEvent,
        message: InboundMessage,
        context: RoomContext,
        *,
        sender_is_participant: bool = False,
    ) -> Actions:
        """What to do about the sender of `event`; nothing if nobody is in question."""
        if not self.applies(event, context, sender_is_participant=sender_is_participant):
            return ()
        context = _with_binding(context, event)
        result = _within(context.room.organization_id, await self._resolve(message, context))
        if result.channel_type is None:
            result = result.model_copy(update={"channel_type": str(event.source.channel_type)})
        hook = hook_for(result)
        answer = None if hook is None else await self._hooks.ask(hook, event, context, result)
        if answer is None or not _admissible(context.room.organization_id, answer[0]):
            return decide(result)
        return decide(result, answer[0], answered_by=answer[1])

    async def _resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        """The resolver's answer; UNKNOWN when it takes too long (R171) or fails."""
        address = message.sender_id
        unknown = IdentityResult(status=IdentificationStatus.UNKNOWN, address=address)
        assert self._resolver is not None  # `applies` has asked
        try:
            async with asyncio.timeout(self._timeout) as budget:
                result: object = await self._resolver.resolve(message, context)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            _log.warning("the identity resolver cancelled itself")
            return unknown
        except Exception as error:  # noqa: BLE001 - the host's code
            if isinstance(error, TimeoutError) and budget.expired():
                _log.warning("the identity resolver took longer than %g s", self._timeout)
                self._on_timeout(context.room.id, address)
            else:
                _log.exception("the identity resolver failed")
            return unknown
        if not isinstance(result, IdentityResult):
            _log.error("the identity resolver returned %s", type(result).__name__)
            return unknown
        return result if result.address else result.model_copy(update={"address": address})


def _with_binding(context: RoomContext, event: RoomEvent) -> RoomContext:
    """The context as it will be once the channel is attached: a first message comes before."""
    source = event.source
    if context.binding(source.channel_id) is not None:
        return context
    coming = ChannelBinding(
        channel_id=source.channel_id, room_id=event.room_id, channel_type=source.channel_type
    )
    return replace(context, bindings=(*context.bindings, coming))


def _is_foreign(organization_id: str | None, identity: Identity | None) -> bool:
    """Whether somebody belongs to another organization than the room (R267)."""
    return (
        identity is not None
        and identity.organization_id is not None
        and identity.organization_id != organization_id
    )


def _within(organization_id: str | None, result: IdentityResult) -> IdentityResult:
    """A result without the people of other organizations."""
    if _is_foreign(organization_id, result.identity):
        _log.error("the identity resolver found somebody of another organization")
        return result.model_copy(
            update={"status": IdentificationStatus.UNKNOWN, "identity": None, "candidates": ()}
        )
    own = tuple(item for item in result.candidates if not _is_foreign(organization_id, item))
    if len(own) == len(result.candidates):
        return result
    _log.error("the identity resolver found candidates of another organization")
    return result.model_copy(update={"candidates": own})


def _admissible(organization_id: str | None, answer: IdentityHookResult) -> bool:
    """Whether an answer names only people of this organization; another counts as none."""
    named = (answer.identity, answer.new_identity, *(answer.candidates or ()))
    if any(_is_foreign(organization_id, item) for item in named):
        _log.error("an identity hook named somebody of another organization")
        return False
    return True
