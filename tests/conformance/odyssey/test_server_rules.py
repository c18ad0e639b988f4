"""The broker as rules 3, 11 to 13, 15 and 19 want it, asked over HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import aiohttp
import av
import pytest
from tests.conformance.odyssey.server_caller import Broker, Caller, calling, until
from tests.conformance.odyssey.server_fixtures import anybody, broker, caller, server, settings

from salon.testing.odyssey import (
    API_KEY,
    OTHER_KEY,
    ROUTES,
    SUSPENDED_KEY,
    Account,
    HttpFault,
    OdysseyStandIn,
    StandInSettings,
)

__all__ = ["anybody", "broker", "caller", "server", "settings"]

SCRIPT: list[dict[str, Any]] = [
    {"timestamp_ms": 0, "start": {"prompt": "a harbour"}},
    {"timestamp_ms": 300, "interact": {"prompt": "a storm"}},
    {"timestamp_ms": 500, "end": {}},
]
AUTHENTICATED = (
    ("GET", "/regions"),
    ("POST", "/sessions/request"),
    ("POST", "/sessions/token"),
    ("GET", "/recordings/x"),
    ("GET", "/stream-recordings"),
    ("POST", "/simulation-jobs"),
    ("GET", "/simulation-jobs"),
    ("GET", "/simulation-jobs/x"),
    ("DELETE", "/simulation-jobs/x"),
)


async def test_O11_doubled_slashes_are_one(anybody: Broker) -> None:
    reply = await anybody.ask("POST", "//auth//token", {"api_key": API_KEY})
    assert reply.status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"api_key": "ody_somebody_else_0009"}, 401),
        ({"api_key": SUSPENDED_KEY}, 403),
        ({"api_key": "sk-not-one-of-these"}, 422),
        ({"api_key": None}, 422),
        ({}, 422),
        ([], 422),
    ],
)
async def test_O13_O23_a_refused_key(anybody: Broker, body: object, status: int) -> None:
    reply = await anybody.ask("POST", "/auth/token", body)
    assert reply.status == status
    assert isinstance(reply.body["detail"], str)


async def test_O13_O14_a_key_gives_a_token_that_ends(anybody: Broker) -> None:
    reply = await anybody.ask("POST", "/auth/token", {"api_key": API_KEY})
    assert reply.status == 200
    assert reply.body["access_token"]
    assert reply.body["expires_in"] == 3600


async def test_O12_O20_a_session_is_spelt_with_two_l(broker: Broker) -> None:
    reply = await broker.ask("POST", "/sessions/request", {})
    assert reply.status == 200
    assert reply.body["session_id"]
    assert reply.body["signalling_url"] == broker.server.signaling_url
    assert reply.body["capabilities"] == {"image_to_video": True}


async def test_O15_O22_two_tokens_for_one_session(broker: Broker) -> None:
    session = (await broker.ask("POST", "/sessions/request", {})).body["session_id"]
    made = [await broker.ask("POST", "/sessions/token", {"session_id": session}) for _ in range(2)]
    tokens = [reply.body["session_token"] for reply in made]
    assert tokens[0] != tokens[1]
    for token in tokens:
        parts = token.split(".")
        assert len(parts) == 3
        header, payload = (
            json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            for part in parts[:2]
        )
        assert header["alg"] == "HS256"
        assert payload["session_id"] == session
    assert [reply.body["expires_in"] for reply in made] == [600, 600]


async def test_O16_regions_and_what_was_measured(broker: Broker) -> None:
    (region,) = (await broker.ask("GET", "/regions")).body["regions"]
    async with aiohttp.ClientSession() as anybody, anybody.get(region["ping_url"]) as ping:
        assert ping.status == 200
    measured = {region["id"]: 12}
    reply = await broker.ask("POST", "/sessions/request", {"region_latencies": measured})
    assert broker.server.latencies(reply.body["session_id"]) == measured
    bad = await broker.ask("POST", "/sessions/request", {"region_latencies": {"a": "fast"}})
    assert bad.status == 422


@pytest.mark.parametrize("settings", [StandInSettings(regions=())])
async def test_O16_no_regions_is_an_empty_list(broker: Broker) -> None:
    assert (await broker.ask("GET", "/regions")).body == {"regions": []}


@pytest.mark.parametrize("settings", [StandInSettings(streamers=2, fps=5, portrait=(176, 320))])
async def test_O17_503_until_a_streamer_is_free(broker: Broker) -> None:
    await broker.ask("POST", "/sessions/request", {})
    async with calling(broker):
        reply = await broker.ask("POST", "/sessions/request", {})
        assert reply.status == 503
        assert isinstance(reply.body["detail"], str)
    await until(lambda: broker.server.sessions == 1, "the closed socket frees its streamer")
    assert (await broker.ask("POST", "/sessions/request", {})).status == 200


@pytest.mark.parametrize("settings", [StandInSettings(sessions_per_account=1)])
async def test_O18_a_limit_is_a_429_with_an_object(broker: Broker) -> None:
    await broker.ask("POST", "/sessions/request", {})
    reply = await broker.ask("POST", "/sessions/request", {})
    assert reply.status == 429
    detail = reply.body["detail"]
    assert detail["error"] == "CONCURRENT_LIMIT_REACHED"
    assert detail["details"] == {"active_count": 1, "limit": 1}
    assert detail["message"]
    assert detail["action"]


async def test_O21_a_token_for_no_session_of_ours(broker: Broker) -> None:
    session = (await broker.ask("POST", "/sessions/request", {})).body["session_id"]
    body = {"session_id": "nothing"}
    assert (await broker.ask("POST", "/sessions/token", body)).status == 404
    other = await Broker(broker.server, broker.http).login(OTHER_KEY)
    assert (await other.ask("POST", "/sessions/token", {"session_id": session})).status == 404


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "e30.e30.e30"])
@pytest.mark.parametrize(("method", "path"), AUTHENTICATED)
async def test_checklist_10_all_but_a_few_want_a_token(
    anybody: Broker, method: str, path: str, token: str
) -> None:
    anybody.token = token
    reply = await anybody.ask(method, path, {} if method == "POST" else None)
    assert reply.status == 401
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_O22_a_session_token_is_no_access_token(broker: Broker) -> None:
    _, _, broker.token = await broker.session()
    assert (await broker.ask("GET", "/regions")).status == 401


@pytest.mark.parametrize("path", ["/auth/token", "/live/x/whep", "/config", "/unknown"])
async def test_O24_pages_of_other_origins_may_ask(anybody: Broker, path: str) -> None:
    origin = {"Origin": "http://else.example", "Access-Control-Request-Method": "POST"}
    reply = await anybody.ask("OPTIONS", path, headers=origin)
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "*"
    allowed = reply.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    refused = await anybody.ask("GET", path)
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "location" in refused.headers["access-control-expose-headers"].lower()


async def test_O27_O44_the_stun_server_named_is_our_own(anybody: Broker) -> None:
    (entry,) = (await anybody.ask("GET", "/config")).body["iceServers"]
    assert entry["urls"] == f"stun:127.0.0.1:{anybody.server.stun.port}"


# -- recordings ----------------------------------------------------------------------------------


async def streamed(caller: Caller) -> str:
    """Run a short stream to its end; its id."""
    caller.start()
    (started,) = await caller.heard(1)
    seen = len(caller.pictures)
    await until(lambda: len(caller.pictures) >= seen + 6, "frames")
    caller.say("update", prompt="a storm")
    caller.say("interactive_stream_end")
    await caller.heard(3)
    stream_id: str = started["stream_id"]
    return stream_id


async def test_O88_O91_a_recording_is_there_with_its_end(broker: Broker, caller: Caller) -> None:
    stream_id = await streamed(caller)
    recording = (await broker.ask("GET", f"/recordings/{stream_id}")).body
    assert recording["stream_id"] == stream_id
    async with aiohttp.ClientSession() as http:
        async with http.get(recording["video_url"]) as reply:
            assert reply.content_type == "video/mp4"
            video = await reply.read()
        async with http.get(recording["video_url"], headers={"Range": "bytes=4-7"}) as reply:
            assert (reply.status, await reply.read()) == (206, b"ftyp")
        async with http.get(recording["events_url"]) as reply:
            lines = [json.loads(line) for line in (await reply.text()).splitlines()]
        async with http.get(recording["thumbnail_url"]) as reply:
            assert (await reply.read())[:3] == b"\xff\xd8\xff"
        async with http.get(recording["preview_url"]) as reply:
            assert (await reply.read())[4:8] == b"ftyp"
        async with http.get(recording["video_url"] + "0") as reply:
            assert reply.status == 403
    assert [(line["type"], line.get("prompt")) for line in lines] == [
        ("stream_started", "a harbour"),
        ("update_acknowledged", "a storm"),
        ("stream_ended", None),
    ]
    assert all(isinstance(line["timestamp_ms"], int) for line in lines)
    assert video.index(b"moov") < video.index(b"mdat"), "faststart"
    assert frames_of(video) == ("h264", "yuv420p", recording["frame_count"])


def frames_of(video: bytes) -> tuple[str, str, int]:
    """The codec, the format of its pictures, and how many there are."""
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        count = sum(1 for _ in container.decode(stream))
        return stream.codec_context.name, str(stream.codec_context.pix_fmt), count


async def test_O89_recordings_are_listed_newest_first(broker: Broker, caller: Caller) -> None:
    first = await streamed(caller)
    caller.start(portrait=False)
    second = (await caller.heard(4))[3]["stream_id"]
    listed = (await broker.ask("GET", "/stream-recordings")).body
    assert [one["stream_id"] for one in listed["recordings"]] == [second, first]
    newest, oldest = listed["recordings"]
    assert (newest["width"], newest["height"]) == (320, 176)
    assert newest["ended_at"] is None
    assert newest["duration_seconds"] is None
    assert oldest["started_at"] < oldest["ended_at"]
    assert oldest["duration_seconds"] > 0
    assert (listed["total"], listed["limit"], listed["offset"]) == (2, 20, 0)
    page = (await broker.ask("GET", "/stream-recordings?limit=1&offset=1")).body
    assert [one["stream_id"] for one in page["recordings"]] == [first]
    assert (page["total"], page["limit"], page["offset"]) == (2, 1, 1)


async def test_O91_a_client_that_goes_at_once_is_recorded_too(broker: Broker) -> None:
    async with calling(broker) as caller:
        await caller.connect()
        caller.start()
        (started,) = await caller.heard()
        seen = len(caller.pictures)
        await until(lambda: len(caller.pictures) >= seen + 6, "frames")
        caller.say("interactive_stream_end")
        await caller.socket.close()
    async with asyncio.timeout(20):
        while True:
            reply = await broker.ask("GET", f"/recordings/{started['stream_id']}")
            if reply.body["frame_count"]:
                break
            await asyncio.sleep(0.02)
    assert reply.body["video_url"]


async def test_O88_O89_recordings_of_others_are_not_there(broker: Broker, caller: Caller) -> None:
    stream_id = await streamed(caller)
    other = await Broker(broker.server, broker.http).login(OTHER_KEY)
    assert (await other.ask("GET", f"/recordings/{stream_id}")).status == 404
    assert (await other.ask("GET", "/stream-recordings")).body["total"] == 0
    assert (await broker.ask("GET", "/recordings/nothing")).status == 404


# -- simulations ---------------------------------------------------------------------------------


async def over(broker: Broker, job_id: str) -> dict[str, Any]:
    """A job that is no longer active."""
    async with asyncio.timeout(20):
        while True:
            job: dict[str, Any] = (await broker.ask("GET", f"/simulation-jobs/{job_id}")).body
            if job["status"] in ("completed", "failed", "cancelled"):
                return job
            await asyncio.sleep(0.02)


async def submitted(broker: Broker, **body: Any) -> dict[str, Any]:
    given = {"portrait": True, "output_video": True, **body}
    reply = await broker.ask("POST", "/simulation-jobs", given)
    assert reply.status in (200, 201), reply
    job: dict[str, Any] = reply.body
    return job


async def test_O92_O95_scripts_are_rendered(broker: Broker) -> None:
    job = await submitted(broker, scripts=[SCRIPT, SCRIPT])
    assert job["status"] == "pending"
    assert job["streams"] == []
    assert job["priority"]
    assert job["created_at"]
    done = await over(broker, job["job_id"])
    assert done["status"] == "completed", done
    assert [stream["script_index"] for stream in done["streams"]] == [0, 1]
    for stream in done["streams"]:
        video = await broker.http.get(stream["video_url"])
        assert frames_of(await video.read())[2] == stream["frame_count"] == 6
        assert stream["duration_seconds"] == 0.5
    assert (await broker.ask("GET", "/stream-recordings")).body["total"] == 0


WRONG_SCRIPTS: tuple[dict[str, Any], ...] = (
    {},
    {"script": []},
    {"script": SCRIPT, "scripts": [SCRIPT]},
    {"script": SCRIPT[1:]},
    {"script": SCRIPT[:2]},
    {"script": [SCRIPT[0], SCRIPT[2], SCRIPT[1]]},
    {"script": [{"timestamp_ms": 0, "start": {}}, SCRIPT[2]]},
    {"script": [{"timestamp_ms": 5, "start": {"prompt": "x"}}, SCRIPT[2]]},
    {"script": [SCRIPT[0], {"timestamp_ms": "1", "end": {}}]},
    {"script": [SCRIPT[0], {"timestamp_ms": 10**9, "end": {}}]},
    {"script": SCRIPT, "portrait": "yes"},
    {"script_url": "http://else.example/script.json"},
    {"script_url": "file:///etc/hostname"},
)


@pytest.mark.parametrize("body", WRONG_SCRIPTS)
async def test_O92_O93_what_can_not_be_rendered(broker: Broker, body: dict[str, Any]) -> None:
    reply = await broker.ask("POST", "/simulation-jobs", body)
    assert reply.status == 422
    assert isinstance(reply.body["detail"], str)


@pytest.mark.parametrize("settings", [StandInSettings(queued_jobs=1)])
async def test_O58a_so_many_jobs_may_wait(broker: Broker) -> None:
    broker.server.faults.hold_jobs = True
    await submitted(broker, script=SCRIPT)
    reply = await broker.ask("POST", "/simulation-jobs", {"script": SCRIPT})
    assert reply.status == 429
    assert {"error", "message", "action"} <= set(reply.body["detail"])


@pytest.mark.parametrize(
    "settings", [StandInSettings(accounts={API_KEY: Account("tester", may_bypass=False)})]
)
async def test_O94_a_bypass_wants_a_privilege(broker: Broker) -> None:
    body = {"script": SCRIPT, "bypass_vlm_expansion": True}
    assert (await broker.ask("POST", "/simulation-jobs", body)).status == 403


async def test_O95_O97_jobs_of_others(broker: Broker) -> None:
    broker.server.faults.hold_jobs = True
    job = await submitted(broker, script=SCRIPT)
    other = await Broker(broker.server, broker.http).login(OTHER_KEY)
    for method in ("GET", "DELETE"):
        assert (await other.ask(method, f"/simulation-jobs/{job['job_id']}")).status == 403
        assert (await other.ask(method, "/simulation-jobs/nothing")).status == 404
    assert (await other.ask("GET", "/simulation-jobs")).body["total"] == 0


async def test_O96_jobs_are_listed(broker: Broker) -> None:
    done = await over(broker, (await submitted(broker, script=SCRIPT))["job_id"])
    broker.server.faults.hold_jobs = True
    waits = await submitted(broker, script=SCRIPT)
    listed = (await broker.ask("GET", "/simulation-jobs")).body
    assert [job["job_id"] for job in listed["jobs"]] == [waits["job_id"], done["job_id"]]
    assert (listed["total"], listed["limit"], listed["offset"]) == (2, 20, 0)
    for query, expected in (
        ("active=true", [waits]),
        ("active=false", [done]),
        ("status=completed", [done]),
        ("status=failed", []),
        ("limit=1&offset=1", [done]),
    ):
        found = (await broker.ask("GET", f"/simulation-jobs?{query}")).body["jobs"]
        assert [job["job_id"] for job in found] == [job["job_id"] for job in expected], query
    for query in ("limit=0", "limit=101", "limit=x", "offset=-1", "status=lost", "active=1"):
        assert (await broker.ask("GET", f"/simulation-jobs?{query}")).status == 422, query


async def test_O97_what_runs_can_not_be_cancelled(broker: Broker) -> None:
    faults = broker.server.faults
    faults.hold_dispatched = faults.hold_processing = True
    first, second = [await submitted(broker, script=SCRIPT) for _ in range(2)]
    pending = await broker.ask("DELETE", f"/simulation-jobs/{second['job_id']}")
    assert (pending.status, pending.body["status"]) == (200, "cancelled")

    async def status() -> str:
        job: dict[str, str] = (await broker.ask("GET", f"/simulation-jobs/{first['job_id']}")).body
        return job["status"]

    async with asyncio.timeout(10):
        while await status() != "dispatched":
            await asyncio.sleep(0.01)
        faults.hold_dispatched = False
        while await status() != "processing":
            await asyncio.sleep(0.01)
    reply = await broker.ask("DELETE", f"/simulation-jobs/{first['job_id']}")
    assert reply.status == 400
    assert "processing" in reply.body["detail"]
    faults.hold_processing = False
    assert (await over(broker, first["job_id"]))["status"] == "completed"


async def test_O98_a_job_fails(broker: Broker) -> None:
    broker.server.faults.job_failure = "the streamer broke"
    job = await over(broker, (await submitted(broker, script=SCRIPT))["job_id"])
    assert (job["status"], job["error_message"]) == ("failed", "the streamer broke")


# -- telemetry and faults ------------------------------------------------------------------------


async def test_O103_O105_reports_are_taken_without_a_token(anybody: Broker) -> None:
    event = {"event": "session_connected", "api_key_prefix": "ody_stan", "connect_duration_ms": 3}
    reply = await anybody.ask("POST", "/telemetry", {"events": [event]})
    assert reply.status == 202
    assert anybody.server.telemetry == [{"event": "session_connected", "connect_duration_ms": 3}]


async def test_every_status_delay_and_cut(broker: Broker) -> None:
    faults = broker.server.faults
    for status in (400, 401, 403, 404, 422, 429, 500, 502, 503):
        faults.http("sessions.request", HttpFault(status=status, body={"detail": "x"}, times=1))
        assert (await broker.ask("POST", "/sessions/request", {})).status == status
    faults.http(
        "sessions.request", HttpFault(without=("signalling_url",), fields={"n": 1}, times=1)
    )
    body = (await broker.ask("POST", "/sessions/request", {})).body
    assert "signalling_url" not in body
    assert body["n"] == 1
    # a request of this kind is not repeated by the HTTP client of its own accord
    faults.http("sessions.token", HttpFault(drop=True, times=1))
    with pytest.raises(aiohttp.ClientError):
        await broker.ask("POST", "/sessions/token", {"session_id": "x"})
    faults.http("regions", HttpFault(body=b"{", status=200, times=1))
    assert (await broker.ask("GET", "/regions")).body == "{"
    faults.http("regions", HttpFault(delay_s=30))
    with pytest.raises(TimeoutError):
        await broker.ask("GET", "/regions", timeout=aiohttp.ClientTimeout(total=0.2))
    faults.clear()
    assert (await broker.ask("GET", "/regions")).status == 200
    with pytest.raises(ValueError, match="no route"):
        faults.http("region", HttpFault())
    assert "regions" in ROUTES


async def test_a_stand_in_leaves_nothing_behind(settings: StandInSettings) -> None:
    async with OdysseyStandIn(settings) as server, aiohttp.ClientSession() as http:
        async with calling(await Broker(server, http).login()) as caller:
            await caller.connect()
            caller.start()
            await caller.heard()
        folder = server._folder
        assert folder.exists()
    assert not folder.exists()
    await until(lambda: len(asyncio.all_tasks()) == 1, "no task is left")
