"""Simulations: scripts rendered offline (O92-O98). A key is all they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from salon.clients.odyssey.broker import Broker, path_part
from salon.clients.odyssey.errors import ApiKeyError, OdysseyError, RequestError, UnreachableError
from salon.clients.odyssey.fields import mapping
from salon.clients.odyssey.images import image_data_url
from salon.clients.odyssey.replies import Reply
from salon.clients.odyssey.types import (
    SimulationJobDetail,
    SimulationJobInfo,
    SimulationJobsList,
    SimulationJobStatus,
)

Script = Sequence[Mapping[str, Any]]
"""Entries in order of time: ``{"timestamp_ms": int}`` and one of ``{"start": {"prompt": str,
"image": ...}}``, ``{"interact": {"prompt": str}}`` and ``{"end": {}}`` (O93)."""

MAX_LIMIT: Final = 100
"""Simulations on one page (O96)."""
_PATH: Final = "/simulation-jobs"


async def simulate(
    broker: Broker,
    *,
    script: Script | None = None,
    scripts: Sequence[Script] | None = None,
    script_url: str | None = None,
    portrait: bool = True,
    bypass_prompt_expansion: bool | None = None,
) -> SimulationJobDetail:
    """Submit one script, several, or the URL of one (O92-O94). Images in them may be whatever
    `start_stream` takes. `ValueError` for a wrong argument, `ConnectionError` if the service
    refuses, with what it says."""
    given = {"script": script, "scripts": scripts, "script_url": script_url}
    source = {name: value for name, value in given.items() if value}
    if len(source) != 1:
        raise RequestError("Exactly one of script, scripts, or script_url must be provided")
    if script:
        source = {"script": await _prepared(script, portrait=portrait)}
    elif scripts:
        source = {"scripts": [await _prepared(one, portrait=portrait) for one in scripts]}
    body: dict[str, Any] = {"portrait": portrait, "output_video": True, **source}
    if bypass_prompt_expansion is not None:
        body["bypass_vlm_expansion"] = bypass_prompt_expansion
    reply = await broker.request("POST", _PATH, json=body)
    if not reply.ok:
        text = f"Failed to submit simulation: {reply.status} {reply.text}"
        raise UnreachableError(text.rstrip(), status=reply.status)
    return SimulationJobDetail.from_dict(reply.body)


async def get_simulate_status(broker: Broker, job_id: str) -> SimulationJobDetail:
    """A simulation and the streams it became (O95). `ValueError` if there is none of that id or it
    is somebody else's, `ConnectionError` for any other failure."""
    reply = await broker.request("GET", f"{_PATH}/{path_part(job_id, 'job_id')}")
    if not reply.ok:
        raise _job_refusal(reply, "access", "Failed to get simulation status")
    return SimulationJobDetail.from_dict(reply.body)


async def list_simulations(
    broker: Broker,
    *,
    status: SimulationJobStatus | str | None = None,
    active: bool | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> SimulationJobsList:
    """A page of the caller's simulations (O96); what is None is left to the service. `ValueError`
    for a limit outside 1 to 100, a negative offset, an unknown status or a key that does not allow
    it, `ConnectionError` for any other failure."""
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise RequestError(f"limit must be between 1 and {MAX_LIMIT}")
    if offset is not None and offset < 0:
        raise RequestError("offset must be non-negative")
    params: dict[str, str] = {}
    if status is not None:
        params["status"] = SimulationJobStatus(status).value
    if active is not None:
        params["active"] = "true" if active else "false"
    if limit is not None:
        params["limit"] = str(limit)
    if offset is not None:
        params["offset"] = str(offset)
    reply = await broker.request("GET", _PATH, params=params)
    if reply.status == 401:
        raise ApiKeyError("Not authorized", status=401)
    if not reply.ok:
        raise UnreachableError(f"Failed to list simulations: {reply.line}", status=reply.status)
    return SimulationJobsList.from_dict(reply.body)


async def cancel_simulation(broker: Broker, job_id: str) -> SimulationJobInfo:
    """Cancel a simulation that has not begun to render (O97). `ValueError` if there is none of that
    id, it is somebody else's or it can't be cancelled, `ConnectionError` for any other failure."""
    reply = await broker.request("DELETE", f"{_PATH}/{path_part(job_id, 'job_id')}")
    if reply.status == 400:
        text = reply.detail_text or "Cannot cancel this simulation job"
        raise RequestError(text, status=400)
    if not reply.ok:
        raise _job_refusal(reply, "cancel", "Failed to cancel simulation")
    found = mapping(reply.body, "a simulation")
    return SimulationJobInfo.from_dict({"priority": "normal", "created_at": "", **found})


async def _prepared(script: Script, *, portrait: bool) -> list[dict[str, Any]]:
    """The entries as they are sent. A start needs a prompt; one with an image keeps only these two
    (O93). Everything else is for the service to check."""
    made: list[dict[str, Any]] = []
    for index, entry in enumerate(script):
        if not isinstance(entry, Mapping):
            raise RequestError(f"Script entry {index} is not an object but {type(entry).__name__}")
        sent = dict(entry)
        if "start" in sent:
            start = sent["start"]
            if not isinstance(start, Mapping) or "prompt" not in start:
                text = f"Script entry {index}: 'start' must include a 'prompt' field"
                raise RequestError(text)
            if start.get("image") is not None:
                image = await image_data_url(start["image"], portrait=portrait)
                sent["start"] = {"prompt": start["prompt"], "image": image}
        made.append(sent)
    return made


def _job_refusal(reply: Reply, verb: str, what: str) -> OdysseyError:
    if reply.status == 404:
        return RequestError("Simulation job not found", status=404)
    if reply.status == 403:
        return ApiKeyError(f"Not authorized to {verb} this simulation job", status=403)
    return UnreachableError(f"{what}: {reply.line}", status=reply.status)
