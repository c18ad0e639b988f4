"""Signaling and negotiation as rules 4, 5 and 19 want them, by a real peer."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
import aioice
import pytest
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
    HttpFault,
    OdysseyStandIn,
    StandInSettings,
)

__all__ = ["anybody", "broker", "caller", "server", "settings"]


def small(**given: Any) -> StandInSettings:
    return StandInSettings(portrait=SMALL, fps=12, **given)


# -- the socket ----------------------------------------------------------------------------------


async def refused(broker: Broker, url: str) -> int:
    """The status with which a socket is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await broker.http.ws_connect(url)
    return error.value.status


async def test_O22_a_socket_wants_the_token_of_its_session(broker: Broker) -> None:
    one, base, token = await broker.session()
    other, _, _ = await broker.session()
    assert await refused(broker, f"{base}/client/{one}") == 401
    assert await refused(broker, f"{base}/client/{one}?token={token[:-2]}xx") == 401
    assert await refused(broker, f"{base}/client/{one}?token={broker.token}") == 401
    assert await refused(broker, f"{base}/client/{other}?token={token}") == 403
    async with broker.http.ws_connect(f"{base}/client/{one}?token={token}"):
        assert await refused(broker, f"{base}/client/{one}?token={token}") == 409
    await until(lambda: one not in broker.server.connections, "the socket is closed")
    assert await refused(broker, f"{base}/client/{one}?token={token}") == 404


@pytest.mark.parametrize("settings", [small(tokenless=True)])
async def test_O9_sockets_without_a_token_only_when_told(broker: Broker) -> None:
    base = broker.server.signaling_url
    async with broker.http.ws_connect(f"{base}/client/mine") as socket:
        assert (await socket.receive_json(timeout=LIMIT_S))["type"] == "offer"


