"""The call protocol as JSON Schema, for people who write clients."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from salon.app.routes.common import problems
from salon.gateway.schema import call_protocol_schema


def schema() -> APIRouter:
    """``/schema/call.json``."""
    router = APIRouter(tags=["schema"])

    @router.get("/schema/call.json", summary="The call protocol", responses=problems())
    async def call() -> dict[str, Any]:
        """Every command and event of the call protocol."""
        return call_protocol_schema()

    return router
