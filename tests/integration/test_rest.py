"""The interface of rooms on a server of its own: live tails, tokens, organizations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.integration.conftest import until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from salon.testing.server import ServerProcess, running_server

MASTER = "the-master-key-of-all"
ACME = "the-key-of-acme-inc"
BETA = "the-key-of-beta-ltd"
EVIL = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def keyed() -> Iterator[ServerProcess]:
    """A server with keys, without sound."""
    environment = {
        "SALON_API_KEY": MASTER,
        "SALON_ORGANIZATION_KEYS": f"acme={ACME},beta={BETA}",
        "SALON_STT": "none",
        "SALON_TTS": "none",
    }
    with running_server(environment=environment) as process:
        yield process
        log = process.log_text()
        assert "Traceback" not in log, log[-4000:]
        assert "salon-room." not in log


@asynccontextmanager
async def client(server: ServerProcess, key: str = MASTER) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20) as made:
        yield made


async def room_of(api: httpx.AsyncClient, **asked: Any) -> str:
    answer = await api.post("/rooms", json={"channels": ["websocket"], **asked})
    assert answer.status_code == 201, answer.text
    room_id: str = answer.json()["id"]
    return room_id


async def say(api: httpx.AsyncClient, room_id: str, words: str) -> int:
    answer = await api.post(f"/rooms/{room_id}/events", json={"content": words})
    assert answer.status_code == 201, answer.text
    index: int = answer.json()["index"]
    return index


async def token_of(api: httpx.AsyncClient, room_id: str, **asked: Any) -> str:
    answer = await api.post(f"/rooms/{room_id}/tokens", json=asked)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


class Stream:
    """An event stream, message by message."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def message(self) -> dict[str, str]:
        """The next message that is no comment."""
        found: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                if not line and found:
                    return found
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    found[name] = value
        raise EOFError

    async def words(self, count: int) -> list[str]:
        got = [json.loads((await self.message())["data"]) for _ in range(count)]
        return [item["content"]["body"] for item in got]


@asynccontextmanager
async def following(
    api: httpx.AsyncClient, room_id: str, query: str = "", **headers: str
) -> AsyncIterator[Stream]:
    path = f"/rooms/{room_id}/events/stream?{query}"
    async with api.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


