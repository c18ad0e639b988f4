"""What a foreign page, a stranger on the network, or a malicious id gets: nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.conftest import emptied, until
from tests.integration.program import salon
from tests.integration.wire import placed
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from salon.testing.server import ServerProcess, free_port, running_server

EVIL = "http://evil.example"
KEY = "correct-horse-battery-staple"


async def refused(url: str, **headers: str) -> httpx.Response | Any:
    """The plain answer to a WebSocket handshake that is refused."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, additional_headers=sent, open_timeout=20):
            pass
    return caught.value.response


async def raw(port: int, request: bytes) -> bytes:
    """What the server answers to these bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


# -- foreign pages --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
async def test_a_foreign_host_gets_nothing(server: ServerProcess, host: str) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers={"Host": host}, timeout=20) as client:
        for path in ("/", "/list", "/health", "/openapi.json", "/api/info"):
            assert (await client.get(path)).status_code == 403, path
        assert (await client.post("/rooms")).status_code == 403
    for path in ("/ws", "/call", "/ws/lobby"):
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        answer = await raw(server.port, request.encode())
        assert answer.startswith(b"HTTP/1.1 403 "), answer[:200]


@pytest.mark.parametrize("path", ["/ws", "/call", "/ws?handler=room&room=a", "/ws/lobby"])
@pytest.mark.parametrize("origin", [EVIL, "null", "https://localhost.evil.example"])
async def test_a_foreign_page_opens_no_socket(
    server: ServerProcess, path: str, origin: str
) -> None:
    answer = await refused(server.ws_url + path, Origin=origin)
    assert answer.status_code == 403


async def test_the_own_page_and_programs_open_sockets(server: ServerProcess) -> None:
    for headers in ({"Origin": server.url}, {}):
        async with connect(f"{server.ws_url}/ws", additional_headers=headers) as socket:
            await socket.send('{"command": "nonsense"}')
            async with asyncio.timeout(20):
                assert '"error"' in str(await socket.recv())


async def test_a_foreign_page_changes_nothing(server: ServerProcess) -> None:
    async with (
        placed(server.ws_url, "/ws?id=target") as call,
        httpx.AsyncClient(base_url=server.url, timeout=20) as client,
    ):
        await call.invite()
        for headers in (
            {"Origin": EVIL},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        ):
            assert (await client.post("/rooms", headers=headers)).status_code == 403
            assert (await client.post("/kill/target", headers=headers)).status_code == 403
            assert (await client.get("/kill/target", headers=headers)).status_code == 403
        # an <img> of a browser that knows no Sec-Fetch-Site
        picture = {"Referer": f"{EVIL}/page.html"}
        assert (await client.get("/kill/target", headers=picture)).status_code == 403
        assert (await client.get("/list", headers={"Sec-Fetch-Site": "cross-site"})).is_error
        rows = (await client.get("/list")).json()["active_calls"]
        assert "target" in [row["id"] for row in rows]
        # the person at the machine may
        killed = await client.get("/kill/target")
        assert killed.json() == {"status": "killed", "id": "target"}
        assert (await call.expect("hangup"))["reason"] == "system"
        await call.closed()


async def test_every_answer_forbids_embedding(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        for path in ("/", "/health", "/nowhere"):
            headers = (await client.get(path)).headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in headers


# -- sizes and paths ------------------------------------------------------------------------------


async def test_a_long_body_is_refused_whether_its_length_is_named_or_not(
    server: ServerProcess,
) -> None:
    body = b'{"key": "' + b"a" * 1_100_000 + b'"}'

    async def pieces() -> Any:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    kind = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        named = await client.post("/api/login", content=body, headers=kind)
        assert named.status_code == 413
        assert "1048576" in named.text
        unnamed = await client.post("/api/login", content=pieces(), headers=kind)
        assert unnamed.status_code == 413
        assert (await client.get("/health")).status_code == 200


IDS = (
    "../../etc/passwd",
    "..",
    "....//",
    "/etc/passwd",
    "a/../../b",
    "%2e%2e%2f",
    "..\\..\\x",
    "a\0b",
)


async def test_ids_from_outside_never_become_paths(server: ServerProcess) -> None:
    await emptied(server)
    before = tree(server.data_dir)
    requests = []
    for found in IDS:
        coded = httpx.URL(f"http://x/{found}".replace("\0", "%00")).raw_path.decode()[1:]
        twice = "".join(f"%{ord(c):02x}" for c in found)
        for name in {coded, twice}:
            requests += [
                f"/rooms/{name}/recordings",
                f"/rooms/{name}/recordings/x.wav",
                f"/rooms/lobby/recordings/{name}.wav",
                f"/rooms/{name}/transcript",
                f"/assets/{name}",
                f"/{name}",
            ]
    answers = await asyncio.gather(
        *(raw(server.port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
              "Connection: close\r\n\r\n".encode()) for path in requests)
    )  # fmt: skip
    for path, answer in zip(requests, answers, strict=True):
        status = int(answer.split(b" ", 2)[1])
        assert status < 500, (path, answer[:300])
        assert b"root:" not in answer, path
        assert b"import annotations" not in answer, path
        # nothing of a room that is not there, except that it has no recordings
        if status == 200 and not path.endswith("/recordings"):
            assert b"<!doctype html" in answer[:2000].lower(), (path, answer[:300])
    assert tree(server.data_dir) == before


async def test_a_call_with_a_malicious_room_stays_in_the_data_folder(
    server: ServerProcess,
) -> None:
    outside = tree(server.data_dir.parent) - tree(server.data_dir)
    for room, participant in (("..%2F..%2Fescaped", "ada"), ("..", "ada"), ("r", "..%2Fada")):
        path = f"/ws?handler=room&room={room}&participant={participant}"
        async with placed(server.ws_url, path) as call:
            await call.send("invite", option={})
            await call.expect("error", sender="invite")
    path = "/ws?handler=room&room=escaped&participant=ada&id=..%2F..%2Fcall"
    async with placed(server.ws_url, path) as call:
        await call.invite(tts={}, recorder={"recorderFile": "../../escaped.wav"})
        await call.send("chat", text="what is salon")
        await call.expect("trackStart", trackId="server-side-track")
        await call.heard(20)
        await call.send("play", url="file:///etc/passwd")
        await call.expect("error")
        await call.send("play", url="../../../../etc/hostname")
        await call.expect("error")
        await call.send("play", url="http://169.254.169.254/latest/meta-data/")
        await call.expect("error")
        await call.send("hangup")
        await call.closed()
    assert tree(server.data_dir.parent) - tree(server.data_dir) == outside
    made = [path for path in tree(server.data_dir) if "escaped" in str(path)]
    assert made, "the recording is kept below the data folder"
    kept = (server.data_dir / "recordings", server.data_dir / "events")
    assert all(any(path.is_relative_to(folder) for folder in kept) for path in made), made


def tree(folder: Path) -> set[Path]:
    """Everything below a folder but what SQLite and the log come and go with."""
    return {path for path in folder.rglob("*") if not re.search(r"salon\.(db|log)", path.name)}


# -- credentials ----------------------------------------------------------------------------------


async def test_beyond_loopback_nothing_starts_without_a_key(tmp_path: Path) -> None:
    for given in ("0.0.0.0", "::"):
        port = str(free_port())
        ended = await salon("serve", "--host", given, "--port", port, folder=tmp_path)
        assert ended.code == 2, ended
        assert "SALON_API_KEY" in ended.err
        assert "Traceback" not in ended.err
    short = {"SALON_API_KEY": "short"}
    ended = await salon("serve", "--host", "0.0.0.0", folder=tmp_path, environment=short)
    assert ended.code == 2
    assert "SALON_API_KEY" in ended.err
    assert "short'" not in ended.err, "the key itself is not shown"


@pytest.fixture(scope="module")
def locked() -> Iterator[ServerProcess]:
    """A server that listens on every address, with a key."""
    with running_server(
        "--host", "0.0.0.0", "--stt", "none", environment={"SALON_API_KEY": KEY}
    ) as process:
        yield process
        log = process.log_text()
        assert "Traceback" not in log, log[-4000:]
        assert KEY not in log


WRONG: tuple[dict[str, str], ...] = (
    {},
    {"X-API-Key": "wrong-wrong-wrong-wrong"},
    {"Authorization": "Bearer"},
    {"Authorization": f"Basic {KEY}"},
    {"Authorization": f"Bearer {KEY}x"},
    {"Cookie": "salon_login=9999999999.x.0000"},
)
RIGHT: tuple[dict[str, str], ...] = ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY})


async def test_with_a_key_http_asks_for_it(locked: ServerProcess) -> None:
    paths = ("/list", "/metrics", "/rooms/x/timeline", "/openapi.json", "/schema/call.json")
    async with httpx.AsyncClient(base_url=locked.url, timeout=20) as client:
        for path in paths:
            for headers in WRONG:
                answer = await client.get(path, headers=headers)
                assert (answer.status_code, path) == (401, path), headers
                assert answer.headers["www-authenticate"] == "Bearer"
        assert (await client.post("/rooms")).status_code == 401
        assert (await client.get("/list", params={"api_key": KEY})).status_code == 401
        for headers in RIGHT:
            assert (await client.get("/list", headers=headers)).status_code == 200
            assert (await client.post("/rooms", headers=headers)).status_code == 201
        # what anybody may know: that it lives, and that a key is needed
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/api/info")).json().keys() == {"name", "version", "auth"}


async def test_with_a_key_sockets_ask_for_it(locked: ServerProcess) -> None:
    for path in ("/ws", "/call", "/ws/lobby"):
        for headers in WRONG:
            answer = await refused(locked.ws_url + path, **headers)
            assert answer.status_code == 401, (path, headers)
        for headers in RIGHT:
            async with connect(locked.ws_url + path, additional_headers=headers):
                pass


async def test_a_login_opens_the_page_and_its_sockets_only_from_the_own_origin(
    locked: ServerProcess,
) -> None:
    async with httpx.AsyncClient(base_url=locked.url, timeout=20) as client:
        assert (await client.post("/api/login", json={"key": "no" * 10})).status_code == 401
        answer = await client.post("/api/login", json={"key": KEY})
        assert answer.json() == {"auth": "ok"}
        made = answer.headers["set-cookie"]
        assert "HttpOnly" in made
        assert "samesite=strict" in made.lower()
        assert KEY not in made
        assert (await client.get("/list")).status_code == 200
        cookie = {"Cookie": f"salon_login={client.cookies['salon_login']}"}
        assert (await client.post("/rooms", headers={"Origin": EVIL})).status_code == 403
    async with connect(f"{locked.ws_url}/ws", additional_headers=cookie):
        pass
    answer = await refused(f"{locked.ws_url}/ws", Origin=EVIL, **cookie)
    assert answer.status_code == 403


async def test_guessing_the_key_is_slowed_down() -> None:
    with running_server("--stt", "none", environment={"SALON_API_KEY": KEY}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            for _ in range(5):
                answer = await client.post("/api/login", json={"key": "guess-guess-guess"})
                assert answer.status_code == 401
            answer = await client.post("/api/login", json={"key": KEY})
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0


async def test_secrets_are_in_neither_list_nor_logs() -> None:
    secrets = {
        "SALON_API_KEY": KEY,
        "SALON_STT_API_KEY": "stt-secret-0123456789",
        "SALON_TTS_API_KEY": "tts-secret-0123456789",
        "SALON_LLM_API_KEY": "llm-secret-0123456789",
    }
    given = "sk-from-the-client-0123456789"
    with running_server("--log-level", "debug", "--stt", "none", environment=secrets) as server:
        headers = {"X-API-Key": KEY}
        async with placed(server.ws_url, headers=headers) as call:
            await call.invite(
                asr={"secretId": given, "secretKey": given, "extra": {"api_key": given}},
                tts={"secretKey": given, "extra": {"token": given}},
                vad={"secretKey": given},
            )
            await call.send("tts", text="Hello.", option={"secretKey": given})
            await call.expect("trackStart", trackId="server-side-track")
            async with httpx.AsyncClient(
                base_url=server.url, headers=headers, timeout=20
            ) as client:
                listed = (await client.get("/list")).text
                info = (await client.get("/api/info")).text
            await call.send("tts", text=["wrong"], secretKey=given)
            await call.expect("error")
            await call.send("hangup")
            await call.closed()
        file = server.data_dir / "logs" / "salon.log"
        await until(lambda: file.stat().st_size > 0, "a log file")
        seen = [listed, info, server.log_text(), file.read_text(), str(call.events)]
        for text in seen:
            for secret in (given, *secrets.values()):
                assert secret not in text
        assert "call/lists" not in listed
        assert call.events[1]["trackId"] in listed
