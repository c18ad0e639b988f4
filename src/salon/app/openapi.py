"""The description of the interface: who may call what is added to what the routes say."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI

_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The API key, the key of an organization, or a room token.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_TAGS = [
    {"name": "rooms", "description": "Conversations and the tokens that open one."},
    {"name": "events", "description": "What was said in a room, and what is being said."},
    {"name": "channels", "description": "What moves words in and out of a room."},
    {"name": "participants", "description": "Who is in a room."},
    {"name": "identities", "description": "Who people are across rooms."},
    {"name": "tasks", "description": "What hooks and agents left in a room."},
    {"name": "records", "description": "Transcripts, recordings, and how fast answers came."},
    {"name": "webhooks", "description": "What providers post; signed, without a key."},
    {"name": "operations", "description": "For whoever runs the server."},
    {"name": "page", "description": "What the page needs."},
    {"name": "schema", "description": "The call protocol."},
]


def describe(app: FastAPI, open_paths: Collection[str]) -> None:
    """Let `app` say which credentials each of its paths takes."""
    plain = app.openapi
    app.openapi_tags = _TAGS

    def openapi() -> dict[str, Any]:
        made = plain()
        if "security" not in made:
            made.setdefault("components", {})["securitySchemes"] = _SCHEMES
            made["security"] = [{"bearer": []}, {"key": []}]
            for path, operations in made["paths"].items():
                if path in open_paths or path.startswith("/webhooks/"):
                    for operation in operations.values():
                        operation["security"] = []
        return made

    app.openapi = openapi  # type: ignore[method-assign]
