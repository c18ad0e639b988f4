"""Floor 8: the composition root. Settings, the web application, credentials, health, metrics.

``salon.app:app`` is the application built from the environment, made when it is first asked for,
so that ``uvicorn salon.app:app`` works and importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.app.settings import Settings, load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    app: FastAPI

__all__ = ["Settings", "app", "create_app", "load_settings"]


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for `settings` (default: from the environment and `.env`)."""
    from salon.app.application import create_app as create

    return create(load_settings() if settings is None else settings)


def __getattr__(name: str) -> object:
    if name == "app":
        made = create_app()
        globals()["app"] = made
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
