"""Every fault of recordings, simulations, files and spectators' calls ends in its exception."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from tests.conformance.odyssey.fault_stage import (
    BODIES,
    EVERY,
    FIELDS,
    LATE,
    OFFERS,
    SHORT,
    SOFT,
    STATUSES,
    Expected,
    client_of,
    fallback,
    forget,
    hurried,
    meeting,
    stage,
    theirs_of,
    works,
)
from tests.conformance.odyssey.server_caller import until
from tests.conformance.odyssey.witness import LIMIT_S

from salon.clients.odyssey import (
    ConcurrentLimitReachedError,
    MonthlyLimitReachedError,
    Odyssey,
    OdysseyConnectionError,
    OdysseyError,
    OdysseyStreamError,
    OdysseyUsageError,
    SimulationJobStatus,
    StreamDurationExceededError,
    connect_to_stream,
    downloads,
)
from salon.testing.odyssey import (
    MESSAGES,
    ROUTES,
    Faults,
    HttpFault,
    MessageFault,
    OdysseyStandIn,
    SignalingFaults,
    StartRefusal,
)

SCRIPT: Final = [
    {"timestamp_ms": 0, "start": {"prompt": "a dog"}},
    {"timestamp_ms": 200, "end": {}},
]


REFUSALS: Final[dict[str, tuple[type[OdysseyError], str, str]]] = {
    "quota_exceeded": (MonthlyLimitReachedError, "MONTHLY_LIMIT_REACHED", "no"),
    "concurrent_limit_exceeded": (
        ConcurrentLimitReachedError,
        "CONCURRENT_LIMIT_EXCEEDED",
        "no",
    ),
    "lease_denied": (OdysseyStreamError, "", "Stream request denied - please try again"),
    "session_timeout": (StreamDurationExceededError, "STREAM_DURATION_EXCEEDED", "no"),
    "weather": (OdysseyStreamError, "", "weather: no"),
}


@pytest.mark.parametrize("call", ["start", "interact"])
@pytest.mark.parametrize("reason", REFUSALS)
async def test_O56_O77_every_refused_start_and_broken_stream(reason: str, call: str) -> None:
    kind, code, text = REFUSALS[reason]
    async with meeting() as (server, client, witness):
        if call == "start":
            server.faults.start = StartRefusal(reason, "no")
            waiting = asyncio.ensure_future(client.start_stream("a dog"))
        else:
            await client.start_stream("a dog")
            server.faults.message("update_acknowledged", MessageFault(drop=True))
            waiting = asyncio.ensure_future(client.interact("it barks"))
            theirs = theirs_of(server, client)
            await until(lambda: theirs.heard[-1]["type"] == "update", "it is heard")
            theirs.fail_stream(reason, "no")
        with pytest.raises(kind) as caught:
            await waiting
        assert type(caught.value) is kind
        assert caught.value.args[0] == text
        if isinstance(caught.value, OdysseyUsageError):
            assert caught.value.code == code
        assert witness.of("stream_error") == [(reason, "no")]
        if call == "interact":
            await witness.until("stream_ended")
        server.faults.clear()
        await works(client, witness)


async def test_O56_D2_an_error_leaves_a_waiting_end_to_its_limit() -> None:
    async with meeting() as (server, client, witness):
        await client.start_stream("a dog")
        server.faults.message("stream_ended", MessageFault(drop=True, times=1))
        ending = asyncio.ensure_future(client.end_stream(timeout=0.3))
        theirs = theirs_of(server, client)
        await until(lambda: theirs.stream is None, "it has ended")
        theirs.fail_stream("weather", "rain")
        await witness.until("stream_error")
        assert not ending.done()
        with pytest.raises(OdysseyStreamError, match="no answer from the streamer in time"):
            await ending
        forget(client)
        await works(client, witness)


@dataclasses.dataclass(frozen=True)
class Call:
    """A call that needs a key only, and what its refusals are."""

    make: Callable[[Odyssey, str], Awaitable[object]]
    usual: str
    special: dict[int, str]
    must: tuple[str, ...]


JOB: Final = ("job_id", "status", "priority", "created_at")


PAGE: Final = ("total", "limit", "offset")


UNKNOWN: Final = "Simulation job not found"


CALLS: Final = {
    "recordings.get": Call(
        lambda client, name: client.get_recording(name),
        "Failed to get recording: ",
        {401: "Not authorized", 404: "Recording not found"},
        ("stream_id",),
    ),
    "recordings.list": Call(
        lambda client, name: client.list_stream_recordings(),
        "Failed to list stream recordings: ",
        {401: "Not authorized"},
        ("recordings", *PAGE),
    ),
    "jobs.submit": Call(
        lambda client, name: client.simulate(script=SCRIPT),
        "Failed to submit simulation: ",
        {},
        JOB,
    ),
    "jobs.get": Call(
        lambda client, name: client.get_simulate_status(name),
        "Failed to get simulation status: ",
        {403: "Not authorized to access this simulation job", 404: UNKNOWN},
        JOB,
    ),
    "jobs.list": Call(
        lambda client, name: client.list_simulations(),
        "Failed to list simulations: ",
        {401: "Not authorized"},
        ("jobs", *PAGE),
    ),
    "jobs.cancel": Call(
        lambda client, name: client.cancel_simulation(name),
        "Failed to cancel simulation: ",
        {
            400: "Cannot cancel this simulation job",
            403: "Not authorized to cancel this simulation job",
            404: UNKNOWN,
        },
        ("job_id", "status"),
    ),
}


@asynccontextmanager
async def calling(route: str) -> AsyncIterator[tuple[OdysseyStandIn, Odyssey, str]]:
    """Somebody with a recording, or with a job that is held; its id. At the end a call works."""
    async with stage() as server, client_of(server) as client:
        server.faults.hold_jobs = True
        if route == "recordings.get":
            await client.connect()
            name = await client.start_stream("a dog")
            await client.end_stream()
            await client.disconnect()
        else:
            name = (await client.simulate(script=SCRIPT)).job_id
        yield server, client, name
        server.faults.http(route)
        await CALLS[route].make(client, name)


@pytest.mark.parametrize("route", CALLS)
async def test_O78_O94_O95_O96_O97_every_status_of_a_call(route: str) -> None:
    call = CALLS[route]
    async with calling(route) as (server, client, name):
        for status in EVERY:
            server.faults.http(route, HttpFault(status=status))
            refused = status in call.special
            with pytest.raises(ValueError if refused else ConnectionError) as caught:
                await call.make(client, name)
            assert isinstance(caught.value, OdysseyError)
            assert caught.value.status == status
            text = call.special.get(status, f"{call.usual}{status}")
            assert str(caught.value.args[0]).startswith(text)


@pytest.mark.parametrize("route", CALLS)
async def test_O88_O89_O94_O98_every_bad_body_of_a_call(route: str) -> None:
    call = CALLS[route]
    bad: list[tuple[HttpFault, type[Exception]]] = [
        *((HttpFault(status=200, body=body), ValueError) for body in BODIES.values()),
        *((HttpFault(without=(name,)), KeyError) for name in call.must),
        *((HttpFault(fields={name: True}), ValueError) for name in call.must),
    ]
    if "status" in call.must:
        bad.append((HttpFault(fields={"status": "asleep"}), ValueError))
    async with calling(route) as (server, client, name):
        for fault, kind in bad:
            if route == "jobs.cancel":
                server.faults.http("jobs.submit")
                name = (await client.simulate(script=SCRIPT)).job_id
            server.faults.http(route, fault)
            with pytest.raises(kind) as caught:
                await call.make(client, name)
            assert isinstance(caught.value, OdysseyError), fault
        if route == "jobs.cancel":
            server.faults.http(route)
            await client.cancel_simulation((await client.simulate(script=SCRIPT)).job_id)
            server.faults.http(
                route, HttpFault(status=200, body={"job_id": "j", "status": "failed"})
            )
            assert (await client.cancel_simulation("j")).status is SimulationJobStatus.FAILED


@pytest.mark.parametrize("route", CALLS)
async def test_O78_D13_nobody_answers_a_call(route: str) -> None:
    call = CALLS[route]
    async with calling(route) as (server, client, name):
        server.faults.http(route, HttpFault(drop=True))
        with pytest.raises(ConnectionError) as caught:
            await call.make(client, name)
        assert isinstance(caught.value, OdysseyConnectionError)
        server.faults.http(route, HttpFault(delay_s=LATE))
        with hurried(), pytest.raises(ConnectionError, match=f"no answer in {SHORT:g} s"):
            await call.make(client, name)
        before = server.asked.count(route)
        waiting = asyncio.ensure_future(call.make(client, name))
        await until(lambda: server.asked.count(route) > before, "asked")
        await client.disconnect()
        with pytest.raises(ConnectionError) as caught:
            await waiting
        assert isinstance(caught.value, OdysseyConnectionError)


@pytest.mark.parametrize("switch", ["hold_jobs", "hold_dispatched", "hold_processing"])
async def test_O95_O97_a_job_that_is_held(switch: str) -> None:
    status = {"hold_jobs": "pending", "hold_dispatched": "dispatched"}.get(switch, "processing")
    async with stage() as server, client_of(server) as client:
        setattr(server.faults, switch, True)
        job = await client.simulate(script=SCRIPT)
        async with asyncio.timeout(LIMIT_S):
            while job.status.value != status:
                job = await client.get_simulate_status(job.job_id)
        assert job.status.is_active
        if switch == "hold_processing":
            with pytest.raises(ValueError, match="Cannot cancel a simulation job that is"):
                await client.cancel_simulation(job.job_id)
        else:
            cancelled = await client.cancel_simulation(job.job_id)
            assert cancelled.status is SimulationJobStatus.CANCELLED


async def test_O98_a_job_that_fails_says_why() -> None:
    async with stage() as server, client_of(server) as client:
        server.faults.job_failure = "no paint left"
        job = await client.simulate(script=SCRIPT)
        async with asyncio.timeout(LIMIT_S):
            while job.status.is_active:
                job = await client.get_simulate_status(job.job_id)
        assert (job.status, job.error_message) == (SimulationJobStatus.FAILED, "no paint left")


async def test_O88_every_fault_of_a_file(tmp_path: Path) -> None:
    async with calling("recordings.get") as (server, client, name), aiohttp.ClientSession() as http:
        url = str((await client.get_recording(name)).video_url)
        target = tmp_path / "video.mp4"
        for status in (one for one in EVERY if one != 416):
            server.faults.http("files.get", HttpFault(status=status))
            kind = ValueError if 400 <= status < 500 else ConnectionError
            with pytest.raises(kind, match=f"the file can't be had: {status}"):
                await downloads.download(http, url, target)
        server.faults.http("files.get", HttpFault(drop=True))
        with pytest.raises(ConnectionError, match="the download broke off"):
            await downloads.download(http, url, target)
        server.faults.http("files.get", HttpFault(delay_s=LATE))
        with hurried(), pytest.raises(ConnectionError, match="the download broke off"):
            await downloads.download(http, url, target)
        assert not target.exists()
        server.faults.http("files.get")
        assert await downloads.download(http, url, target) == target.stat().st_size > 0


async def test_O81_O83_every_fault_of_a_spectators_call() -> None:
    special: dict[int, Expected] = {
        401: (ValueError, "Invalid spectator token"),
        404: (ConnectionError, "Stream not found"),
    }
    async with meeting() as (server, client, witness):
        await client.start_stream("a dog", broadcast=True)
        [(info,)] = await witness.until("broadcast_ready")
        for status in EVERY:
            server.faults.http("whep.post", HttpFault(status=status))
            usual = (ConnectionError, f"WHEP connection failed: {status}")
            kind, text = special.get(status, usual)
            with pytest.raises(kind, match=f"^{text}$"):
                await connect_to_stream(info.webrtc_url, info.spectator_token)
        for body in BODIES.values():
            server.faults.http("whep.post", HttpFault(status=201, body=body))
            with pytest.raises(ValueError, match=r"^The WHEP answer can't be used"):
                await connect_to_stream(info.webrtc_url, info.spectator_token)
        server.faults.http("whep.post", HttpFault(drop=True))
        with pytest.raises(ConnectionError, match=r"^WHEP connection failed: "):
            await connect_to_stream(info.webrtc_url, info.spectator_token)
        server.faults.http("whep.post", HttpFault(delay_s=LATE))
        with hurried(), pytest.raises(ConnectionError, match=f"no answer in {SHORT:g} s"):
            await connect_to_stream(info.webrtc_url, info.spectator_token)


@pytest.mark.parametrize("name", SOFT)
async def test_O81_O84_a_spectator_does_without_config_and_goodbye(name: str) -> None:
    gone: list[str] = []
    async with meeting() as (server, client, witness):
        await client.start_stream("a dog", broadcast=True)
        [(info,)] = await witness.until("broadcast_ready")
        server.faults.http("config", SOFT[name])
        server.faults.http("whep.delete", SOFT[name])
        with fallback(server), hurried():
            watching = await connect_to_stream(
                info.webrtc_url, info.spectator_token, on_disconnected=lambda: gone.append("gone")
            )
            await anext(watching.frames())
            await watching.disconnect()
        assert gone == ["gone"]
        assert watching.peer_connection.state == "closed"
        assert server.asked[-1] == "whep.delete"


def test_every_switch_of_the_stand_in_is_walked() -> None:
    spectators, soft = {"whep.post", "whep.delete"}, {"regions", "ping", "config", "telemetry"}
    assert set(ROUTES) == {*STATUSES, *CALLS, *spectators, *soft, "files.get"}
    assert set(MESSAGES) == set(FIELDS)
    offers = {name for faults, _ in OFFERS.values() for name in faults}
    others = {"error_reason", "close", "offers", "before_offer", "after_offer"}
    assert {field.name for field in dataclasses.fields(SignalingFaults)} == offers | others
    assert {name for name in vars(Faults()) if not name.startswith("_")} == {
        *("signaling", "start", "frozen_picture", "job_failure"),
        *("hold_jobs", "hold_dispatched", "hold_processing"),
        "relative_location",  # both ways are right: test_spectator_rules
    }
