"""Channels, bindings, sources (chapter 7; R45-R53, R58, R60, R68, R69)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.core.stage import (
    PATIENCE,
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    message,
    silent,
    staged,
)

from salon.core import (
    ChannelAlreadyRegisteredError,
    ChannelNotRegisteredError,
    RoomKit,
)
from salon.core.memory import InMemoryStore
from salon.core.ports.source import BaseSourceProvider, EmitCallback
from salon.models import (
    Access,
    ChannelCapabilities,
    ChannelMediaType,
    HookTrigger,
    RichContent,
    SourceStatus,
)
from salon.testing import VirtualClock


async def test_R45_the_registry_announces_and_takes_an_id_once(stage: Stage) -> None:
    heard = stage.listen("channel_registered", "channel_unregistered")
    sms = RecordingTransport("sms")
    stage.kit.register_channel(sms)
    with pytest.raises(ChannelAlreadyRegisteredError):
        stage.kit.register_channel(RecordingTransport("sms"))
    assert stage.kit.unregister_channel("sms") is sms
    assert stage.kit.unregister_channel("sms") is None
    await stage.settle()
    assert [(event.type, event.channel_id) for event in heard] == [
        ("channel_registered", "sms"),
        ("channel_unregistered", "sms"),
    ]
    assert sms.log == []


async def test_R45_unregistering_leaves_the_bindings(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    stage.kit.unregister_channel("sms")
    assert (await stage.binding("sms")).channel_id == "sms"


async def test_R46_only_a_registered_channel_attaches(stage: Stage) -> None:
    await stage.room()
    with pytest.raises(ChannelNotRegisteredError):
        await stage.kit.attach_channel(ROOM, "nothing")


async def test_R46_attaching_again_replaces_the_binding(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.attach_channel(ROOM, "sms", metadata={"phone_number": "+15550100"})
    await stage.kit.attach_channel(ROOM, "sms", access=Access.READ_ONLY)
    bindings = await stage.kit.store.list_bindings(ROOM)
    assert [item.channel_id for item in bindings] == ["sms"]
    assert bindings[0].access is Access.READ_ONLY


async def test_R47_the_channel_is_told_before_anything_is_announced(stage: Stage) -> None:
    order: list[str] = []
    sms = RecordingTransport("sms")

    async def told(room_id: str, binding: Any) -> None:
        assert (await stage.kit.store.get_binding(room_id, "sms")) is not None
        order.append(f"channel, {len(await stage.timeline())} entries")

    sms.on_room_attached = told  # type: ignore[method-assign]
    stage.kit.on("room_channel_attached")(lambda event: order.append("announced"))
    await stage.room(sms)
    await stage.settle()
    assert order == ["channel, 0 entries", "announced"]


@pytest.mark.parametrize("again", [False, True])
async def test_R47_a_channel_that_refuses_leaves_everything_as_it_was(
    stage: Stage, again: bool
) -> None:
    sms = RecordingTransport("sms")
    attached = stage.hear(HookTrigger.ON_CHANNEL_ATTACHED)
    await stage.room(*([sms] if again else []))
    stage.register(sms)
    await stage.settle()
    attached.clear()
    before = (await stage.kit.store.list_bindings(ROOM), await stage.timeline())
    sms.attach_failure = RuntimeError("no line")
    with pytest.raises(RuntimeError, match="no line"):
        await stage.kit.attach_channel(ROOM, "sms", access=Access.NONE)
    await stage.settle()
    assert (await stage.kit.store.list_bindings(ROOM), await stage.timeline()) == before
    assert attached == []


async def test_R48_detaching_goes_to_its_end_and_then_raises(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    heard = stage.listen("room_channel_detached")
    detached = stage.hear(HookTrigger.ON_CHANNEL_DETACHED)
    await stage.room(sms)
    sms.detach_failure = RuntimeError("hung up")
    with pytest.raises(RuntimeError, match="hung up"):
        await stage.kit.detach_channel(ROOM, "sms")
    await stage.settle()
    assert await stage.kit.store.list_bindings(ROOM) == []
    assert (await stage.codes())[-1] == "channel_detached"
    assert (len(heard), len(detached)) == (1, 1)
    assert sms.log == [f"attached {ROOM}", f"detached {ROOM}"]


async def test_R48_detaching_what_is_not_attached_does_nothing(stage: Stage) -> None:
    await stage.room()
    stage.register(RecordingTransport("sms"))
    before = await stage.timeline()
    assert await stage.kit.detach_channel(ROOM, "sms") is False
    assert await stage.timeline() == before


async def test_R49_a_shared_channel_is_granted_no_more_than_it_had(stage: Stage) -> None:
    await stage.room(RecordingTransport("advisor"))
    stage.register(RecordingTransport("sms"))
    await stage.kit.attach_channel(
        ROOM, "sms", access=Access.READ_ONLY, visibility="advisor", muted=True
    )
    await stage.kit.create_room("child")
    shared = await stage.kit.share_channel(ROOM, "child", "sms")
    assert (shared.access, shared.visibility, shared.muted) == (Access.READ_ONLY, "advisor", True)
    await stage.kit.create_room("other")
    asked = await stage.kit.share_channel(
        ROOM, "other", "sms", access=Access.READ_WRITE, visibility="all", muted=False
    )
    assert (asked.access, asked.visibility, asked.muted) == (Access.READ_ONLY, "advisor", True)


async def test_R50_a_channel_never_bound_is_attached_by_its_message(stage: Stage) -> None:
    await stage.room(RecordingTransport("web"))
    stage.register(RecordingTransport("sms"))
    result = await stage.inbound("sms", "hello")
    assert not result.blocked
    assert (await stage.binding("sms")).channel_id == "sms"


async def test_R50_R51_a_channel_detached_on_purpose_stays_away(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    await stage.kit.detach_channel(ROOM, "sms")
    await stage.inbound("sms", "still there")
    await stage.settle()
    assert await stage.kit.store.get_binding(ROOM, "sms") is None
    assert web.bodies == []
    assert await stage.said() == [("still there", "source_unbound")]


async def test_R50_the_revocation_survives_a_restart() -> None:
    store = InMemoryStore()
    async with staged(store=store) as stage:
        kit = stage.kit
        await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
        await kit.detach_channel(ROOM, "sms")
    async with staged(store=store) as stage:
        kit = stage.kit
        stage.register(RecordingTransport("sms"), RecordingTransport("web"))
        await stage.inbound("sms", "back")
        assert await store.get_binding(ROOM, "sms") is None


async def test_R50_the_revocation_holds_in_another_process(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    from salon.store.factory import make_stores

    url = f"sqlite:///{tmp_path / 'rooms.db'}"
    one, two = make_stores(url).conversation, make_stores(url).conversation
    async with RoomKit(store=one) as first, RoomKit(store=two) as second:
        stage, other = Stage(first, VirtualClock()), Stage(second, VirtualClock())
        await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
        other.register(RecordingTransport("sms"), RecordingTransport("web"))
        await first.detach_channel(ROOM, "sms")
        await other.inbound("sms", "back")
        assert await two.get_binding(ROOM, "sms") is None
        await first.attach_channel(ROOM, "sms")
        assert not (await other.inbound("sms", "again")).blocked


async def test_R50_an_explicit_attach_restores_it(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    await stage.kit.detach_channel(ROOM, "sms")
    await stage.kit.attach_channel(ROOM, "sms")
    await stage.inbound("sms", "back")
    assert web.bodies == ["back"]


async def test_R50_a_message_does_not_replace_a_binding(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.set_access(ROOM, "sms", Access.READ_ONLY)
    before = await stage.binding("sms")
    await stage.inbound("sms")
    assert await stage.binding("sms") == before


async def test_R52_transcoding_goes_by_the_snapshot_of_the_binding(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    web.declared = ChannelCapabilities(media_types=[ChannelMediaType.TEXT, ChannelMediaType.RICH])
    await stage.inbound("sms", content=RichContent(body="**hi**", plain_text="hi"))
    assert web.bodies == ["hi"]
    await stage.kit.attach_channel(ROOM, "web")
    await stage.inbound("sms", content=RichContent(body="**hi**", plain_text="hi"))
    assert web.got[-1].content.type == "rich"


async def test_R53_closing_closes_everything_even_if_parts_fail() -> None:
    one, two, three = (RecordingTransport(name) for name in ("one", "two", "three"))
    one.close_failure, two.close_failure = RuntimeError("first"), ValueError("second")
    kit = RoomKit(shutdown_timeout=0)
    await kit.open()
    for channel in (one, two, three):
        kit.register_channel(channel)
    with pytest.raises(ExceptionGroup) as caught:
        await kit.close()
    assert {type(error) for error in caught.value.exceptions} == {RuntimeError, ValueError}
    assert [channel.log for channel in (one, two, three)] == [["closed"]] * 3
    await kit.close()
    assert three.log == ["closed"]


async def test_R58_R74_an_agent_is_not_asked_about_itself(stage: Stage) -> None:
    agent = ScriptedAgent("ai")
    await stage.room(RecordingTransport("sms"), agent)
    await stage.send("ai", "my own")
    await stage.settle()
    assert agent.asked == []


async def test_R60_agents_are_never_delivered_to(stage: Stage) -> None:
    failed = stage.listen("delivery_failed")
    agent = silent("ai")  # its `deliver` raises
    await stage.room(RecordingTransport("sms"), agent)
    result = await stage.inbound("sms")
    await stage.settle()
    assert (len(agent.asked), failed, result.error) == (1, [], None)


class Feed(BaseSourceProvider):
    """Emits what it is given; loses its connection as often as `losses` says."""

    def __init__(self, *sayings: str, losses: int = 0) -> None:
        super().__init__()
        self.sayings = list(sayings)
        self.losses = losses
        self.starts: list[float] = []

    @property
    def name(self) -> str:
        return "feed"

    async def start(self, emit: EmitCallback) -> None:
        self.starts.append(asyncio.get_running_loop().time())
        if len(self.starts) <= self.losses:
            raise ConnectionError("lost")
        self._set_status(SourceStatus.CONNECTED)
        for saying in self.sayings:
            await emit(message("sms", saying))
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self._set_status(SourceStatus.STOPPED)


async def test_R68_what_a_source_emits_takes_the_inbound_pipeline(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    before = stage.hear(HookTrigger.BEFORE_BROADCAST)
    await stage.kit.attach_source("sms", Feed("one", "two"))
    await stage.settle()
    assert bodies(before) == web.bodies == ["one", "two"]
    await stage.kit.detach_source("sms")


async def test_R69_there_is_one_source_for_a_channel(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.attach_source("sms", Feed())
    with pytest.raises(Exception, match="source"):
        await stage.kit.attach_source("sms", Feed())
    assert list(stage.kit.list_sources()) == ["sms"]
    await stage.kit.detach_source("sms")
    assert stage.kit.list_sources() == {}
    with pytest.raises(Exception, match="source"):
        await stage.kit.detach_source("sms")


async def test_R69_a_lost_source_is_started_again_after_growing_delays(stage: Stage) -> None:
    heard = stage.listen("source_error", "source_connected", "source_exhausted")
    await stage.room(RecordingTransport("sms"))
    feed = Feed(losses=8)
    await stage.kit.attach_source("sms", feed)
    await stage.settle(2000)
    pauses = [later - earlier for earlier, later in zip(feed.starts, feed.starts[1:], strict=False)]
    assert pauses == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300], rel=0.3)
    assert [event.type for event in heard].count("source_error") == 8
    assert heard[-1].type == "source_connected"
    await stage.kit.detach_source("sms")


async def test_R69_attempts_may_be_capped(stage: Stage) -> None:
    heard = stage.listen("source_exhausted")
    await stage.room(RecordingTransport("sms"))
    feed = Feed(losses=100)
    await stage.kit.attach_source("sms", feed, max_restart_attempts=2)
    await stage.settle(2000)
    assert len(feed.starts) == 3
    assert [event.channel_id for event in heard] == ["sms"]


async def test_R69_emits_are_bounded(stage: Stage) -> None:
    running = most = 0

    async def slowly(*_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    sms = RecordingTransport("sms")
    sms.parse = slowly
    await stage.room(sms)

    class Burst(Feed):
        async def start(self, emit: EmitCallback) -> None:
            await asyncio.gather(*(emit(message("sms", str(n))) for n in range(12)))
            await asyncio.Event().wait()

    await stage.kit.attach_source("sms", Burst(), max_concurrent_emits=3)
    async with asyncio.timeout(PATIENCE * 5):
        while len(await stage.messages()) < 12:
            await asyncio.sleep(1)
    assert most == 3
    await stage.kit.detach_source("sms")
