"""Health, readiness, metrics, and the calls under way (G200, G201)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from salon.app.house import House
from salon.app.metrics import CONTENT_TYPE
from salon.app.routes.common import problems
from salon.base import redact
from salon.transport.packets import IceServer


def ice_server(server: IceServer) -> dict[str, Any]:
    """One server in the browser's shape; what is not set is left out, as browsers read null as a
    text."""
    shown: dict[str, Any] = {"urls": list(server.urls)}
    if server.username is not None:
        shown["username"] = server.username
    if server.credential is not None:
        shown |= {"credential": server.credential, "credential_type": "password"}
    return shown


class Health(BaseModel):
    """Whether the process lives; `status` is ``ok`` or ``draining``."""

    status: str
    calls: int
    max_calls: int


class Readiness(BaseModel):
    """``ready``, ``full``, ``starting`` or ``draining``."""

    status: str
    free_calls: int | None = None


class Calls(BaseModel):
    """The calls under way."""

    active_calls: list[dict[str, Any]]


class Ended(BaseModel):
    """``killed`` or ``not_found``."""

    status: str
    id: str


def operations(house: House) -> APIRouter:
    """The routes for whoever runs the server."""
    router = APIRouter(tags=["operations"])

    @router.get("/health", summary="Is it alive?", response_model=Health, responses=problems())
    async def health() -> dict[str, Any]:
        """Whether the process lives, with its used and allowed calls."""
        status = "draining" if house.draining else "ok"
        return {
            "status": status,
            "calls": house.gateway.calls,
            "max_calls": house.gateway.max_calls,
        }

    @router.get(
        "/ready",
        summary="Would a call be served?",
        response_model=Readiness,
        responses=problems() | {503: {"model": Readiness, "description": "Not now"}},
    )
    async def ready() -> JSONResponse:
        """Whether new calls would be served: 200 or 503."""
        if not house.ready:
            return JSONResponse({"status": "draining" if house.draining else "starting"}, 503)
        free = house.gateway.max_calls - house.gateway.calls
        return JSONResponse({"status": "ready" if free > 0 else "full", "free_calls": free})

    @router.get(
        "/metrics",
        summary="Metrics",
        response_class=Response,
        responses=problems() | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Metrics in the text format of Prometheus."""
        return Response(house.metrics.render(), media_type=CONTENT_TYPE)

    @router.get("/list", summary="List calls", response_model=Calls, responses=problems())
    @router.get("/call/lists", include_in_schema=False)
    async def list_calls() -> dict[str, Any]:
        """The calls under way; secrets in their options are masked (G200)."""
        return {"active_calls": redact(house.gateway.list_calls())}

    @router.get("/iceservers", summary="STUN and TURN servers", responses=problems())
    async def ice_servers() -> list[dict[str, Any]]:
        """STUN and TURN servers for the browser's ``RTCPeerConnection`` (G149, G205)."""
        return [ice_server(server) for server in house.settings.ice_servers]

    async def kill(session_id: str) -> JSONResponse:
        """End a call (G201)."""
        if await house.gateway.kill(session_id):
            return JSONResponse({"status": "killed", "id": session_id})
        return JSONResponse({"status": "not_found", "id": session_id}, 404)

    options: dict[str, Any] = {
        "summary": "End a call",
        "response_model": Ended,
        "responses": problems(422) | {404: {"model": Ended, "description": "No such call"}},
    }
    # GET is what G201 names; the gate treats it as the state change it is
    router.add_api_route(
        "/kill/{session_id:path}", kill, methods=["GET"], operation_id="kill", **options
    )
    for path in ("/kill/{session_id:path}", "/call/kill/{session_id:path}"):
        router.add_api_route(path, kill, methods=["POST"], include_in_schema=False)
    return router
