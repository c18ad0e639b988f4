"""Gathers the animation of one request (A109)."""

from __future__ import annotations

import asyncio
from typing import Final

from salon.clients.avatarkit.errors import AvatarSDKError
from salon.clients.avatarkit.failures import connection_closed
from salon.clients.avatarkit.wire import Undecodable, decode

MAX_BYTES: Final = 64 * 1024 * 1024
"""About an hour and a half of keyframes."""


class AnimationCollector:
    """The callbacks of a session that wants the whole animation of a request.

    Pass `transport_frame`, `on_error` and `on_close` to the session, `reset` before each request,
    `wait` after its sound was sent. More than `max_bytes` of animation ends it with an error.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self.frames: list[bytes] = []
        """Whole serialized messages, in order (A51)."""
        self.size = 0
        """Bytes in `frames`."""
        self.last = False
        """Whether the animation is complete."""
        self.error: Exception | None = None
        """The first failure of the session since `reset`."""
        self.closed = False
        """Whether the session is over."""
        self.discarded = 0
        """Messages of other requests than the expected one (A60)."""
        self._expected: str | None = None
        self._done = asyncio.Event()

    def expect(self, req_id: str | None) -> None:
        """Take messages of this request only, from now on; None = of every one."""
        self._expected = req_id

    def transport_frame(self, data: bytes, last: bool) -> None:
        """One message of the session."""
        if not self._is_expected(data):
            self.discarded += 1
            return
        if self.last:
            return
        if self.size + len(data) > self._max_bytes:
            self.on_error(BufferError(f"more than {self._max_bytes} bytes of animation"))
            return
        self.frames.append(data)
        self.size += len(data)
        if last:
            self.last = True
            self._done.set()

    def on_error(self, error: Exception) -> None:
        """A failure of the session: `wait` raises it."""
        if self.error is None:
            self.error = error
        self._done.set()

    def on_close(self) -> None:
        """The session is over: what is not complete will not be."""
        self.closed = True
        self._done.set()

    def reset(self) -> None:
        """Forget all but whether the session is over."""
        self.frames = []
        self.size = 0
        self.last = False
        self.error = None
        self.discarded = 0
        self._expected = None
        self._done.clear()

    async def wait(self, timeout: float | None = None) -> None:
        """Return when the animation is complete. `TimeoutError` after so many seconds; the
        session's error if it had one; `AvatarSDKError` if it was closed before the end."""
        if not (self.last or self.closed):
            async with asyncio.timeout(timeout):
                await self._done.wait()
        if self.last:
            return
        if self.error is not None:
            raise self.error
        raise self._closed_early()

    def _closed_early(self) -> AvatarSDKError:
        return connection_closed(None, None, req_id=self._expected)

    def _is_expected(self, data: bytes) -> bool:
        if self._expected is None:
            return True
        try:
            return decode(data).server_response_animation.req_id == self._expected
        except Undecodable:
            return False
