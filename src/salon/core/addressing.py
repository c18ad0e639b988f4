"""Which agents are asked (chapter 9). Pure functions.

Being asked and being allowed to see are independent: whoever decides here has already left out the
channels that may not read the event (R89).
"""

from __future__ import annotations

from dataclasses import dataclass

from salon.models import AgentResponsePolicy, ChannelBinding, Room, RoomEvent


@dataclass(frozen=True, slots=True)
class RouterStamp:
    """What a conversation router decided about one event (R227).

    `agent_id` None: the router knows no agent for it, and only the supervisor is asked. A
    supervisor is asked whatever the address or the policy says.
    """

    agent_id: str | None = None
    supervisor_id: str | None = None


def solicited(
    event: RoomEvent,
    room: Room,
    target: ChannelBinding,
    *,
    from_agent: bool,
    stamp: RouterStamp | None = None,
) -> bool:
    """Whether an intelligence target that may see the event is asked (R85-R92).

    An address decides before the room's policy, the policy before the router, and with none of
    them everybody is asked.
    """
    channel_id = target.channel_id
    if stamp is not None and channel_id == stamp.supervisor_id:
        return True
    if event.addressed_to is not None:
        return channel_id in event.addressed_to
    if from_agent and room.agent_response_policy is AgentResponsePolicy.ADDRESSED_ONLY:
        return False
    return stamp is None or channel_id == stamp.agent_id
