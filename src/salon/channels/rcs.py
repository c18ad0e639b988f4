"""Rich messages to phones, and a text message where a phone takes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salon.channels.kinds import KINDS
from salon.channels.transport import TransportChannel
from salon.core.transcoding import transcode
from salon.models import ChannelBinding, ChannelType, ProviderResult, RoomEvent

if TYPE_CHECKING:
    from salon.providers.rcs import RCSDeliveryResult, RCSProvider
    from salon.providers.sms import SMSProvider

_SMS = KINDS[ChannelType.SMS].capabilities


class RCSTransport(TransportChannel):
    """Sends by RCS; by SMS when the provider reports that the phone takes no RCS.

    `fallback`: whether an SMS may stand in at all; a binding can forbid it with ``fallback: False``
    in its metadata, never allow it. `sms` sends them, in words an SMS can carry; without it the
    RCS provider is asked to. `RCSDeliveryResult.channel_used` says which way a message went.
    Nothing is sent twice: where it is unknown whether the first went out, none follows.
    """

    def __init__(
        self,
        channel_id: str,
        *,
        provider: RCSProvider | None = None,
        fallback: bool = True,
        sms: SMSProvider | None = None,
        from_number: str | None = None,
        country_code: str | None = None,
    ) -> None:
        super().__init__(channel_id, ChannelType.RCS, provider=provider, country_code=country_code)
        self._fallback = fallback
        self._sms = sms
        self._from_number = from_number

    def send_options(self, binding: ChannelBinding) -> dict[str, Any]:
        """Whether the provider itself may send an SMS."""
        return {"fallback": self._sms is None and self._may_fall_back(binding)}

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            if self._sms is not None:
                await self._sms.close()

    async def _send(self, event: RoomEvent, to: str, binding: ChannelBinding) -> ProviderResult:
        result = await super()._send(event, to, binding)
        if self._sms is None or not self._may_fall_back(binding) or not _unreachable(result):
            return result
        content = transcode(event.content, _SMS)
        if content is None:
            return result
        text = event.model_copy(update={"content": content})
        return _by_sms(await self._sms.send(text, to, self._from_number))

    def _may_fall_back(self, binding: ChannelBinding) -> bool:
        return self._fallback and binding.metadata.get("fallback") is not False


def _unreachable(result: ProviderResult) -> bool:
    from salon.providers.rcs import RCSDeliveryResult

    return isinstance(result, RCSDeliveryResult) and result.unreachable


def _by_sms(result: ProviderResult) -> RCSDeliveryResult:
    from salon.providers.rcs import RCSDeliveryResult

    said = {name: getattr(result, name) for name in ProviderResult.model_fields}
    return RCSDeliveryResult(**said, channel_used="sms", fallback=True)
