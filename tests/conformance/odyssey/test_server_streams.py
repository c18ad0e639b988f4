"""Streamer and spectators as rules 6, 8, 11 and 19 want them, by a real peer."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from PIL import Image
from tests.conformance.odyssey.server_caller import LIMIT_S, Broker, Caller, calling, until
from tests.conformance.odyssey.server_fixtures import (
    SMALL,
    anybody,
    broker,
    caller,
    server,
    settings,
)

from salon.testing.odyssey import (
    MessageFault,
    StandInSettings,
    StartRefusal,
    read_stamp,
)
from salon.testing.odyssey.peer import allow_loopback

__all__ = ["anybody", "broker", "caller", "server", "settings"]


def small(**given: Any) -> StandInSettings:
    return StandInSettings(portrait=SMALL, fps=12, **given)


# -- streams -------------------------------------------------------------------------------------


async def test_O59_checklist_8_frames_before_between_and_after_streams(caller: Caller) -> None:
    async def seen(live: bool, size: tuple[int, int]) -> None:
        def there() -> bool:
            last = caller.pictures[-1] if caller.pictures else None
            stamp = last.stamp if last else None
            return bool(last and stamp and stamp.live is live and (last.width, last.height) == size)

        await until(there, f"live {live}, {size}")

    await seen(False, SMALL)
    caller.start(portrait=False)
    await seen(True, SMALL[::-1])
    caller.say("interactive_stream_end")
    await seen(False, SMALL[::-1])
    caller.start(portrait=True)
    await seen(True, SMALL)
    assert not caller.video_over


async def test_the_picture_carries_number_and_time(caller: Caller) -> None:
    await until(lambda: len(caller.pictures) >= 15, "frames")
    stamps = [picture.stamp for picture in caller.pictures]
    assert all(stamp is not None for stamp in stamps)
    numbers = [stamp.frame for stamp in stamps if stamp is not None]
    assert numbers == sorted(set(numbers))
    now = time.time() * 1000
    assert all(0 <= now - stamp.sent_ms < 60_000 for stamp in stamps if stamp is not None)


@pytest.mark.parametrize("way", ["channel", "socket"])
async def test_O49_O50_a_start_from_either_side(caller: Caller, way: str) -> None:
    for extra in (
        {"portrait": True, "input_image_base64": None, "broadcast": False},
        {"portrait": True, "broadcast": False, "bypass_vlm_expansion": True},
        {"portrait": False},
    ):
        message = {"type": "interactive_stream_start", "prompt": "a harbour", **extra}
        count = len(caller.said)
        if way == "channel":
            caller.channels["clientToStreamer"].send(json.dumps(message))
        else:
            await caller.socket.send_json(message)
        said = await caller.heard(count + (2 if count else 1))
        assert said[-1]["type"] == "stream_started"
        assert said[-1]["stream_id"]


async def test_O58_a_start_replaces_what_runs(caller: Caller) -> None:
    caller.start("one")
    caller.start("two")
    said = await caller.heard(3)
    assert [one["type"] for one in said] == ["stream_started", "stream_ended", "stream_started"]
    assert said[0]["stream_id"] != said[2]["stream_id"]


async def test_checklist_5_each_call_gets_one_answer_in_order(caller: Caller) -> None:
    caller.say("update", prompt="too early")
    caller.start("one")
    for prompt in ("two", "three"):
        caller.say("update", prompt=prompt)
    caller.say("update")
    caller.say("interactive_stream_end")
    caller.say("interactive_stream_end")
    said = await caller.heard(7)
    assert [(one["type"], one.get("reason"), one.get("prompt")) for one in said] == [
        ("interactive_stream_error", "no_active_stream", None),
        ("stream_started", None, None),
        ("update_acknowledged", None, "two"),
        ("update_acknowledged", None, "three"),
        ("interactive_stream_error", "invalid_request", None),
        ("stream_ended", None, None),
        ("stream_ended", None, None),
    ]


@pytest.mark.parametrize("settings", [small(expand_prompts=True)])
async def test_O53_prompts_are_rewritten_unless_bypassed(caller: Caller) -> None:
    caller.start("a harbour")
    caller.say("update", prompt="a storm")
    caller.start("a harbour", bypass_vlm_expansion=True)
    said = await caller.heard(4)
    assert said[0]["applied_prompt"] == "a harbour, in motion"
    assert said[1]["prompt"] == "a storm, in motion"
    assert said[3]["applied_prompt"] == "a harbour"


@pytest.mark.parametrize("settings", [small(stream_s=0.5)])
async def test_O56_O58a_a_stream_may_last_so_long(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        caller.start()
        said = await caller.heard(3)
        assert said[1] == {
            "type": "interactive_stream_error",
            "reason": "session_timeout",
            "message": "Stream ended: credit lease expired",
        }
        assert said[2] == {"type": "stream_ended"}
        await until(lambda: broker.server.sessions == 0, "the connection ends too")


@pytest.mark.parametrize("settings", [small(streams_per_account=1)])
async def test_O77_so_many_streams_at_once(broker: Broker) -> None:
    async with calling(broker) as one, calling(broker) as two:
        await one.connect()
        await two.connect()
        one.start()
        await one.heard()
        two.start()
        assert (await two.heard())[0]["reason"] == "concurrent_limit_exceeded"


def data_url(kind: str, size: tuple[int, int] = (40, 60)) -> str:
    out = io.BytesIO()
    Image.new("RGB", size, (220, 30, 30)).save(out, kind)
    return "data:text/plain;base64," + base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
async def test_O68_an_image_of_any_declared_type(caller: Caller, kind: str) -> None:
    caller.start("", input_image_base64=data_url(kind))
    assert (await caller.heard())[0]["type"] == "stream_started"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("http://else.example/x.png", "invalid_image"),
        ("data:image/png;base64,!!!", "invalid_image"),
        ("data:image/png;base64,aGFsbG8gd2VsdA==", "invalid_image"),
        (
            "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\nxx").decode(),
            "invalid_image",
        ),
        (7, "invalid_image"),
    ],
)
async def test_O70_an_image_that_can_not_be_used(
    caller: Caller, image: object, reason: str
) -> None:
    caller.start("x", input_image_base64=image)
    assert (await caller.heard())[0]["reason"] == reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (small(image_to_video=False), "image_not_supported"),
        (small(image_pixels=1000), "image_too_large"),
        (small(image_bytes=50), "image_too_large"),
    ],
)
async def test_O70_checklist_12_images_have_limits(caller: Caller, reason: str) -> None:
    caller.start("x", input_image_base64=data_url("PNG"))
    assert (await caller.heard())[0]["reason"] == reason


@pytest.mark.parametrize("settings", [small(prompt_chars=10)])
async def test_checklist_12_prompts_have_a_limit(caller: Caller) -> None:
    caller.start("x" * 11)
    caller.start("x" * 10)
    caller.say("update", prompt="x" * 11)
    said = await caller.heard(3)
    assert [one.get("reason") for one in said] == ["prompt_too_long", None, "prompt_too_long"]


# -- faults --------------------------------------------------------------------------------------


async def test_messages_lost_late_twice_and_bad(broker: Broker, caller: Caller) -> None:
    faults = broker.server.faults
    faults.message(
        "stream_started",
        MessageFault(drop=True, times=1),
        MessageFault(without=("stream_id",), fields={"n": 1}, times=1),
        MessageFault(instead='{"type":', times=1),
    )
    faults.message("update_acknowledged", MessageFault(twice=True, times=1))
    faults.message("stream_ended", MessageFault(drop=True))
    caller.start("one")
    caller.start("two")
    caller.say("update", prompt="x")
    said = await caller.heard(3)
    assert said[0] == {"type": "stream_started", "applied_prompt": "two", "n": 1}
    assert said[1] == said[2] == {"type": "update_acknowledged", "prompt": "x"}
    faults.start = StartRefusal("lease_denied", "no")
    caller.start("three")
    assert (await caller.heard(4))[3]["reason"] == "lease_denied"


async def test_a_stream_that_breaks_and_a_picture_that_stops(
    broker: Broker, caller: Caller
) -> None:
    connection = broker.server.connections[caller.session_id]
    caller.start()
    await caller.heard()
    connection.fail_stream("lease_denied", "broken")
    assert [one["type"] for one in (await caller.heard(3))[1:]] == [
        "interactive_stream_error",
        "stream_ended",
    ]
    broker.server.faults.frozen_picture = True
    painted = connection.stage.painted
    await asyncio.sleep(0.3)
    assert connection.stage.painted <= painted + 1
    broker.server.faults.clear()
    await until(lambda: connection.stage.painted > painted + 3, "it moves again")


# -- spectators ----------------------------------------------------------------------------------


async def broadcasting(caller: Caller) -> tuple[str, str, str]:
    """Start a broadcast: the stream's id, the address and the token."""
    caller.start(broadcast=True)
    started, ready = await caller.heard(2)
    assert ready["type"] == "broadcast_ready"
    assert ready["broadcast_url"] is None
    return started["stream_id"], ready["webrtc_url"], ready["spectator_token"]


