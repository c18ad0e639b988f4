"""Live calls over HTTP: commands, events, speech made ahead, the list of records (G202-G210)."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from pydantic_core import from_json

from salon.app.api_models import Problem
from salon.app.call_desk import CallDesk
from salon.app.call_stream import CallStream
from salon.app.house import House
from salon.app.problems import problem
from salon.app.routes.common import problems
from salon.app.routes.operations import Ended
from salon.base import ConfigurationError, SalonError
from salon.gateway.commands import Command, TtsCommand, parse_command
from salon.gateway.errors import CommandError

_log = logging.getLogger("salon.app")


class Sent(BaseModel):
    """`status` is ``sent``: queued, not carried out yet."""

    status: str
    id: str


class Precached(BaseModel):
    """``cached`` or ``exists``, then `bytes` is 0; `key` is the same as `cacheKey`."""

    status: str
    cacheKey: str  # noqa: N815 - the name on the wire
    key: str
    bytes: int


class NotCached(BaseModel):
    """Why nothing was cached; `status` is ``error``."""

    status: str
    error: str


class CallRow(BaseModel):
    """A call of which there is an events file."""

    id: str
    date: str
    duration: str
    status: str


_COMMAND_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def calls(house: House) -> APIRouter:
    """``/command``, ``/events``, ``/precache`` and ``/api/records``; for keys of the server only.

    Ids of calls are taken as they are, also with slashes in them."""
    router = APIRouter(tags=["operations"])
    _add_command(router, house)
    _add_events(router, house)
    _add_precache(router, house)

    @router.get(
        "/api/records",
        summary="List calls by their events files",
        response_model=list[CallRow],
        responses=problems(),
    )
    async def call_records() -> list[dict[str, str]]:
        """The calls whose events were written down, newest first (G210)."""
        return [] if house.desk is None else await house.desk.records()

    return router


def _add_command(router: APIRouter, house: House) -> None:
    @router.post(
        "/command/{session_id:path}",
        summary="Send a command to a call",
        response_model=Sent,
        responses=problems(400, 422, 429)
        | {404: {"model": Ended, "description": "No such call"}}
        | {415: {"model": Problem, "description": "The body is not JSON"}},
        openapi_extra=_COMMAND_BODY,
    )
    async def command(session_id: str, request: Request) -> Response:
        """Queue one command as if the call's client had sent it (G202). What it leads to is told
        as events."""
        body = await request.body()
        refused = _not_json(request)
        if refused is not None:
            return refused
        try:
            parsed: Command = parse_command(body)
        except CommandError as error:
            return problem(error.status, str(error), error.code)
        taken = "not_found"
        if house.desk is not None:
            taken = house.desk.submit(session_id, parsed, len(body))
        if taken == "full":
            return problem(429, "too many commands wait, this one was not taken")
        status = 200 if taken == "sent" else 404
        return JSONResponse({"status": taken, "id": session_id}, status)


def _add_events(router: APIRouter, house: House) -> None:
    @router.get(
        "/events/{session_id:path}",
        summary="Follow a call",
        response_class=Response,
        responses=problems(422, 503)
        | {
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            404: {
                "content": {"text/plain": {"schema": {"type": "string"}}},
                "description": "No such call",
            },
        },
    )
    async def call_events(
        session_id: str,
        binary: bool = Query(True, description="Also the sound the caller is sent"),
    ) -> Response:
        """Everything the client of a call is told (`event`) and every command (`command`), from
        now until the call ends (G203); secrets are masked."""
        desk: CallDesk | None = house.desk
        if desk is None or not desk.is_live(session_id):
            return PlainTextResponse("call not found", 404)
        reader, leave = desk.readers.add(session_id, sound=binary)
        return CallStream(reader, leave)


def _add_precache(router: APIRouter, house: House) -> None:
    @router.post(
        "/precache",
        summary="Make speech ahead",
        response_model=Precached,
        responses=problems(422)
        | {
            400: {"model": NotCached, "description": "Not a command that can be cached"},
            415: {"model": Problem, "description": "The body is not JSON"},
            500: {"model": NotCached, "description": "It can't be made"},
        },
        openapi_extra=_COMMAND_BODY,
    )
    async def precache(request: Request) -> Response:
        """Synthesise a `tts` command into the cache, so that calls need not wait for it (G204,
        G262)."""
        body = await request.body()
        refused = _not_json(request)
        if refused is not None:
            return refused
        try:
            command = _speech(body)
            if house.desk is None:
                return _not_cached(500, "speech is not cached here")
            done = await house.desk.precache(command)
        except CommandError as error:
            return _not_cached(error.status, str(error))
        except ConfigurationError as error:
            return _not_cached(400, str(error))
        except SalonError as error:
            _log.warning("speech was not made ahead: %s", error)
            return _not_cached(500, str(error))
        shown = {"status": done.status, "cacheKey": done.key, "key": done.key, "bytes": done.bytes}
        return JSONResponse(shown)


def _speech(body: bytes) -> TtsCommand:
    """The command of a body that need not name it (G262). Raises `CommandError`."""
    try:
        given = from_json(body, allow_inf_nan=False)
    except (ValueError, TypeError) as error:
        raise CommandError(f"bad JSON: {error}") from None
    if isinstance(given, dict):
        given.setdefault("command", "tts")
    parsed = parse_command(given)
    if not isinstance(parsed, TtsCommand):
        raise CommandError(f"only tts can be cached, not {parsed.command}")
    if parsed.option is None or not parsed.option.provider:
        raise CommandError("option.provider is needed")
    return parsed


def _not_cached(status: int, why: str) -> Response:
    return JSONResponse({"status": "error", "error": why}, status)


def _not_json(request: Request) -> Response | None:
    """The refusal of a body that does not say it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return None
    return problem(415, "send the command as application/json")
