"""What the published client gets wrong and this one does not (section 17): one test for each."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest
from tests.conformance.odyssey.scripted_signaling import ScriptedSignaling, silent, within
from tests.conformance.odyssey.witness import LIMIT_S, Witness, connected, tasks_of_others
from tests.unit.clients.odyssey.core_stage import CoreStage

from salon.clients.odyssey import (
    AdvancedConfig,
    ConnectionStatus,
    DevConfig,
    Odyssey,
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyStreamError,
    VideoFrame,
)
from salon.clients.odyssey import actions as act
from salon.testing.odyssey import (
    API_KEY,
    Connection,
    HttpFault,
    MessageFault,
    OdysseyStandIn,
    read_stamp,
)
from salon.transport.packets import IceServer
from salon.transport.video_viewer import VideoViewer


async def _end_video(client: Odyssey, theirs: Connection) -> None:
    """The sender says goodbye (RTCP BYE); a track that is merely stopped says nothing."""
    await within(anext(client.frames()))
    for peer in theirs._peers:
        for sender in peer._connection.getSenders():
            await sender.stop()


@pytest.mark.parametrize("end", ["disconnect", "clean close", "broken close", "error", "video"])
async def test_D1_on_disconnected_is_called_once(end: str) -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, theirs):
        if end == "disconnect":
            await client.disconnect()
        elif end == "clean close":
            await theirs.close_socket(1000, "")
        elif end == "broken close":
            await theirs.close_socket(1011, "")
        elif end == "error":
            await theirs.send_signaling('{"type": "error", "reason": "streamer_disconnected"}')
        else:
            await _end_video(client, theirs)
        await witness.until("disconnected")
        await client.disconnect()
    assert witness.of("disconnected") == [()]
    assert witness.of("connected") == [()]


@pytest.mark.parametrize("end", ["disconnect", "loss"])
async def test_D2_waiting_calls_end_with_the_connection(end: str) -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, theirs):
        for kind in ("stream_started", "update_acknowledged", "stream_ended"):
            server.faults.message(kind, MessageFault(drop=True))
        calls = [
            asyncio.ensure_future(client.start_stream("a dog", timeout=None)),
            asyncio.ensure_future(client.interact("it barks", timeout=None)),
            asyncio.ensure_future(client.end_stream(timeout=None)),
        ]
        await asyncio.sleep(0)
        if end == "disconnect":
            await client.disconnect()
        else:
            await theirs.close_socket(4000, "gone")
        results = await within(asyncio.gather(*calls, return_exceptions=True))
        assert [type(one) for one in results] == [OdysseyConnectionError] * 3


async def test_D2_calls_have_a_time_limit() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, _):
        server.faults.message("stream_started", MessageFault(drop=True, times=1))
        with pytest.raises(OdysseyStreamError, match="no answer from the streamer in time"):
            await within(client.start_stream("a dog", timeout=0.2))
        assert client.is_connected
        assert await client.start_stream("a cat")


def test_D3_after_30_seconds_the_status_is_failed() -> None:
    stage = CoreStage()
    stage.open()
    stage.wait(30)
    assert stage.core.status is ConnectionStatus.FAILED
    assert isinstance(stage.of(act.ConnectFailed)[0].error, OdysseyConnectionError)
    assert isinstance(stage.begin()[-1], act.Prepare)


async def test_D4_a_clean_close_is_noticed() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, theirs):
        await theirs.close_socket(1000, "done")
        await witness.until("disconnected")
        assert client.current_status is ConnectionStatus.DISCONNECTED
        with pytest.raises(OdysseyStreamError, match="client is disconnected"):
            await client.start_stream("a dog")


@pytest.mark.parametrize("what", ["video", "peer"])
async def test_D5_the_end_of_picture_or_peer_is_noticed(what: str) -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, theirs):
        if what == "video":
            await _end_video(client, theirs)
        else:
            await theirs.close_peer()
        [(error, fatal)] = await witness.until("error")
        assert isinstance(error, OdysseyConnectionError)
        assert fatal is True
        assert client.current_status is ConnectionStatus.FAILED


async def test_D5_a_reconnect_if_asked_for() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server:
        quick = AdvancedConfig(initial_retry_delay_ms=1, max_retry_delay_ms=1)
        async with Odyssey(API_KEY, api_url=server.url, advanced=quick) as client:
            await client.connect(**witness.callbacks(), reconnect=True)
            first = client.current_session_id
            frames = client.frames()
            await server.connections[str(first)].close_socket(1011, "restart")
            await witness.until("connected", 2)
            assert client.is_connected
            assert client.current_session_id != first
            assert await client.start_stream("a dog")
            assert isinstance(await within(anext(frames)), VideoFrame)
            await client.disconnect()
    text = "Connection lost: Signaling disconnected: restart"
    assert witness.statuses[3:] == [
        ("connected", None),
        ("reconnecting", text),
        ("connected", None),
        ("disconnected", None),
    ]
    assert [fatal for _, fatal in witness.of("error")] == [False]
    assert witness.of("disconnected") == [(), ()]


async def test_D6_calls_of_one_kind_wait_in_a_queue() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, _):
        await client.start_stream("a dog")
        prompts = [f"step {number}" for number in range(10)]
        assert await asyncio.gather(*(client.interact(one) for one in prompts)) == prompts


@pytest.mark.parametrize("kind", ["function", "coroutine"])
async def test_D7_a_throwing_frame_callback_ends_nothing(kind: str) -> None:
    witness = Witness()

    def throw(frame: VideoFrame) -> None:
        raise LookupError("my picture")

    async def throw_later(frame: VideoFrame) -> None:
        raise LookupError("my picture")

    callback = throw if kind == "function" else throw_later
    async with (
        OdysseyStandIn() as server,
        connected(server, witness, on_video_frame=callback) as (client, _),
    ):
        errors = await witness.until("error", 5)
        assert {(type(error), fatal) for error, fatal in errors} == {(LookupError, False)}
        assert client.is_connected


async def test_D8_a_slow_callback_gets_the_newest_picture() -> None:
    shown: list[int] = []
    release = asyncio.Event()
    enough = asyncio.Event()

    async def slow(frame: VideoFrame) -> None:
        stamp = read_stamp(frame.data)
        assert stamp is not None
        shown.append(stamp.frame)
        if len(shown) == 2:
            enough.set()
        await release.wait()

    async with (
        OdysseyStandIn() as server,
        connected(server, on_video_frame=slow) as (client, _),
    ):
        async with asyncio.timeout(LIMIT_S):
            while client.statistics().frames < 12:
                await asyncio.sleep(0.01)
        figures = client.statistics()
        assert len(shown) == 1
        assert figures.frames_dropped >= 10
        release.set()
        async with asyncio.timeout(LIMIT_S):
            await enough.wait()
        assert shown[1] - shown[0] >= 10


async def test_D8_a_slow_reader_gets_the_newest_picture() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, _):
        frames = client.frames()
        before = client.statistics().frames
        async with asyncio.timeout(LIMIT_S):
            while client.statistics().frames < before + 6:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(LIMIT_S):
            await anext(frames)
        assert frames.missed >= 5


async def test_D9_an_answer_that_comes_at_once_is_not_lost() -> None:
    stage = CoreStage().connected()
    stage.channel = None
    ticket = stage.start()
    assert stage.core.stream.pending.deadline() is not None  # it waits before anything is sent
    assert isinstance(stage.done[0], act.SendSignal)
    assert stage.say(type="stream_started", stream_id="x")[0] == act.Resolve(ticket, "x")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"detail": "no"}, OdysseyAuthError),
        (422, {"detail": "no"}, OdysseyAuthError),
        (403, {"detail": "API key has been suspended"}, OdysseyAuthError),
        (500, {"detail": "invalid weather: 401"}, OdysseyConnectionError),
    ],
)
async def test_D10_the_class_follows_from_the_status(
    status: int, body: dict[str, str], kind: type[Exception]
) -> None:
    async with OdysseyStandIn() as server:
        server.faults.http("auth.token", HttpFault(status=status, body=body))
        async with Odyssey(API_KEY, api_url=server.url) as client:
            with pytest.raises(kind) as raised:
                await client.connect()
            other = {OdysseyAuthError, OdysseyConnectionError} - {kind}
            assert not isinstance(raised.value, tuple(other))


async def test_D11_turn_credentials_reach_the_peer_connection() -> None:
    given: list[tuple[IceServer, ...]] = []

    def noted(*, ice_servers: tuple[IceServer, ...], **options: Any) -> VideoViewer:
        given.append(tuple(ice_servers))
        return VideoViewer(ice_servers=(), **options)

    async def script(socket: Any) -> None:
        await socket.send('{"type": "offer", "sdp": "v=0"}')
        await silent(socket)

    async with ScriptedSignaling(script).running() as server:
        turn = {"urls": "turn:127.0.0.1:9", "username": "me", "credential": "secret"}
        server.config = {"iceServers": [turn]}
        witness = Witness()
        client = server.client()
        client._driver._make_viewer = noted
        connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
        await witness.until("error")  # such an offer can't be answered
        await client.disconnect()
        await asyncio.wait([connecting])
    assert given == [(IceServer(("turn:127.0.0.1:9",), "me", "secret"),)]


async def test_D12_a_signaling_error_while_connected_ends_the_peer_connection() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, theirs):
        link = client._driver.link
        assert link is not None
        await theirs.send_signaling('{"type": "error", "reason": "streamer_disconnected"}')
        await witness.until("disconnected")
        assert witness.statuses[-1] == ("failed", "Streamer has disconnected.")
        async with asyncio.timeout(LIMIT_S):
            while server.connections or link._viewer.state != "closed":
                await asyncio.sleep(0.01)


async def test_D13_nothing_of_an_attempt_is_left() -> None:
    gc.collect()  # what others left is not told here
    witness = Witness()
    async with OdysseyStandIn() as server:
        before = asyncio.all_tasks()
        server.faults.http("signaling", HttpFault(status=503, times=2))
        server.faults.signaling.error_reason = "streamer_not_available"
        quick = AdvancedConfig(initial_retry_delay_ms=1, max_retry_delay_ms=1)
        client = Odyssey(API_KEY, api_url=server.url, advanced=quick, enable_telemetry=True)
        with pytest.raises(OdysseyConnectionError, match="Streamer not available"):
            await client.connect(**witness.callbacks())
        await client.disconnect()
        assert tasks_of_others(before) == set()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del client
            gc.collect()  # an HTTP session left open would say so


async def test_D14_ids_and_tokens_are_encoded_and_no_server_is_made_up() -> None:
    async with ScriptedSignaling(silent).running() as server:
        witness = Witness()
        dev = DevConfig(signaling_url=server.url, session_id="a/b?c=d&e")
        client = Odyssey(dev=dev)
        connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
        async with asyncio.timeout(LIMIT_S):
            while len(server.asked) < 2:
                await asyncio.sleep(0.01)
        attempt = client._driver._attempt
        assert attempt is not None
        assert attempt.ice == ()  # as /config said
        await client.disconnect()
        await asyncio.wait([connecting])
    assert server.asked[1] == "/client/a%2Fb%3Fc%3Dd%26e"


async def test_D15_a_picture_is_shown_when_its_last_packet_is_there() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, theirs):
        frames = client.frames()
        stamp = read_stamp((await within(anext(frames))).data)
        server.faults.frozen_picture = True  # from now on no further frame pushes this one out
        last = theirs.stage.painted - 1
        while stamp is None or stamp.frame != last:  # it may have been the first that was read
            stamp = read_stamp((await within(anext(frames))).data)
        assert last == theirs.stage.painted - 1
