"""The JSON texts of sections 4 and 6: making ours, reading theirs.

Reading is forgiving: a missing field, or one of another type, takes the default of O52.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

STREAM_ERROR: Final = "interactive_stream_error"
START: Final = "interactive_stream_start"

KEEPALIVE: Final = json.dumps({"type": "keepalive"})
CLIENT_DISCONNECTING: Final = json.dumps({"type": "client_disconnecting"})
END: Final = json.dumps({"type": "interactive_stream_end"})

_ERROR_TEXTS: Final[Mapping[str, str]] = {
    "streamer_not_available": ("Streamer not available. Please ensure the streamer is running."),
    "streamer_disconnected": "Streamer has disconnected.",
    "unknown": "An unknown error occurred.",
    "duration_limit_reached": "Connection exceeded maximum allowed duration.",
}
"""O30"""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What `start_stream` asks for. `image` is a data URL (O69); `bypass` goes out only if it is
    not None (O49)."""

    prompt: str
    portrait: bool = True
    image: str | None = None
    bypass: bool | None = None
    broadcast: bool = False

    def text(self) -> str:
        """As it goes over the wire."""
        message: dict[str, Any] = {
            "type": START,
            "prompt": self.prompt,
            "portrait": self.portrait,
            "input_image_base64": self.image,
            "broadcast": self.broadcast,
        }
        if self.bypass is not None:
            message["bypass_vlm_expansion"] = self.bypass
        return json.dumps(message)


def update(prompt: str) -> str:
    """The message of `interact`."""
    return json.dumps({"type": "update", "prompt": prompt})


def answer(sdp: str) -> str:
    """The answer to the streamer's offer."""
    return json.dumps({"type": "answer", "sdp": sdp})


def read(text: str | bytes) -> dict[str, Any]:
    """A received message. `ValueError` if it is no JSON object (the decoder's own for bad JSON)."""
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError(f"a message must be a JSON object, not {type(message).__name__}")
    return message


def text_of(message: Mapping[str, Any], key: str, default: str = "") -> str:
    """A field that is a string."""
    value = message.get(key)
    return value if isinstance(value, str) else default


def optional_text(message: Mapping[str, Any], key: str) -> str | None:
    """A field that is a string, or None where it is absent, empty or something else."""
    value = message.get(key)
    return value if isinstance(value, str) and value else None


def error_reason(message: Mapping[str, Any]) -> str:
    """The reason of a signaling `error`."""
    return optional_text(message, "reason") or "unknown"


def error_text(reason: str) -> str:
    """What is said of it (O30)."""
    return _ERROR_TEXTS.get(reason) or f"Server error: {reason}"
