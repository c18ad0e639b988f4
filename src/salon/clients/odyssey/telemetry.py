"""Events about the client itself, for whoever runs the service (O103-O105). Off unless asked for:
they carry the beginning of the key."""

from __future__ import annotations

import platform
from typing import Any, Final

import aiohttp

from salon.base import TaskScope
from salon.clients.odyssey.config import COMPATIBLE_VERSION, ClientConfig
from salon.clients.odyssey.errors import (
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyStreamError,
    OdysseyUsageError,
    plain_text,
)
from salon.clients.odyssey.logs import Log
from salon.clients.odyssey.types import ConnectionStatus

POST_S: Final = 5.0
"""Longest that one event may take, seconds (O103)."""
MAX_IN_FLIGHT: Final = 3
"""Events under way at once; more are dropped and counted (O103)."""
MAX_MESSAGE: Final = 2000
"""Characters of an error's message (O104)."""
_PREFIX: Final = 8
"""Characters of the key that are sent (O104)."""
_GRACE_S: Final = 1.0

_TYPES: Final = (
    (OdysseyAuthError, "auth"),
    (OdysseyConnectionError, "connection"),
    (OdysseyStreamError, "stream"),
    (OdysseyUsageError, "usage"),
)


class Telemetry:
    """Sends events without ever being waited for, and never raises (O103). Call it in the event
    loop. `sent`, `failed` and `dropped` count events."""

    def __init__(self, config: ClientConfig, *, enabled: bool = False) -> None:
        self.enabled = enabled
        self.sent = 0
        self.failed = 0
        self.dropped = 0
        self._config = config
        self._log = Log("telemetry", "Telemetry", debug=config.debugging)
        self._scope: TaskScope | None = None

    def connecting(self, session_id: str | None = None) -> None:
        """A connection is being made."""
        self._post({"event": "session_connecting"}, session_id)

    def connected(self, session_id: str | None, connect_duration_ms: int) -> None:
        """It is there."""
        event = {"event": "session_connected", "connect_duration_ms": connect_duration_ms}
        self._post(event, session_id)

    def disconnected(self, session_id: str | None = None) -> None:
        """The client let go of it, or of none (O105)."""
        self._post({"event": "session_disconnected"}, session_id)

    def failure(
        self, error: BaseException, status: ConnectionStatus, session_id: str | None = None
    ) -> None:
        """A connection attempt ended in FAILED."""
        event: dict[str, Any] = {
            "error_type": next(
                (name for kind, name in _TYPES if isinstance(error, kind)), "unknown"
            ),
            "error_message": plain_text(error)[:MAX_MESSAGE],
            "connection_status": status.value,
        }
        if isinstance(error, OdysseyUsageError):
            event["error_code"] = error.code
        self._post(event, session_id)

    async def close(self, grace_s: float = _GRACE_S) -> None:
        """Give what is under way `grace_s` seconds, then cancel it. Idempotent; events after it are
        sent again."""
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.drain(grace_s)
            await scope.close()

    def _post(self, event: dict[str, Any], session_id: str | None) -> None:
        if not self.enabled:
            return
        if self._scope is None:
            self._scope = TaskScope("odyssey-telemetry")
        if len(self._scope) >= MAX_IN_FLIGHT:
            self.dropped += 1
            return
        self._scope.spawn(self._send(self._common(session_id) | event), name="event")

    def _common(self, session_id: str | None) -> dict[str, Any]:
        made: dict[str, Any] = {
            "sdk_version": COMPATIBLE_VERSION,
            "sdk_platform": "python",
            "platform_info": (
                f"{platform.system()} {platform.release()} / Python {platform.python_version()}"
            ),
        }
        if session_id:
            made["session_id"] = session_id
        if len(self._config.api_key) >= _PREFIX:
            made["api_key_prefix"] = self._config.api_key[:_PREFIX]
        return made

    async def _send(self, event: dict[str, Any]) -> None:
        timeout = aiohttp.ClientTimeout(total=POST_S)
        url = f"{self._config.base_url}/telemetry"
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.post(url, json={"events": [event]}) as reply,
            ):
                self.sent += 1
                self._log.debug("event taken with status %s", reply.status)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self.failed += 1
            self._log.debug("event not sent: %s", plain_text(error))