async def test_O29_O37_O38_O39_O47_one_offer_unasked(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        lines = caller.offer.splitlines()
        sections = [line.split()[0] for line in lines if line.startswith("m=")]
        assert sections == ["m=video", "m=application"], "O47: no sound"
        assert any(line.startswith("a=msid:") for line in lines)
        assert "a=sendonly" in lines
        await until(lambda: len(caller.channels) == 2, "both channels")
        assert set(caller.channels) == {"clientToStreamer", "streamerToClient"}
        assert all(one.ordered for one in caller.channels.values())
        assert all(one.maxRetransmits is None for one in caller.channels.values())
        with pytest.raises(TimeoutError):
            await caller.socket.receive(timeout=0.3)


async def test_O40_replies_wait_for_their_channel(broker: Broker) -> None:
    """The start is sent the moment one channel opens; the other opens after it."""
    faults = broker.server.faults.signaling
    faults.channels = ("clientToStreamer",)
    async with calling(broker) as caller:
        await caller.connect()
        caller.start()
        caller.say("update", prompt="a storm")
        connection = broker.server.connections[caller.session_id]
        await until(lambda: len(connection.heard) == 2, "both are handled")
        assert caller.said == []
        connection.open_channel("streamerToClient")
        assert [one["type"] for one in await caller.heard(2)] == [
            "stream_started",
            "update_acknowledged",
        ]


async def test_O43_no_relay_is_named(broker: Broker) -> None:
    entries = (await broker.ask("GET", "/config")).body["iceServers"]
    assert all(entry["urls"].startswith("stun:127.0.0.1:") for entry in entries)


async def test_O45_a_machine_with_nothing_but_loopback(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [])
    async with calling(broker) as caller:
        await caller.connect()
        candidates = [line for line in caller.offer.splitlines() if "a=candidate" in line]
        assert candidates
        assert all(line.split()[4] == "127.0.0.1" for line in candidates)
        await until(lambda: len(caller.pictures) > 1, "frames")


async def test_O46_codecs_that_every_client_has(caller: Caller) -> None:
    lines = caller.offer.splitlines()
    names = [line.split()[1] for line in lines if line.startswith("a=rtpmap:")]
    assert names[0] == "VP8/90000"
    assert {"H264/90000", "rtx/90000"} <= set(names)
    profiles = [line for line in lines if "profile-level-id" in line]
    assert all("packetization-mode=1" in line for line in profiles)
    assert {line.rpartition("=")[2] for line in profiles} == {"42001f", "42e01f"}


async def test_O48_a_long_message_on_the_channel(caller: Caller) -> None:
    (line,) = [one for one in caller.offer.splitlines() if one.startswith("a=max-message-size:")]
    assert int(line.partition(":")[2]) >= 65536
    caller.start("x" * 60_000)
    assert (await caller.heard())[0]["reason"] == "prompt_too_long"


async def test_O28_what_is_unknown_is_ignored(broker: Broker) -> None:
    async with calling(broker) as caller:
        for text in ("[]", "nonsense", '"answer"', '{"type": "else"}', '{"type": "answer"}', "{}"):
            await caller.socket.send_str(text)
        await caller.connect()
        connection = broker.server.connections[caller.session_id]
        assert connection.signaling.ignored == 6


async def test_O41_O42_candidates_of_every_kind(broker: Broker) -> None:
    async with calling(broker) as caller:
        early = {"type": "ice_candidate", "sdpMid": "0", "sdpMLineIndex": 0}
        names = (
            "candidate:1 1 udp 2113937151 0af4e2e4-1e3d-4b3e-8c1b-3b7a2ad0b0aa.local 54321 typ host"
        )
        for candidate in (names, "", "nonsense", "candidate:1 1 udp x y z typ host", None):
            await caller.socket.send_json({**early, "candidate": candidate})
        await caller.answer(without_candidates=True)
        for candidate in caller.peer.localDescription.sdp.splitlines():
            if candidate.startswith("a=candidate"):
                bare = candidate.removeprefix("a=candidate:")
                await caller.socket.send_json({**early, "candidate": bare})
        await until(lambda: "clientToStreamer" in caller.channels, "the channel opens")
        assert broker.server.connections[caller.session_id].signaling.unresolvable == 1


async def test_O31_a_message_of_64_mib(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        image = "data:image/png;base64," + "A" * (64 * 1024 * 1024 - 200)
        start = {"type": "interactive_stream_start", "prompt": "x", "input_image_base64": image}
        await caller.socket.send_json(start)
        (said,) = await caller.heard()
        assert (said["type"], said["reason"]) == ("interactive_stream_error", "image_too_large")


async def test_O32_a_goodbye_frees_the_streamer(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        caller.start()
        await caller.heard()
        await caller.socket.send_json({"type": "client_disconnecting"})
        await until(lambda: broker.server.sessions == 0, "the streamer is free")
        assert caller.session_id in broker.server.connections, "before the socket is closed"
        message = await caller.socket.receive(timeout=LIMIT_S)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert caller.socket.close_code == 1000


async def test_O34_pings_are_answered(caller: Caller) -> None:
    await caller.socket.ping(b"there?")
    message = asyncio.ensure_future(caller.socket.receive(timeout=0.5))
    with pytest.raises(TimeoutError):
        await message
    assert not caller.socket.closed


@pytest.mark.parametrize("settings", [small(silence_s=0.5)])
async def test_O35_a_silent_client_is_dropped_and_one_that_lives_is_not(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        for _ in range(8):
            await asyncio.sleep(0.15)
            await caller.socket.send_json({"type": "keepalive"})
        assert caller.session_id in broker.server.connections
        await until(lambda: broker.server.sessions == 0, "silence ends it")


@pytest.mark.parametrize("settings", [small(connection_s=0.5)])
async def test_O30_a_connection_may_last_so_long(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        assert await caller.next() == {"type": "error", "reason": "duration_limit_reached"}
        await until(lambda: broker.server.sessions == 0, "then it ends")


async def test_checklist_6_a_peer_that_breaks_frees_the_streamer(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        connection = broker.server.connections[caller.session_id]
        await caller.socket.close()
        await until(lambda: broker.server.sessions == 0, "the streamer is free")
        assert connection.peer_state == "closed"
        await until(lambda: caller.video_over, "the track was stopped")


async def test_checklist_6_a_peer_that_goes_alone_does_too(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        await caller.peer.close()
        await until(lambda: broker.server.sessions == 0, "the streamer is free")
        assert (await caller.socket.receive(timeout=LIMIT_S)).data == 1011


async def test_a_peer_can_be_ended_without_its_socket(broker: Broker, caller: Caller) -> None:
    await broker.server.connections[caller.session_id].close_peer()
    await until(lambda: caller.peer.connectionState == "closed", "the client sees it")
    await caller.socket.send_json({"type": "keepalive"})
    assert caller.session_id in broker.server.connections


async def test_O30_O33_a_socket_that_goes_wrong(broker: Broker) -> None:
    faults = broker.server.faults
    faults.signaling.error_reason = "streamer_not_available"
    async with calling(broker) as caller:
        assert await caller.next() == {"type": "error", "reason": "streamer_not_available"}
    faults.clear()
    faults.signaling.close = (4001, "no streamer")
    async with calling(broker) as caller:
        message = await caller.socket.receive(timeout=LIMIT_S)
        assert (message.data, message.extra) == (4001, "no streamer")
    faults.clear()
    faults.signaling.before_offer = ("nonsense",)
    faults.signaling.offer_sdp = "nonsense"
    faults.signaling.offers = 2
    async with calling(broker) as caller:
        assert (await caller.socket.receive(timeout=LIMIT_S)).data == "nonsense"
        offers = [await caller.next(), await caller.next()]
        assert offers == [{"type": "offer", "sdp": "nonsense"}] * 2
    faults.clear()
    faults.http("signaling", HttpFault(status=502, times=1))
    session_id, base, token = await broker.session()
    assert await refused(broker, f"{base}/client/{session_id}?token={token}") == 502


async def test_O44_the_responder_can_be_silent(server: OdysseyStandIn) -> None:
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    class Asker(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            heard.put_nowait(data)

    transport, _ = await loop.create_datagram_endpoint(
        Asker, remote_addr=("127.0.0.1", server.stun.port)
    )
    request = bytes.fromhex("000100002112a442") + b"twelve bytes"
    transport.sendto(request)
    async with asyncio.timeout(LIMIT_S):
        answer = await heard.get()
    assert answer[8:20] == b"twelve bytes"
    server.stun.silent = True
    transport.sendto(request)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await heard.get()
    transport.close()


async def test_the_stand_in_has_a_process_of_its_own() -> None:
    command = (sys.executable, "-m", "salon.testing.odyssey", "--width", "176", "--height", "320")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(3 * LIMIT_S), aiohttp.ClientSession() as http:
            said = json.loads(await process.stdout.readline())
            key = {"api_key": said["api_key"]}
            async with http.post(said["url"] + "/auth/token", json=key) as reply:
                assert reply.status == 200
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
