"""Live calls over HTTP against a running server: strangers, foreign pages, hostile ids."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest
from tests.integration.wire import placed

from salon.testing.server import ServerProcess, running_server

KEY = "correct-horse-battery-staple"
PATHS = (
    ("POST", "/command/a"),
    ("GET", "/events/a"),
    ("POST", "/precache"),
    ("GET", "/api/records"),
    ("GET", "/kill/a/b"),
)
HOSTILE = ("../../etc/passwd", "a/../b", "%2e%2e", "a b@x;?#", "-rf", "x" * 200, "é\u2028")


async def test_foreign_pages_and_hosts_get_nothing(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        for method, path in PATHS:
            foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
            assert (await client.request(method, path, headers=foreign)).status_code == 403, path
            host = {"Host": "evil.example"}
            assert (await client.request(method, path, headers=host)).status_code == 403, path


@pytest.mark.slow
async def test_without_a_key_nothing_is_opened() -> None:
    with running_server(environment={"SALON_API_KEY": KEY}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            for method, path in PATHS:
                assert (await client.request(method, path)).status_code == 401, path
            headers = {"Authorization": f"Bearer {KEY}"}
            assert (await client.get("/api/records", headers=headers)).status_code == 200


@pytest.mark.parametrize("call_id", HOSTILE)
async def test_hostile_ids_reach_their_call_and_no_file(
    server: ServerProcess, call_id: str
) -> None:
    quoted = quote(call_id, safe="")
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        unknown = await client.post(f"/command/{quoted}", json={"command": "interrupt"})
        assert (unknown.status_code, unknown.json()["id"]) == (404, call_id)
        assert (await client.get(f"/events/{quoted}")).status_code == 404
        if not call_id.isprintable():
            return
        async with placed(server.ws_url, f"/ws?id={quoted}") as call:
            await call.invite()
            async with client.stream("GET", f"/events/{quoted}?binary=false") as following:
                assert following.status_code == 200
                sent = {"command": "hangup", "reason": "caller"}
                answer = await client.post(f"/command/{quoted}", json=sent)
                assert answer.json() == {"status": "sent", "id": call_id}
                told = (await following.aread()).decode()
            assert json.dumps("hangup") in told