async def test_a_stream_resumes_where_it_broke_off(keyed: ServerProcess) -> None:
    async with client(keyed) as api:
        room_id = await room_of(api)
        await say(api, room_id, "0")
        async with following(api, room_id, "after_index=-1") as stream:
            await say(api, room_id, "1")
            assert await stream.words(1) == ["0"]
            last = await stream.message()
            assert json.loads(last["data"])["content"]["body"] == "1"
        await say(api, room_id, "2")
        async with following(api, room_id, **{"Last-Event-ID": last["id"]}) as stream:
            await say(api, room_id, "3")
            assert await stream.words(2) == ["2", "3"]
        answer = await api.get(
            f"/rooms/{room_id}/events/stream", headers={"Last-Event-ID": "nonsense"}
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_writers_and_readers_side_by_side_miss_and_double_nothing(
    keyed: ServerProcess,
) -> None:
    async with client(keyed) as api:
        room_id = await room_of(api)
        count = 60

        async def read(after: int) -> list[int]:
            got: list[int] = []
            place = after
            while len(got) < count:
                async with following(api, room_id, f"after_index={place}") as stream:
                    for _ in range(min(17, count - len(got))):  # and leave, and come back
                        place = int((await stream.message())["id"])
                        got.append(place)
            return got

        first = await say(api, room_id, "start")
        readers = [asyncio.create_task(read(first)) for _ in range(3)]
        written = await asyncio.gather(*(say(api, room_id, str(n)) for n in range(count)))
        for reader in readers:
            assert await reader == sorted(written)


async def test_a_socket_tells_the_same(keyed: ServerProcess) -> None:
    async with client(keyed) as api:
        room_id = await room_of(api)
        await say(api, room_id, "0")
        place = f"{keyed.ws_url}/rooms/{room_id}/tail?after_index="
        headers = {"X-API-Key": MASTER}
        async with connect(f"{place}-1", additional_headers=headers) as socket:
            await say(api, room_id, "1")
            got = [item for item in await frames(socket, 3) if item["type"] == "event"]
            assert [item["event"]["content"]["body"] for item in got] == ["0", "1"]
            assert got[1]["index"] == got[1]["event"]["index"]
        async with connect(f"{place}{got[0]['index']}", additional_headers=headers) as socket:
            again = [item for item in await frames(socket, 2) if item["type"] == "event"]
            assert again == got[1:]
            await api.delete(f"/rooms/{room_id}")
            end = (await frames(socket, 1))[0]
            assert (end["type"], end["reason"]) == ("end", "room_deleted")
            with pytest.raises(ConnectionClosed):
                await socket.recv()


async def frames(socket: Any, count: int) -> list[Any]:
    async with asyncio.timeout(20):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def test_sockets_are_refused_as_everything_else(keyed: ServerProcess) -> None:
    async with client(keyed, ACME) as api:
        room_id = await room_of(api)
        token = await token_of(api, room_id)
        other = await room_of(api)
    for path, headers, status in (
        (f"/rooms/{room_id}/tail", {}, 401),
        (f"/rooms/{room_id}/tail", {"X-API-Key": BETA}, 404),
        (f"/rooms/{other}/tail?token={token}", {}, 404),
        (f"/rooms/{room_id}/tail?token={token}x", {}, 401),
        (f"/rooms/{room_id}/tail?token={token}&include_blocked=true", {}, 403),
        (f"/rooms/{room_id}/tail?token={token}", EVIL, 403),
        (f"/ws?token={token}&room={other}", {}, 404),
        ("/ws", {"X-API-Key": ACME}, 403),
        (f"/ws/{room_id}?token={token}x", {}, 401),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{keyed.ws_url}{path}", additional_headers=headers):
                pass
        assert refused.value.response.status_code == status, path


async def test_a_token_opens_the_text_socket_as_its_participant(keyed: ServerProcess) -> None:
    async with client(keyed, ACME) as api:
        room_id = await room_of(api)
        token = await token_of(api, room_id, participant_id="ann", name="Ann")
        reader = await token_of(api, room_id, participant_id="bob", access="read")
        other = await room_of(api)
        place = f"{keyed.ws_url}/ws/{room_id}?participant=eve&name=Eve&token="
        async with connect(f"{place}{token}") as ann, connect(f"{place}{reader}") as bob:
            hello = (await frames(ann, 1))[0]
            assert hello["participant_id"] == "ann"
            await frames(ann, 1)
            await frames(bob, 2)
            await bob.send('{"type":"message","text":"hi"}')
            refused = (await frames(bob, 1))[0]
            assert (refused["type"], refused["code"]) == ("error", "forbidden")
            await ann.send('{"type":"message","text":"hello"}')
            event = (await frames(bob, 1))[0]["event"]
            assert event["source"]["participant_id"] == "ann"
            assert event["metadata"]["sender_name"] == "Ann"
        async with connect(f"{keyed.ws_url}/ws/{other}?token={token}") as elsewhere:
            refused = (await frames(elsewhere, 1))[0]
            assert (refused["type"], refused["code"]) == ("error", "room_not_found")
        people = (await api.get(f"/rooms/{room_id}/participants")).json()
        assert {person["id"] for person in people} == {"ann", "bob"}


async def test_a_text_socket_ends_with_its_token(keyed: ServerProcess) -> None:
    async with client(keyed) as api:
        room_id = await room_of(api)
        token = await token_of(api, room_id, ttl_seconds=5)
        async with connect(f"{keyed.ws_url}/ws/{room_id}?token={token}") as socket:
            async with asyncio.timeout(20):
                await socket.wait_closed()
        answer = await api.get(f"/rooms/{room_id}?token={token}")
        assert answer.status_code == 401


async def test_a_token_calls_its_room(keyed: ServerProcess) -> None:
    async with client(keyed, ACME) as api:
        room_id = await room_of(api)
        token = await token_of(api, room_id, participant_id="ann", name="Ann")
        async with connect(f"{keyed.ws_url}/ws?participant=eve&token={token}") as call:
            await call.send('{"command":"invite","option":{"codec":"pcm"}}')

            async def joined() -> bool:
                people = (await api.get(f"/rooms/{room_id}/participants")).json()
                return [person["id"] for person in people] == ["ann"]

            async with asyncio.timeout(20):
                while not await joined():
                    await asyncio.sleep(0.05)


async def test_what_organizations_make_by_entering_is_theirs(keyed: ServerProcess) -> None:
    headers = {"X-API-Key": ACME}
    async with connect(f"{keyed.ws_url}/ws/acmes", additional_headers=headers) as socket:
        assert (await frames(socket, 1))[0]["type"] == "hello"
    async with client(keyed, ACME) as api:
        assert (await api.get("/rooms/acmes")).json()["organization_id"] == "acme"
    async with client(keyed, BETA) as api:
        assert (await api.get("/rooms/acmes")).status_code == 404
    headers = {"X-API-Key": BETA}
    async with connect(f"{keyed.ws_url}/ws/acmes", additional_headers=headers) as socket:
        assert (await frames(socket, 1))[0]["code"] == "room_not_found"


async def test_the_agent_answers_a_posted_event(keyed: ServerProcess) -> None:
    async with client(keyed) as api:
        room_id = (await api.post("/rooms")).json()["id"]
        async with following(api, room_id) as stream:
            await say(api, room_id, "Hello, who are you?")
            said = await stream.words(2)
        assert said[0] == "Hello, who are you?"
        assert said[1]


async def test_a_server_that_stops_ends_its_streams() -> None:
    with running_server(environment={"SALON_STT": "none", "SALON_TTS": "none"}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as api:
            room_id = await room_of(api)
            async with following(api, room_id) as stream:
                index = await say(api, room_id, "x")
                assert await stream.words(1) == ["x"]
                stopping = asyncio.create_task(asyncio.to_thread(server.stop))
                end = await stream.message()
                assert end["event"] == "end"
                assert json.loads(end["data"]) == {
                    "reason": "shutting_down",
                    "after_index": index,
                }
            await stopping
        assert "Traceback" not in server.log_text()


async def test_a_reader_that_stops_reading_harms_nobody(keyed: ServerProcess) -> None:
    async with client(keyed) as api:
        room_id = await room_of(api)
        reader, writer = await asyncio.open_connection("127.0.0.1", keyed.port, limit=1024)
        writer.write(
            f"GET /rooms/{room_id}/events/stream HTTP/1.1\r\nHost: localhost\r\n"
            f"X-API-Key: {MASTER}\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        words = "x" * 60_000
        for _ in range(40):
            await say(api, room_id, words)
        page = (await api.get(f"/rooms/{room_id}/events?limit=40")).json()
        assert len(page["events"]) == 40
        writer.close()
        await until(lambda: keyed.get("/health")["status"] == "ok", "the server lives")
