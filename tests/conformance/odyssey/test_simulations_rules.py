"""Simulations (O78, O92-O98)."""

from __future__ import annotations

import base64
import copy
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tests.unit.clients.odyssey.service import Answer, Service, broker, serving

from salon.clients.odyssey.broker import Broker
from salon.clients.odyssey.errors import OdysseyError, RequestError
from salon.clients.odyssey.simulations import (
    cancel_simulation,
    get_simulate_status,
    list_simulations,
    simulate,
)
from salon.clients.odyssey.types import (
    SimulationJobDetail,
    SimulationJobInfo,
    SimulationJobsList,
    SimulationJobStatus,
    SimulationStream,
)

JOB = {"job_id": "j-1", "status": "pending", "priority": "normal", "created_at": "2026-04-01"}
SCRIPT: list[dict[str, Any]] = [
    {"timestamp_ms": 0, "start": {"prompt": "a cat", "mood": "calm"}},
    {"timestamp_ms": 3000, "interact": {"prompt": "it jumps"}},
    {"timestamp_ms": 6000, "end": {}},
]
PATH = "/simulation-jobs"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as made:
        made.on("POST", PATH, Answer(201, JOB))
        yield made


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Broker]:
    async with broker(service) as made:
        yield made


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({"script": SCRIPT}, {"portrait": True, "output_video": True, "script": SCRIPT}),
        (
            {"scripts": [SCRIPT, SCRIPT[:1]], "portrait": False},
            {"portrait": False, "output_video": True, "scripts": [SCRIPT, SCRIPT[:1]]},
        ),
        (
            {"script_url": "https://h/s.json", "bypass_prompt_expansion": True},
            {
                "portrait": True,
                "output_video": True,
                "script_url": "https://h/s.json",
                "bypass_vlm_expansion": True,
            },
        ),
        (
            {"script": SCRIPT, "scripts": [], "script_url": "", "bypass_prompt_expansion": False},
            {
                "portrait": True,
                "output_video": True,
                "script": SCRIPT,
                "bypass_vlm_expansion": False,
            },
        ),
    ],
)
async def test_O92_what_is_submitted(
    service: Service, client: Broker, given: dict[str, Any], body: dict[str, Any]
) -> None:
    await simulate(client, **given)
    assert service.last().body == body
    assert service.paths()[-1] == f"POST {PATH}"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"script": []},
        {"scripts": []},
        {"script_url": ""},
        {"script": SCRIPT, "scripts": [SCRIPT]},
        {"script": SCRIPT, "script_url": "https://h"},
        {"script": SCRIPT, "scripts": [SCRIPT], "script_url": "https://h"},
    ],
)
async def test_O92_exactly_one_source(
    service: Service, client: Broker, given: dict[str, Any]
) -> None:
    text = "^Exactly one of script, scripts, or script_url must be provided$"
    with pytest.raises(ValueError, match=text):
        await simulate(client, **given)
    assert not service.asked


@pytest.mark.parametrize("start", [{}, {"image": "data:x"}, None, "a cat"])
async def test_O93_a_start_needs_a_prompt(service: Service, client: Broker, start: Any) -> None:
    script = [*SCRIPT, {"timestamp_ms": 7000, "start": start}]
    text = r"^Script entry 3: 'start' must include a 'prompt' field$"
    for given in ({"script": script}, {"scripts": [SCRIPT, script]}):
        with pytest.raises(ValueError, match=text):
            await simulate(client, **given)
    assert not service.asked


@pytest.mark.parametrize("entry", ["a cat", 5, None, ["start"]])
async def test_O93_an_entry_that_is_no_object_is_the_callers_fault(
    service: Service, client: Broker, entry: Any
) -> None:
    with pytest.raises(RequestError, match=r"^Script entry 3 is not an object but "):
        await simulate(client, script=[*SCRIPT, entry])
    assert not service.asked


async def test_O93_images_become_data_urls_and_leave_prompt_and_image_only(
    service: Service, client: Broker
) -> None:
    script = copy.deepcopy(SCRIPT)
    script[0]["start"]["image"] = np.zeros((10, 10, 3), np.uint8)
    await simulate(client, script=script, portrait=False)
    start = service.last().body["script"][0]["start"]
    assert set(start) == {"prompt", "image"}
    assert start["image"].startswith("data:image/jpeg;base64,")
    assert base64.b64decode(start["image"].partition(",")[2], validate=True)
    assert isinstance(script[0]["start"]["image"], np.ndarray)  # the caller's is left alone
    script[0]["start"]["image"] = "data:image/png;base64,AAAA"
    await simulate(client, scripts=[script])
    start = service.last().body["scripts"][0][0]["start"]
    assert start == {"prompt": "a cat", "image": "data:image/png;base64,AAAA"}


