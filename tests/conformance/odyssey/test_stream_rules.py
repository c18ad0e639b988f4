"""Streams on a real connection: O31, O37-O51, O53, O54, O57-O62, O70, O99, O100, J3."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import warnings
from typing import Any

import numpy as np
import pytest
from tests.conformance.odyssey.witness import LIMIT_S, Witness, connected

from salon.clients.odyssey import (
    ConcurrentLimitReachedError,
    ConnectionStatus,
    MonthlyLimitReachedError,
    Odyssey,
    OdysseyStreamError,
    StreamDurationExceededError,
    VideoFrame,
)
from salon.testing.odyssey import (
    API_KEY,
    HttpFault,
    MessageFault,
    OdysseyStandIn,
    StandInSettings,
    StartRefusal,
    read_stamp,
)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def test_O50_a_start_by_channel_and_by_socket() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, theirs):
        first = await client.start_stream("a dog", portrait=False)
        assert first
        assert await client.interact("it barks") == "it barks"
        await client.end_stream()
        long = "x" * 7_000 + "é" * 2_000  # 19 kB of JSON
        second = await client.start_stream(long)
        await client.end_stream()
        third = await client.start_stream("a cat", image=PNG)
        await client.end_stream()
        assert len({first, second, third}) == 3  # O58
        starts = [one for one in theirs.heard if one["type"] == "interactive_stream_start"]
        assert [one["prompt"] for one in starts] == ["a dog", long, "a cat"]
        assert [one["portrait"] for one in starts] == [False, True, True]
        assert starts[2]["input_image_base64"].startswith("data:image/png;base64,")
        assert client.last_applied_prompt == "a cat"


async def test_O50_O51_a_closed_channel_leaves_the_socket() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, _):
        link = client._driver.link
        assert link is not None
        assert link._channel is not None
        link._channel._channel.close()
        with pytest.raises(ConnectionError) as raised:
            await client.interact("too late")
        assert raised.value.args[0] == "Client to streamer channel not open"
        assert await client.start_stream("by the socket")
        assert client.current_status is ConnectionStatus.CONNECTED


async def test_O54_the_callback_runs_before_the_call_returns() -> None:
    order: list[str] = []
    async with (
        OdysseyStandIn() as server,
        connected(
            server,
            on_stream_started=lambda stream_id: order.append("on_stream_started"),
            on_interact_acknowledged=lambda prompt: order.append("on_interact_acknowledged"),
            on_stream_ended=lambda: order.append("on_stream_ended"),
        ) as (client, _),
    ):
        await client.start_stream("a dog")
        order.append("started")
        await client.interact("it barks")
        order.append("interacted")
        await client.end_stream()
        order.append("ended")
    assert order == [
        "on_stream_started",
        "started",
        "on_interact_acknowledged",
        "interacted",
        "on_stream_ended",
        "ended",
    ]


async def test_O53_a_prompt_that_is_rewritten() -> None:
    settings = StandInSettings(expand_prompts=True)
    async with OdysseyStandIn(settings) as server, connected(server) as (client, _):
        assert client.last_applied_prompt is None
        await client.start_stream("a dog")
        rewritten = client.last_applied_prompt
        assert rewritten
        assert rewritten != "a dog"
        applied = await client.interact("it barks")
        assert client.last_applied_prompt == applied != "it barks"
        await client.start_stream("a dog", bypass_prompt_expansion=True)
        assert client.last_applied_prompt == "a dog"
        await client.disconnect()
        assert client.last_applied_prompt is None


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("quota_exceeded", MonthlyLimitReachedError),
        ("concurrent_limit_exceeded", ConcurrentLimitReachedError),
        ("session_timeout", StreamDurationExceededError),
        ("anything", OdysseyStreamError),
    ],
)
async def test_O77_a_refused_start(reason: str, kind: type[Exception]) -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, _):
        server.faults.start = StartRefusal(reason, "not today")
        with pytest.raises(kind):
            await client.start_stream("a dog")
        assert witness.of("stream_error") == [(reason, "not today")]
        server.faults.start = None
        assert await client.start_stream("a dog")


async def test_O57_a_bad_message_is_told_and_nothing_ends() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, theirs):
        theirs.send_stream("{no json")
        [(error, fatal)] = await witness.until("error")
        assert isinstance(error, json.JSONDecodeError)
        assert fatal is False
        theirs.send_stream('{"type": "news"}')
        assert await client.start_stream("a dog")


@pytest.mark.parametrize("kind", ["function", "coroutine"])
async def test_O57_a_throwing_callback_is_told_and_nothing_ends(kind: str) -> None:
    witness = Witness()

    def throw(stream_id: str) -> None:
        raise LookupError(stream_id)

    async def throw_later(stream_id: str) -> None:
        await asyncio.sleep(0)
        raise LookupError(stream_id)

    callback = throw if kind == "function" else throw_later
    async with (
        OdysseyStandIn() as server,
        connected(server, witness, on_stream_started=callback) as (client, _),
    ):
        stream_id = await client.start_stream("a dog")
        [(error, fatal)] = await witness.until("error")
        assert error.args == (stream_id,)
        assert fatal is False
        assert client.is_connected


async def test_O59_O61_O99_pictures_of_both_shapes() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, _):
        stamps = []
        for portrait, shape in ((True, (1280, 704, 3)), (False, (704, 1280, 3))):
            await client.start_stream("a dog", portrait=portrait)
            async with asyncio.timeout(LIMIT_S):
                async for frame in client.frames():
                    stamp = read_stamp(frame.data)
                    if frame.data.shape == shape and stamp is not None and stamp.live:
                        break
            assert (frame.width, frame.height) == (shape[1], shape[0])
            assert frame.data.dtype == np.uint8
            stamps.append(frame.timestamp_ms)
            await client.end_stream()
        assert 0 <= stamps[0] < stamps[1]


async def test_O100_frames_are_called_back_on_the_loop_in_order() -> None:
    got: list[VideoFrame] = []
    enough = asyncio.Event()
    loops = set()

    def on_video_frame(frame: VideoFrame) -> None:
        loops.add(asyncio.get_running_loop())
        got.append(frame)
        if len(got) == 10:
            enough.set()

    async with (
        OdysseyStandIn() as server,
        connected(server, on_video_frame=on_video_frame) as (client, _),
    ):
        async with asyncio.timeout(LIMIT_S):
            await enough.wait()
        assert client.statistics().frames >= 10
    assert loops == {asyncio.get_running_loop()}
    times = [frame.timestamp_ms for frame in got]
    assert times == sorted(set(times))
    assert times[0] < 1000


async def test_O42_strange_candidates_do_no_harm() -> None:
    async with OdysseyStandIn() as server:
        server.faults.signaling.before_offer = (
            '{"type": "ice_candidate", "candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host"}',
        )
        server.faults.signaling.after_offer = tuple(
            json.dumps({"type": "ice_candidate", "candidate": text, "sdpMid": "0"})
            for text in ("", "candidate:", "nonsense", "1 1 udp 2130706431 127.0.0.1 9 typ host")
        )
        async with connected(server) as (client, _):
            assert await client.start_stream("a dog")


async def test_O38_O74_an_offer_without_picture_is_not_enough() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server:
        server.faults.signaling.video = False
        async with Odyssey(API_KEY, api_url=server.url) as client:
            connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
            async with asyncio.timeout(LIMIT_S):
                while client._driver.link is None or client._driver.link.channel_bytes is None:
                    await asyncio.sleep(0.01)
            assert client.current_status is ConnectionStatus.CONNECTING
            await client.disconnect()
            await asyncio.wait([connecting])


async def test_O39_other_labels_are_ignored() -> None:
    async with OdysseyStandIn() as server:
        server.faults.signaling.channels = ("news", "streamerToClient", "clientToStreamer")
        async with connected(server) as (client, _):
            assert await client.start_stream("a dog")


async def test_O70_D14_a_picture_for_a_streamer_that_takes_none() -> None:
    settings = StandInSettings(image_to_video=False)
    async with OdysseyStandIn(settings) as server, connected(server) as (client, theirs):
        assert client.capabilities is not None
        assert client.capabilities.image_to_video is False
        with pytest.raises(OdysseyStreamError, match="takes no images"):
            await client.start_stream("a dog", image=PNG)
        assert theirs.heard == []
        assert await client.start_stream("a dog")


@pytest.mark.parametrize(
    "fault",
    [
        HttpFault(without=("capabilities",)),
        HttpFault(fields={"capabilities": "none"}),
        HttpFault(fields={"capabilities": {"image_to_video": 0}}),
    ],
)
@pytest.mark.parametrize("able", [True, False])
async def test_O20_D14_where_nobody_said_it_the_streamer_decides(
    fault: HttpFault, able: bool
) -> None:
    async with OdysseyStandIn(StandInSettings(image_to_video=able)) as server:
        server.faults.http("sessions.request", fault)
        async with connected(server) as (client, theirs):
            assert client.capabilities is not None
            assert client.capabilities.image_to_video is False
            if able:
                assert await client.start_stream("a dog", image=PNG)
            else:
                with pytest.raises(OdysseyStreamError, match="image_not_supported"):
                    await client.start_stream("a dog", image=PNG)
            assert len(theirs.heard) == 1


async def test_O65_what_is_no_image_is_refused_before_anything_is_sent() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, theirs):
        with pytest.raises(ValueError, match="Image file not found"):
            await client.start_stream("a dog", image="/no/such/file.png")
        assert theirs.heard == []


async def test_the_deprecated_image_path_still_works() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, _):
        with pytest.warns(DeprecationWarning, match="image_path"), pytest.raises(ValueError):  # noqa: PT011
            await client.start_stream("a dog", image_path="/no/such/file.png")
        gc.collect()  # what others left is not told here
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert await client.start_stream("a dog", image=PNG)


async def test_O60_calls_while_not_connected_are_refused() -> None:
    client = Odyssey("ody_key")
    calls: dict[str, Any] = {
        "start stream": client.start_stream,
        "end stream": client.end_stream,
    }
    for verb, call in calls.items():
        with pytest.raises(OdysseyStreamError) as raised:
            await call()
        assert raised.value.args[0] == f"Cannot {verb}: client is disconnected, expected connected"
    with pytest.raises(OdysseyStreamError, match="Cannot interact: client is disconnected"):
        await client.interact("x")


async def test_O58_a_start_while_a_stream_runs_replaces_it() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, _):
        first = await client.start_stream("a dog")
        second = await client.start_stream("a cat")
        assert first != second
        assert [name for name in witness.names if name.startswith("stream_")] == [
            "stream_started",
            "stream_ended",
            "stream_started",
        ]
        await client.end_stream()
        with pytest.raises(OdysseyStreamError, match="no_active_stream"):
            await client.interact("it barks")


async def test_O52_missing_fields_on_the_wire() -> None:
    async with OdysseyStandIn() as server, connected(server) as (client, _):
        server.faults.message("stream_started", MessageFault(without=("stream_id",), times=1))
        assert await client.start_stream("a dog") == ""
        server.faults.message("update_acknowledged", MessageFault(without=("prompt",), times=1))
        assert await client.interact("it barks") == ""
        assert client.last_applied_prompt is None
