"""A media pass over real sockets: another server hears the caller and is heard (G170-G173)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.integration.sound_server import PATIENCE_S, SoundServer, sound_server
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from salon.base import SYSTEM_CLOCK, UrlPolicy
from salon.gateway.media_pass import MediaPass
from salon.gateway.media_pass_link import LinkError, WebSocketLink, WebSocketLinks
from salon.testing import CallPair, scripted_engine, scripted_gateway, tone

SCHEMES = frozenset({"ws", "wss"})
HERE = UrlPolicy(schemes=SCHEMES, allowed_hosts=frozenset({"127.0.0.1"}))


@pytest.fixture
async def server() -> AsyncIterator[SoundServer]:
    async with sound_server() as made:
        yield made


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def passing(url: str, policy: UrlPolicy = HERE, **option: int) -> AsyncIterator[CallPair]:
    """An answered call whose sound goes to `url`."""
    links = WebSocketLinks(policy)
    async with (
        scripted_engine(clock=SYSTEM_CLOCK) as engine,
        scripted_gateway(engine, companions=lambda _s: (MediaPass(links),)) as gateway,
    ):
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        rates = {"inputSampleRate": 16_000, "outputSampleRate": 16_000}
        await call.invite(mediaPass={"url": url, **rates, **option})
        yield call


async def test_G170_G171_G172_both_ways(server: SoundServer) -> None:
    async with passing(server.url, outputSampleRate=8000, packetSize=640) as call:
        assert [event["event"] for event in call.events] == ["trackStart", "trackStart", "answer"]
        (query,) = server.queries
        assert query == {"room": ["7"], "sample_rate": ["8000"], "packet_size": ["640"]}
        await call.send_audio(tone(400))
        await server.until(lambda: len(server.frames) == 20)
        assert {len(frame) for frame in server.frames} == {320}
        await server.say("text is nothing")
        for _ in range(10):
            await server.say(tone(20).tobytes())
        await until(lambda: len(call.sound) >= 3200)
        assert int(call.sound.max()) > 3000
        call.send({"command": "hangup"})
        await call.closed()
        assert len(call.sound) == 3200
    await server.until(lambda: server.ended == [1000])


async def test_G170_a_tts_closes_the_connection(server: SoundServer) -> None:
    async with passing(server.url) as call:
        call.send({"command": "tts", "text": "me", "playId": "p"})
        await call.expect("trackEnd", playId="p")
        await server.until(lambda: server.ended == [1000])


async def test_G173_a_clean_close_ends_the_track(server: SoundServer) -> None:
    async with passing(server.url) as call:
        await server.say(tone(100).tobytes())
        await server.connections[0].close()
        await call.expect("trackEnd", trackId="server-side-track")
        assert len(call.sound) == 1600
        assert not call.of("error")


@pytest.mark.parametrize("how", ["abort", "code"])
async def test_G173_a_broken_connection_is_told_and_comes_back(
    server: SoundServer, how: str
) -> None:
    async with passing(server.url) as call:
        if how == "abort":
            server.connections[0].transport.abort()
        else:
            await server.connections[0].close(1011, "out of order")
        ended = await call.expect("trackEnd", trackId="server-side-track")
        error = call.events[call.events.index(ended) - 1]
        assert error["sender"] == f"media_pass: {server.url}"
        assert "no Close frame" in error["error"] or "1011 out of order" in error["error"]
        await call.expect("trackStart", trackId="server-side-track")
        await server.until(lambda: len(server.connections) == 2)
        await server.say(tone(100).tobytes())
        await until(lambda: len(call.sound) >= 1600)
        assert len(call.sound) == 1600


async def test_G173_nobody_listens_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with passing(f"ws://127.0.0.1:{port}/") as call:
            (error,) = call.of("error")
            assert error["error"].startswith("not connected: ")
            assert not call.of("trackStart", trackId="server-side-track")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ws://127.0.0.1:1/", "private"),
        ("ws://localhost:1/", "private"),
        ("ws://[::1]:1/", "private"),
        ("ws://169.254.169.254/latest", "private"),
        ("http://127.0.0.1:1/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("ws://user:pw@example.com/", "credentials"),
        ("ws:///", "no host"),
        ("", "scheme"),
        ("ws://h:99999999/", "not known"),
        ("ws://[", "not a URL"),
        ("ws://" + "a" * 80 + ".test/", "not known"),
        ("ws://no-such-host.invalid/", "not known"),
    ],
)
async def test_a_url_that_is_not_allowed_is_told_and_the_call_goes_on(url: str, why: str) -> None:
    async with passing(url, UrlPolicy(schemes=SCHEMES)) as call:
        (error,) = call.of("error")
        assert why in error["error"], error
        assert "pw" not in str(error)
        call.send({"command": "tts", "text": "on"})
        await call.expect("trackEnd", trackId="server-side-track")


async def test_a_name_that_means_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def here(*_about: object, **_more: object) -> list[object]:
        return [(2, 1, 6, "", ("93.184.215.14", 0)), (2, 1, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", here)
    with pytest.raises(LinkError, match="private"):
        await WebSocketLinks()("ws://voice.test/")


async def test_the_address_that_was_checked_is_the_one_connected_to(
    server: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real, asked = loop.create_connection, []

    async def found(*_about: object, **_more: object) -> list[object]:
        return [(2, 1, 6, "", ("93.184.215.14", 0))]

    async def connection(*about: object, host: str, **more: object) -> object:
        asked.append(host)
        return await real(*about, host="127.0.0.1", **more)  # type: ignore[call-overload]

    monkeypatch.setattr(loop, "getaddrinfo", found)
    monkeypatch.setattr(loop, "create_connection", connection)
    task = asyncio.ensure_future(WebSocketLinks()(f"ws://voice.test:{server.port}/"))
    with contextlib.suppress(LinkError):
        link = await task
        await link.close()
    assert asked == ["93.184.215.14"]


async def test_a_redirect_to_another_host_is_not_followed(server: SoundServer) -> None:
    def elsewhere(connection: ServerConnection, request: Request) -> Response:
        del request
        response = connection.respond(302, "")
        response.headers["Location"] = f"ws://localhost:{server.port}/"
        return response

    async with serve(server.handle, "127.0.0.1", 0, process_request=elsewhere) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        with pytest.raises(LinkError, match="not connected"):
            await WebSocketLinks(HERE)(f"ws://127.0.0.1:{port}/")
    assert not server.connections


async def test_an_http_server_is_no_media_pass() -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        del request
        return connection.respond(403, "no")

    async with serve(SoundServer().handle, "127.0.0.1", 0, process_request=refuse) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        with pytest.raises(LinkError, match="the server answered 403"):
            await WebSocketLinks(HERE)(f"ws://127.0.0.1:{port}/")


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.gateway.media_pass_link.OPEN_TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(LinkError, match="not connected within"):
            await WebSocketLinks(HERE)(f"ws://127.0.0.1:{silent.getsockname()[1]}/")


async def test_a_frame_too_large_breaks_the_connection(server: SoundServer) -> None:
    async with passing(server.url) as call:
        await server.say(bytes((1 << 20) + 2))
        await call.expect("trackEnd", trackId="server-side-track")
        assert call.of("error", sender=f"media_pass: {server.url}")


async def test_a_server_that_does_not_read_loses_the_oldest(server: SoundServer) -> None:
    link = await WebSocketLinks(HERE)(server.url)
    assert isinstance(link, WebSocketLink)
    for number in range(60):  # before anybody sends
        link.send(bytes([number, 0]))
    assert link.dropped == 10
    running = asyncio.ensure_future(link.run(lambda _data: True))
    await server.until(lambda: len(server.frames) == 50)
    assert server.frames[0] == bytes([10, 0])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    link.send(b"late")
    await link.close()
    await server.until(lambda: server.ended == [1000])
    assert len(server.frames) == 50


async def test_a_server_far_ahead_waits_and_loses_nothing(server: SoundServer) -> None:
    link = await WebSocketLinks(HERE)(server.url)
    taken = bytearray()
    full = True

    def receive(data: bytes) -> bool:
        if not full:
            taken.extend(data)
        return not full

    running = asyncio.ensure_future(link.run(receive))
    sent = [server.connections[0].send(bytes([n]) * 500_000) for n in range(60)]
    sending = asyncio.ensure_future(asyncio.wait_for(asyncio.gather(*sent), 60))
    await asyncio.sleep(0.5)
    assert not sending.done()
    full = False
    await sending
    await server.connections[0].close()
    await running
    assert len(taken) == 30_000_000
    assert sorted(taken[::500_000]) == list(range(60))


async def test_a_server_that_does_not_say_goodbye_is_not_waited_for(server: SoundServer) -> None:
    async with passing(server.url) as call:
        server.connections[0].transport.pause_reading()
        call.send({"command": "hangup"})
        await call.closed(timeout=5)  # half of what the library itself would wait
        assert server.ended == []
        server.connections[0].transport.resume_reading()


async def test_a_link_that_is_not_waited_for_is_gone_all_the_same(server: SoundServer) -> None:
    link = await WebSocketLinks(HERE)(server.url)
    running = asyncio.ensure_future(link.run(lambda _data: True))
    server.connections[0].transport.pause_reading()
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    server.connections[0].transport.resume_reading()
    await server.until(lambda: len(server.ended) == 1)


async def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    with pytest.raises(LinkError, match="client"):
        await WebSocketLinks(HERE)("ws://127.0.0.1:1/")