async def test_O93_order_and_times_are_for_the_service_to_check(
    service: Service, client: Broker
) -> None:
    odd = [{"timestamp_ms": 9, "end": {}}, {"timestamp_ms": -1, "interact": {}}]
    await simulate(client, script=odd)
    assert service.last().body["script"] == odd


async def test_O94_the_reply_to_a_submission(service: Service, client: Broker) -> None:
    found = await simulate(client, script=SCRIPT)
    pending = SimulationJobStatus.PENDING
    assert found == SimulationJobDetail("j-1", pending, "normal", "2026-04-01")
    assert (found.retry_count, found.streams) == (0, [])
    more = {
        "dispatched_at": "a",
        "started_at": "b",
        "completed_at": "c",
        "error_message": "d",
        "assigned_region": "eu",
        "retry_count": 2,
        "estimated_wait_minutes": 4,
    }
    service.on("POST", PATH, Answer(202, {**JOB, **more}))
    found = await simulate(client, script=SCRIPT)
    assert {name: getattr(found, name) for name in more} == more


@pytest.mark.parametrize("field", list(JOB))
async def test_O94_a_missing_field_is_a_key_error(
    service: Service, client: Broker, field: str
) -> None:
    service.on("POST", PATH, Answer(200, {key: JOB[key] for key in JOB if key != field}))
    with pytest.raises(KeyError, match=field):
        await simulate(client, script=SCRIPT)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500])
async def test_O94_any_refusal_is_a_connection_error_with_what_was_said(
    service: Service, client: Broker, status: int
) -> None:
    said = b'{"detail": {"message": "no", "action": "wait"}}'
    service.on("POST", PATH, Answer(status, said))
    with pytest.raises(ConnectionError) as caught:
        await simulate(client, script=SCRIPT)
    text = f"Failed to submit simulation: {status} {said.decode()}"
    assert caught.value.args[0] == text
    assert isinstance(caught.value, OdysseyError)


async def test_O95_a_finished_job_has_its_streams(service: Service, client: Broker) -> None:
    full = {
        "stream_id": "s-1",
        "video_url": "https://h/v",
        "events_url": "https://h/e",
        "thumbnail_url": "https://h/t",
        "preview_url": "https://h/p",
        "frame_count": 48,
        "duration_seconds": 2.0,
        "script_index": 1,
    }
    body = {**JOB, "status": "completed", "streams": [{"stream_id": "s-0"}, full]}
    service.on("GET", f"{PATH}/j-1", Answer(200, body))
    found = await get_simulate_status(client, "j-1")
    assert found.status is SimulationJobStatus.COMPLETED
    assert found.streams == [SimulationStream("s-0"), SimulationStream(**full)]  # type: ignore[arg-type]
    assert found.streams[0].script_index == 0


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (404, ValueError, "Simulation job not found"),
        (403, ValueError, "Not authorized to access this simulation job"),
        (401, ConnectionError, "Failed to get simulation status: 401 Unauthorized"),
        (500, ConnectionError, "Failed to get simulation status: 500 Internal Server Error"),
    ],
)
async def test_O95_failures_of_the_status(
    service: Service, client: Broker, status: int, kind: type[Exception], text: str
) -> None:
    service.on("GET", f"{PATH}/j-1", Answer(status))
    with pytest.raises(kind) as caught:
        await get_simulate_status(client, "j-1")
    assert caught.value.args[0] == text


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({}, ""),
        ({"status": "failed"}, "?status=failed"),
        ({"status": SimulationJobStatus.FAILED}, "?status=failed"),
        ({"active": True}, "?active=true"),
        ({"active": False, "limit": 1, "offset": 0}, "?active=false&limit=1&offset=0"),
        ({"limit": 100}, "?limit=100"),
    ],
)
async def test_O96_the_list_and_its_query(
    service: Service, client: Broker, given: dict[str, Any], query: str
) -> None:
    failed = {**JOB, "status": "failed", "completed_at": "x", "error_message": "y"}
    page = {"jobs": [JOB, failed], "total": 2, "limit": 20, "offset": 0}
    service.on("GET", PATH, Answer(200, page))
    found = await list_simulations(client, **given)
    assert service.last().path == PATH + query
    assert found == SimulationJobsList(
        [
            SimulationJobInfo("j-1", SimulationJobStatus.PENDING, "normal", "2026-04-01"),
            SimulationJobInfo("j-1", SimulationJobStatus.FAILED, "normal", "2026-04-01", "x", "y"),
        ],
        2,
        20,
        0,
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"limit": 0}, "^limit must be between 1 and 100$"),
        ({"limit": 101}, "^limit must be between 1 and 100$"),
        ({"offset": -1}, "^offset must be non-negative$"),
        ({"status": "lost"}, "lost"),
    ],
)
async def test_O96_what_can_not_be_asked_for(
    service: Service, client: Broker, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        await list_simulations(client, **given)
    assert not service.asked


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, ValueError, "Not authorized"),
        (500, ConnectionError, "Failed to list simulations: 500 Internal Server Error"),
    ],
)
async def test_O96_failures_of_the_list(
    service: Service, client: Broker, status: int, kind: type[Exception], text: str
) -> None:
    service.on("GET", PATH, Answer(status))
    with pytest.raises(kind) as caught:
        await list_simulations(client)
    assert caught.value.args[0] == text