async def offered(peer: Any) -> str:
    peer.addTransceiver("video", direction="recvonly")
    peer.addTransceiver("audio", direction="recvonly")
    for transceiver in peer.getTransceivers():
        allow_loopback(transceiver.sender.transport.transport)
    await peer.setLocalDescription(await peer.createOffer())
    sdp: str = peer.localDescription.sdp
    return sdp


SDP = {"Content-Type": "application/sdp"}


@pytest.mark.parametrize("relative", [True, False])
async def test_O79_O81_O84_O85_a_spectator(broker: Broker, caller: Caller, relative: bool) -> None:
    broker.server.faults.relative_location = relative
    stream_id, url, token = await broadcasting(caller)
    peer: Any = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: list[Any] = []
    peer.on("track", lambda track: tracks.append(track) if track.kind == "video" else None)
    try:
        offer = await offered(peer)
        path = f"{url}/whep?token={token}"
        async with broker.http.post(path, data=offer, headers=SDP) as reply:
            assert reply.status == 201
            assert reply.content_type == "application/sdp"
            location, answer = reply.headers["Location"], await reply.text()
        assert location.startswith("/live/" if relative else broker.server.url)
        audio = answer[answer.index("m=audio") :]
        assert "a=inactive" in audio.splitlines()
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(LIMIT_S):
            frame = await tracks[0].recv()
        stamp = read_stamp(frame.to_ndarray(format="rgb24"))
        assert stamp is not None
        assert stamp.live
        assert broker.server.spectators(stream_id) == 1
        there = location if location.startswith("http") else broker.server.url + location
        async with broker.http.delete(there) as reply:
            assert reply.status == 200
        assert broker.server.spectators(stream_id) == 0
        async with broker.http.delete(there) as reply:
            assert reply.status == 404
    finally:
        await peer.close()


