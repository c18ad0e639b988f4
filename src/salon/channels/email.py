"""E-mail: answers stay in the thread of the mail they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salon.channels.transport import TransportChannel, TransportOutput
from salon.models import ChannelBinding, ChannelData, ChannelType, RoomContext, RoomEvent

if TYPE_CHECKING:
    from salon.providers.email.base import EmailProvider

_REPLY = "Re: "


class EmailTransport(TransportChannel):
    """Mail to the binding's ``email_address``.

    An event that answers a mail of this channel, or comes after one in the recent messages of the
    room, is sent as a reply to it: same thread, same subject.
    """

    def __init__(
        self,
        channel_id: str,
        *,
        provider: EmailProvider | None = None,
        from_address: str | None = None,
    ) -> None:
        super().__init__(
            channel_id,
            ChannelType.EMAIL,
            provider=provider,
            defaults={"from_": from_address, "subject": None},
        )

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> TransportOutput:
        mail = self._answered(event, context)
        if mail is None:
            return await super().deliver(event, binding, context)
        told = {**mail.metadata, **mail.channel_data.extra}
        extra: dict[str, Any] = {
            name: told[name] for name in ("references", "message_id") if told.get(name)
        }
        data = ChannelData(
            provider=event.channel_data.provider,
            external_id=event.channel_data.external_id,
            thread_id=event.channel_data.thread_id or mail.channel_data.thread_id,
            extra={**extra, **event.channel_data.extra},
        )
        subject = told.get("subject")
        if isinstance(subject, str) and subject and not binding.metadata.get("subject"):
            if not subject.lower().startswith(_REPLY.lower()):
                subject = f"{_REPLY}{subject}"
            metadata = {**binding.metadata, "subject": subject[:998]}
            binding = binding.model_copy(update={"metadata": metadata})
        reply = event.model_copy(update={"channel_data": data})
        return await super().deliver(reply, binding, context)

    def _answered(self, event: RoomEvent, context: RoomContext) -> RoomEvent | None:
        """The mail that an event answers: the one it names, else the latest before it."""
        mails = [
            past
            for past in context.recent_events
            if past.source.channel_id == self.channel_id and past.index < event.index
        ]
        found = [past for past in mails if past.id == event.responds_to] or mails
        return found[-1] if found else None