@pytest.mark.parametrize("field", ["jobs", "total", "limit", "offset"])
async def test_O96_a_list_without_its_fields_is_a_key_error(
    service: Service, client: Broker, field: str
) -> None:
    page: dict[str, Any] = {"jobs": [], "total": 0, "limit": 20, "offset": 0}
    del page[field]
    service.on("GET", PATH, Answer(200, page))
    with pytest.raises(KeyError, match=field):
        await list_simulations(client)


async def test_O97_a_cancelled_job(service: Service, client: Broker) -> None:
    short = {"job_id": "j-1", "status": "cancelled"}
    service.on("DELETE", f"{PATH}/j-1", Answer(200, short))
    found = await cancel_simulation(client, "j-1")
    assert found == SimulationJobInfo("j-1", SimulationJobStatus.CANCELLED, "normal", "")
    service.on(
        "DELETE", f"{PATH}/j-1", Answer(200, {**short, "priority": "high", "created_at": "x"})
    )
    found = await cancel_simulation(client, "j-1")
    assert (found.priority, found.created_at) == ("high", "x")


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (Answer(404), ValueError, "Simulation job not found"),
        (Answer(403), ValueError, "Not authorized to cancel this simulation job"),
        (Answer(400, {"detail": "It is over"}), ValueError, "It is over"),
        (Answer(400, {"detail": {}}), ValueError, "Cannot cancel this simulation job"),
        (Answer(400), ValueError, "Cannot cancel this simulation job"),
        (
            Answer(500),
            ConnectionError,
            "Failed to cancel simulation: 500 Internal Server Error",
        ),
    ],
)
async def test_O97_failures_of_cancelling(
    service: Service, client: Broker, answer: Answer, kind: type[Exception], text: str
) -> None:
    service.on("DELETE", f"{PATH}/j-1", answer)
    with pytest.raises(kind) as caught:
        await cancel_simulation(client, "j-1")
    assert caught.value.args[0] == text


def test_O98_the_six_states() -> None:
    active = {"pending", "dispatched", "processing"}
    assert {each.value for each in SimulationJobStatus} == active | {
        "completed",
        "failed",
        "cancelled",
    }
    assert {each.value for each in SimulationJobStatus if each.is_active} == active


async def test_O98_an_unknown_state_is_a_value_error(service: Service, client: Broker) -> None:
    service.on("GET", f"{PATH}/j-1", Answer(200, {**JOB, "status": "lost"}))
    with pytest.raises(ValueError, match="lost"):
        await get_simulate_status(client, "j-1")


async def test_D14_a_job_id_is_one_part_of_the_path(service: Service, client: Broker) -> None:
    service.on("DELETE", f"{PATH}/a%2Fb", Answer(200, {**JOB, "status": "cancelled"}))
    await cancel_simulation(client, "a/b")
    assert service.last().path == f"{PATH}/a%2Fb"
