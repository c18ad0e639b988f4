"""What the page asks first, and the login."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from salon.app.credentials import COOKIE, COOKIE_SECONDS, AttemptLimiter
from salon.app.house import House
from salon.app.routes.common import problems
from salon.app.security import Gate
from salon.app.version import version


class LoginRequest(BaseModel):
    """The API key, given once by the page."""

    key: str = Field(max_length=1024)


class Auth(BaseModel):
    """Whether the caller is let in: ``none`` (no key is set), ``required`` or ``ok``."""

    auth: Literal["none", "required", "ok"]


class About(Auth):
    """What a server is; without a credential name and version only."""

    name: str
    version: str
    agent: dict[str, Any] | None = None
    engines: dict[str, dict[str, Any]] | None = None
    limits: dict[str, int] | None = None


def info(house: House, gate: Gate, attempts: AttemptLimiter) -> APIRouter:
    """``/api/info``, ``/api/login`` and ``/api/logout``."""
    router = APIRouter(prefix="/api", tags=["page"])

    def state(request: Request) -> Literal["none", "required", "ok"]:
        if not gate.credentials.required:
            return "none"
        return "ok" if request.state.principal is not None else "required"

    @router.get(
        "/info",
        summary="What this server is",
        response_model=About,
        response_model_exclude_unset=True,
        responses=problems(),
    )
    async def about(request: Request) -> dict[str, Any]:
        """What this server is, who answers, and which engines it has."""
        auth = state(request)
        answer: dict[str, Any] = {"name": "Salon", "version": version(), "auth": auth}
        if auth == "required":
            return answer
        agent = house.describe_agent()
        engines = house.describe_engines()
        return answer | {
            "agent": asdict(agent),
            "engines": {kind: asdict(engine) for kind, engine in engines.items()},
            "limits": {"maxCalls": house.gateway.max_calls},
        }

    @router.post("/login", summary="Log in", response_model=Auth, responses=problems(422, 429))
    async def login(body: LoginRequest, request: Request, response: Response) -> dict[str, str]:
        """Exchange the API key for a cookie; after five wrong keys in a minute 429."""
        address = request.client.host if request.client else ""
        wait = attempts.wait(address)
        if wait:
            raise HTTPException(
                429, "too many wrong keys, wait a minute", {"Retry-After": str(wait)}
            )
        if gate.credentials.required:
            if not gate.credentials.check_key(body.key):
                attempts.failed(address)
                raise HTTPException(401, "this is not the API key")
            attempts.succeeded(address)
            response.set_cookie(
                COOKIE,
                gate.credentials.make_cookie(),
                max_age=COOKIE_SECONDS,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
        return {"auth": "ok" if gate.credentials.required else "none"}

    @router.post("/logout", summary="Log out", response_model=Auth, responses=problems())
    async def logout(request: Request, response: Response) -> dict[str, str]:
        """Forget the login in this browser."""
        response.delete_cookie(
            COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return {"auth": "required" if gate.credentials.required else "none"}

    return router
