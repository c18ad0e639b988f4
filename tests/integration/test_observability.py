"""What whoever runs a server can see: health, readiness, metrics, schemas, the log file."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
from tests.integration.conftest import emptied, until
from tests.integration.program import salon
from tests.integration.wire import placed

from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import silence, speak

SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>[0-9.e+-]+|\+Inf)$")


async def metrics_of(server: ServerProcess) -> dict[tuple[str, str], float]:
    """All samples of /metrics, which must be in the text format of Prometheus."""
    text = await asyncio.to_thread(server.get, "/metrics")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            parts = SAMPLE.match(line)
            assert parts, line
            found[parts["name"], parts["labels"] or ""] = float(parts["value"])
    return found


async def test_health_readiness_and_metrics_follow_the_calls(server: ServerProcess) -> None:
    await emptied(server)
    before = await metrics_of(server)
    free = (await asyncio.to_thread(server.get, "/ready"))["free_calls"]
    async with placed(server.ws_url) as first, placed(server.ws_url) as second:
        for call in (first, second):
            await call.invite(vad={}, asr={}, tts={})
        health = await asyncio.to_thread(server.get, "/health")
        assert health == {"status": "ok", "calls": 2, "max_calls": 64}
        ready = await asyncio.to_thread(server.get, "/ready")
        assert ready == {"status": "ready", "free_calls": free - 2}
        sound = np.concatenate([silence(200), speak("what is salon"), silence(200)])
        await asyncio.gather(first.talk(sound), second.talk(sound))
        async with first.quiet(), second.quiet():
            await asyncio.gather(first.expect("asrFinal"), second.expect("asrFinal"))
        during = await metrics_of(server)
        for call in (first, second):
            await call.send("hangup", reason="caller")
            await call.closed()
    await emptied(server)
    after = await metrics_of(server)

    assert during["salon_calls_active", ""] == 2
    assert after["salon_calls_active", ""] == 0
    assert after["salon_max_calls", ""] == 64

    def grown(name: str, labels: str = "") -> float:
        return after[name, labels] - before.get((name, labels), 0.0)

    windows, batches = grown("salon_vad_batch_size_sum"), grown("salon_vad_batch_size_count")
    assert batches > 0
    assert windows >= batches
    # both spoke at the same time, so some evaluations held both
    assert windows > batches
    assert grown("salon_decoder_wait_seconds_count") >= 2
    assert grown("salon_calls_total", 'outcome="completed"') == 2
    assert ("salon_ticker_late_ticks", "") in after


async def test_a_call_that_hangs_up_without_a_reason_is_no_killed_call(
    server: ServerProcess,
) -> None:
    await emptied(server)
    before = await metrics_of(server)
    async with placed(server.ws_url) as call:
        await call.invite()
        await call.send("hangup")
        await call.closed()
    await emptied(server)
    after = await metrics_of(server)
    killed = ("salon_calls_total", 'outcome="killed"')
    assert after.get(killed, 0) == before.get(killed, 0)


async def test_the_schemas_are_served_and_complete(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        api = (await client.get("/openapi.json")).json()
        assert api["openapi"].startswith("3.")
        expected = {
            "/health", "/ready", "/metrics", "/list", "/kill/{session_id}", "/api/info",
            "/api/login", "/rooms", "/rooms/{room_id}", "/rooms/{room_id}/timeline",
            "/rooms/{room_id}/transcript", "/rooms/{room_id}/recordings", "/schema/call.json",
        }  # fmt: skip
        assert expected <= api["paths"].keys()
        calls = (await client.get("/schema/call.json")).json()
        assert {"invite", "tts", "hangup"} <= calls["commands"].keys()
        assert {"answer", "asrFinal", "hangup"} <= calls["events"].keys()
        for path in ("/docs", "/redoc"):
            assert (await client.get(path)).status_code == 404


async def test_the_log_file_holds_one_json_object_a_line() -> None:
    environment = {"SALON_LOG_FORMAT": "json", "SALON_STT": "none"}
    with running_server("--log-level", "debug", environment=environment) as server:
        async with placed(server.ws_url) as call:
            await call.invite()
            await call.send("hangup")
            await call.closed()
        file = server.data_dir / "logs" / "salon.log"
        await until(lambda: "/ready" in file.read_text(), "an access log entry")
        assert file.parent.stat().st_mode & 0o077 == 0, "others can't read the folder"
        entries = [json.loads(line) for line in file.read_text().splitlines()]
        for entry in entries:
            assert datetime.fromisoformat(entry["time"]).tzinfo is not None
            assert entry["level"] in {"debug", "info", "warning", "error"}
            assert entry["logger"]
            assert entry["message"]
        assert not [entry for entry in entries if entry["level"] == "error"]
        # the console says the same in the form that was asked for
        assert [json.loads(line) for line in server.log_text().splitlines() if line[:1] == "{"]


async def test_a_port_in_use_is_said_in_one_line(server: ServerProcess, tmp_path: Path) -> None:
    ended = await salon("serve", "--port", str(server.port), folder=tmp_path)
    assert ended.code == 2
    assert str(server.port) in ended.err
    assert "in use" in ended.err
    assert "Traceback" not in ended.err
