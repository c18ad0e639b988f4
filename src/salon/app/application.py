"""The ASGI application: routes behind the gate, and a house that opens and closes with it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI
from fastapi.exceptions import WebSocketRequestValidationError
from starlette.middleware.cors import CORSMiddleware

from salon.app.bodies import Bodies, BodyLimits
from salon.app.credentials import AttemptLimiter, Credentials
from salon.app.house import House
from salon.app.middleware import LastResort, SecurityMiddleware, refuse_query
from salon.app.openapi import describe
from salon.app.problems import install
from salon.app.recordings import Recordings
from salon.app.routes.calls import calls
from salon.app.routes.effects import effects
from salon.app.routes.events import events
from salon.app.routes.identities import identities
from salon.app.routes.info import info
from salon.app.routes.members import channels, participants
from salon.app.routes.operations import operations
from salon.app.routes.pages import WebFiles, pages
from salon.app.routes.records import records
from salon.app.routes.rooms import rooms
from salon.app.routes.schema import schema
from salon.app.routes.sockets import sockets
from salon.app.routes.turns import turns
from salon.app.routes.webhooks import webhooks
from salon.app.security import Gate, guarded
from salon.app.settings import Settings
from salon.app.tls import local_names
from salon.app.tokens import RoomTokens, token_secret
from salon.app.version import version
from salon.base.policy import lower_all
from salon.transport.sockets import Acceptor

_log = logging.getLogger("salon.app")


def create_app(
    settings: Settings,
    *,
    build: Callable[[Settings], House] | None = None,
    files: WebFiles | None = None,
) -> FastAPI:
    """The application. `build` makes the house (default: `salon.app.compose.compose`).

    Raises `ConfigurationError`. In ``app.state`` stand `house`, `gate` and `acceptor`; the latter
    is what media sockets outside the framework are judged by.
    """
    files = files or WebFiles()
    house = (build or _compose)(settings)
    gate = make_gate(settings, files)
    acceptor = make_acceptor(house, gate)
    app = FastAPI(
        title="Salon",
        version=version(),
        summary="Live conversation between people and AI agents.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    install(app)
    app.add_exception_handler(WebSocketRequestValidationError, refuse_query)
    describe(app, gate.open_paths)
    app.state.house, app.state.gate, app.state.acceptor = house, gate, acceptor
    app.include_router(operations(house))
    app.include_router(info(house, gate, AttemptLimiter()))
    recordings = Recordings(settings.recordings)
    for router in (
        calls(house),
        rooms(house, recordings),
        records(recordings),
        turns(),
        events(house),
        channels(),
        participants(),
        effects(),
        identities(),
        webhooks(house, settings.public_url),
        schema(),
    ):
        app.include_router(router)
    app.include_router(sockets(house))
    app.include_router(pages(files))
    app.add_middleware(LastResort)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(settings.allowed_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type", "Last-Event-ID"],
        )
    limits = BodyLimits.of(settings.max_body_bytes, settings.max_connections)
    bodies = Bodies(limits, house.metrics.body_refused)
    house.metrics.watch_bodies(lambda: bodies.awaited)
    app.add_middleware(
        SecurityMiddleware,
        gate=gate,
        bodies=bodies,
        max_sockets=settings.max_connections,
    )
    return app


def _compose(settings: Settings) -> House:
    from salon.app.compose import compose

    return compose(settings)


def make_gate(settings: Settings, files: WebFiles) -> Gate:
    """The gate for `settings`. An exposed server also answers to this machine's own names."""
    policy = settings.browser_policy
    if settings.exposed:
        policy = replace(policy, hosts=policy.hosts | lower_all(local_names(settings.host)))
    credentials = Credentials(
        settings.api_key,
        organization_keys=dict(settings.organization_keys),
        tokens=RoomTokens(token_secret(settings.api_key, settings.data_dir)),
    )
    return Gate(policy, credentials, pages=files.paths)


def make_acceptor(house: House, gate: Gate) -> Acceptor:
    """The gateway behind the gate, for media sockets that bypass the framework."""
    return guarded(gate, house.accept, lambda refusal: house.metrics.call_refused(refusal.status))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    house: House = app.state.house
    for warning in house.settings.warnings:
        _log.warning("%s", warning)
    await house.open()
    try:
        yield
    finally:
        if not house.draining:
            await house.drain(house.settings.shutdown_timeout)
        await house.close()
