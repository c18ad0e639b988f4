"""The streamer's messages and the calls that wait for them (section 6), once there is a link.

Knows neither the connection nor its states: that is `session`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from salon.clients.odyssey import messages
from salon.clients.odyssey.actions import (
    Action,
    Notify,
    Reject,
    Resolve,
    SendSignal,
    SendStream,
)
from salon.clients.odyssey.errors import (
    OdysseyConnectionError,
    OdysseyStreamError,
    UnreachableError,
    stream_error,
)
from salon.clients.odyssey.pending import MAX_WAITING, CallKind, PendingCalls
from salon.clients.odyssey.types import BroadcastInfo

DIRECT_BYTES: Final = 16_384
"""A start longer than this takes the socket even if the channel could carry it (O48, O50)."""
_ENDING: Final = frozenset({"session_timeout"})
"""Reasons of an error that end the stream, so that nothing of it is answered any more."""


class StreamCore:
    """What is asked of the streamer, and what it says. Calls return their ticket and actions."""

    def __init__(self) -> None:
        self.pending = PendingCalls()
        self.last_applied_prompt: str | None = None
        self.ignored = 0
        """Messages of types nobody knows."""
        self._tickets = 0

    def start(
        self,
        request: messages.StreamRequest,
        now: float,
        *,
        channel_bytes: int | None,
        timeout_s: float | None,
    ) -> tuple[int, list[Action]]:
        """`start_stream`. `channel_bytes` is the longest message `clientToStreamer` takes, None
        while it is not open (O50). `OdysseyStreamError` if too many calls wait."""
        self._admit(CallKind.START)
        text = request.text()
        fits = channel_bytes is not None and len(text) <= min(channel_bytes, DIRECT_BYTES)
        direct = fits and request.image is None
        ticket = self._call(CallKind.START, request.prompt, now, timeout_s)
        # what ends from here on is the stream that begins
        self.pending.forget(CallKind.END)
        return ticket, [SendStream(text) if direct else SendSignal(text)]

    def interact(
        self, prompt: str, now: float, *, channel_bytes: int | None, timeout_s: float | None
    ) -> tuple[int, list[Action]]:
        """`interact`. `UnreachableError`, a `ConnectionError`, if the channel is closed (O51);
        `OdysseyStreamError` for a prompt that is too long for it, or if too many calls wait."""
        self._admit(CallKind.INTERACT)
        text = messages.update(prompt)
        limit = _open(channel_bytes)
        if len(text) > limit:
            raise OdysseyStreamError(
                f"Prompt too long: {len(text)} bytes as a message, the streamer takes {limit}"
            )
        ticket = self._call(CallKind.INTERACT, prompt, now, timeout_s)
        return ticket, [SendStream(text)]

    def end(
        self, now: float, *, channel_bytes: int | None, timeout_s: float | None
    ) -> tuple[int, list[Action]]:
        """`end_stream`; errors as for `interact`."""
        self._admit(CallKind.END)
        _open(channel_bytes)
        return self._call(CallKind.END, "", now, timeout_s), [SendStream(messages.END)]

    def abandon(self, ticket: int, now: float) -> None:
        """Whoever made this call does not wait any longer."""
        self.pending.abandon(ticket, now)

    def withdraw(self, ticket: int) -> None:
        """This call was never sent."""
        self.pending.withdraw(ticket)

    def _admit(self, kind: CallKind) -> None:
        if self.pending.full(kind):
            raise OdysseyStreamError(f"Cannot {kind.value}: {MAX_WAITING} such calls wait already")

    def _call(self, kind: CallKind, prompt: str, now: float, timeout_s: float | None) -> int:
        self._tickets += 1
        due = None if timeout_s is None else now + timeout_s
        self.pending.add(kind, self._tickets, prompt=prompt, due=due)
        return self._tickets

    def message(self, text: str | bytes) -> list[Action]:
        """One message of the streamer on `streamerToClient` (O52-O57)."""
        try:
            message = messages.read(text)
        except (ValueError, RecursionError) as error:
            return [report(error)]
        kind = message.get("type")
        handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is None:
            self.ignored += 1
            return []
        return handler(self, message)

    def _started(self, message: Mapping[str, Any]) -> list[Action]:
        applied = message.get("applied_prompt")
        self.last_applied_prompt = applied if isinstance(applied, str) else None
        stream_id = messages.text_of(message, "stream_id")
        settled = self._settle(CallKind.START, stream_id, self.last_applied_prompt)
        return [*settled, Notify("stream_started", (stream_id,))]

    def _acknowledged(self, message: Mapping[str, Any]) -> list[Action]:
        prompt = messages.text_of(message, "prompt")
        self.last_applied_prompt = prompt or None
        settled = self._settle(CallKind.INTERACT, prompt, prompt)
        return [*settled, Notify("interact_acknowledged", (prompt,))]

    def _ended(self, message: Mapping[str, Any]) -> list[Action]:
        return [*self._settle(CallKind.END, None), Notify("stream_ended")]

    def _settle(
        self, kind: CallKind, value: str | None, applied: str | None = None
    ) -> list[Action]:
        ticket = self.pending.settle(kind, applied)
        return [] if ticket is None else [Resolve(ticket, value)]

    def _broadcast(self, message: Mapping[str, Any]) -> list[Action]:
        url = messages.optional_text(message, "webrtc_url")
        token = messages.optional_text(message, "spectator_token")
        if url is None or token is None:  # O55
            text = "Broadcast setup incomplete: missing playback URL or token"
            return [Notify("stream_error", ("broadcast_error", text))]
        hls = messages.optional_text(message, "broadcast_url")
        return [Notify("broadcast_ready", (BroadcastInfo(hls, url, token),))]

    def _refused(self, message: Mapping[str, Any]) -> list[Action]:
        """O56: one start and one interact fail with it, or all of them if the stream is over."""
        reason = messages.text_of(message, "reason", "unknown")
        text = messages.text_of(message, "message", "Stream error occurred")
        kinds = (CallKind.START, CallKind.INTERACT)
        if reason in _ENDING:
            tickets = [ticket for _, ticket in self.pending.clear(*kinds)]
        else:
            heads = (self.pending.settle(kind) for kind in kinds)
            tickets = [ticket for ticket in heads if ticket is not None]
        rejected = [Reject(ticket, stream_error(reason, text)) for ticket in tickets]
        return [*rejected, Notify("stream_error", (reason, text))]

    # -- the end of waiting -----------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When `expire` is to be called next."""
        return self.pending.deadline()

    def expire(self, now: float) -> list[Action]:
        """Fail the calls whose time is up (D2)."""
        return [
            Reject(
                ticket,
                OdysseyStreamError(f"Cannot {kind.value}: no answer from the streamer in time"),
            )
            for kind, ticket in self.pending.expire(now)
        ]

    def close(self, why: str) -> list[Action]:
        """Fail every call: the link it went out on is gone (D2)."""
        self.last_applied_prompt = None
        return [Reject(ticket, OdysseyConnectionError(why)) for _, ticket in self.pending.clear()]


_HANDLERS: Final[Mapping[str, Callable[[StreamCore, Mapping[str, Any]], list[Action]]]] = {
    "stream_started": StreamCore._started,
    "update_acknowledged": StreamCore._acknowledged,
    "stream_ended": StreamCore._ended,
    "broadcast_ready": StreamCore._broadcast,
    messages.STREAM_ERROR: StreamCore._refused,
}


def report(error: Exception) -> Notify:
    """An exception that ends nothing (O57)."""
    return Notify("error", (error, False))


def _open(channel_bytes: int | None) -> int:
    if channel_bytes is None:
        raise UnreachableError("Client to streamer channel not open")
    return channel_bytes
