"""People who join a room by a live session, such as a call, whatever carries it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salon.base import new_id
from salon.core.bindings import Bindings
from salon.core.participants import Participants
from salon.core.registry import ChannelRegistry


class MediaSessions:
    """Opens sessions of channels and lets them take part in rooms."""

    def __init__(
        self, channels: ChannelRegistry, bindings: Bindings, participants: Participants
    ) -> None:
        self._channels = channels
        self._bindings = bindings
        self._participants = participants

    async def join(
        self,
        room_id: str,
        channel_id: str,
        *,
        session: Any = None,
        participant_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        backend: Any = None,
        connection: Any = None,
        organization_id: str | None = None,
    ) -> Any:
        """Let somebody take part in a room through a channel that is attached to it; the session.

        Without `session` the channel opens one, with `connection` as what carries it.
        `ChannelNotFoundError` for a channel that is not in the room, `UnsupportedError` for one
        that has no sessions, `ParticipantNotAdmittedError` for who is barred.
        """
        binding = await self._bindings.get(room_id, channel_id, organization_id=organization_id)
        channel = self._channels.get(channel_id)
        if session is None:
            who = participant_id or new_id()
            await self._participants.introduce(
                room_id, channel_id, who, organization_id=organization_id
            )
            session = await channel.open_session(
                room_id, who, metadata=dict(metadata or {}), backend=backend, connection=connection
            )
        await channel.connect_session(session, room_id, binding)
        return session

    async def leave(self, session: Any) -> None:
        """End a session; idempotent."""
        channel = self._channels.find(session.channel_id)
        if channel is not None:
            await channel.disconnect_session(session, session.room_id)

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        organization_id: str | None = None,
    ) -> Any:
        """The same as `join`, for somebody by name and a channel that makes its own
        connections."""
        return await self.join(
            room_id,
            channel_id,
            participant_id=participant_id,
            metadata=metadata,
            organization_id=organization_id,
        )

    async def adopt(
        self, session: Any, room_id: str, channel_id: str, *, organization_id: str | None = None
    ) -> None:
        """The same as `join`, with a session that was made elsewhere."""
        await self.join(room_id, channel_id, session=session, organization_id=organization_id)