async def test_O82_O83_spectators_that_are_refused(broker: Broker, caller: Caller) -> None:
    _, url, token = await broadcasting(caller)

    async def status(path: str, body: str = "nonsense", **headers: str) -> int:
        async with broker.http.post(path, data=body, headers={**SDP, **headers}) as reply:
            return reply.status

    assert await status(f"{url}/whep?token=wrong") == 401
    assert await status(f"{url}/whep") == 401
    assert await status(f"{broker.server.url}/live/nothing/whep?token={token}") == 404
    assert await status(f"{url}/whep?token={token}") == 400
    assert await status(f"{url}/whep", Authorization=f"Bearer {token}") == 400, "O82: that too"
    kind = {"Content-Type": "text/plain"}
    assert await status(f"{url}/whep?token={token}", **kind) == 415
    caller.say("interactive_stream_end")
    await caller.heard(3)
    assert await status(f"{url}/whep?token={token}") == 404


async def test_O91_a_broadcast_is_recorded_like_any_other(broker: Broker, caller: Caller) -> None:
    stream_id, _, _ = await broadcasting(caller)
    caller.say("interactive_stream_end")
    await caller.heard(3)
    reply = await broker.ask("GET", f"/recordings/{stream_id}")
    assert reply.body["frame_count"] > 0
