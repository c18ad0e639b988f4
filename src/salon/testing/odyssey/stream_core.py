"""The conversation about streams on one connection: messages and time in, actions out (O49-O59).

Every start gets exactly one `stream_started` or `interactive_stream_error`, every update exactly
one `update_acknowledged` or `interactive_stream_error`, every end exactly one `stream_ended`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from salon.base import IdFactory, LocalProtocolError
from salon.testing.odyssey.settings import StandInSettings
from salon.testing.odyssey.signaling_core import START

UPDATE: Final = "update"
END: Final = "interactive_stream_end"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream: `image` is a data URL as the client sent it; `prompt` is the one applied."""

    id: str
    prompt: str
    portrait: bool
    broadcast: bool
    expand: bool
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """Show this stream; then tell the core with `begun` or `refused`."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Change:
    """Show this prompt."""

    stream: Stream
    prompt: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Show the idle picture again, and complete the recording before the next action."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Tell:
    """Send this on ``streamerToClient``, after what was sent before."""

    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the connection; the stream is over for good (O58a)."""

    reason: str


Action = Begin | Change | Finish | Tell | Leave


class StreamCore:
    """One connection's streams, one after another. `now` are monotonic seconds."""

    def __init__(self, settings: StandInSettings, ids: IdFactory) -> None:
        self.running: Stream | None = None
        self.ignored = 0
        """Messages that say nothing we know."""
        self._settings = settings
        self._ids = ids
        self._starting: Stream | None = None
        self._ends_at: float | None = None

    def received_text(self, text: str | bytes, now: float) -> list[Action]:
        """What came on ``clientToStreamer``. What can't be read is counted and ignored."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.ignored += 1
            return []
        return self.received(message, now)

    def received(self, message: dict[str, Any], now: float) -> list[Action]:
        """One message, from either side (O50). `LocalProtocolError` while a start is not
        settled: messages are handled one after the other."""
        if self._starting is not None:
            raise LocalProtocolError("a start waits for begun or refused")
        kind = message.get("type")
        if kind == START:
            return self._start(message)
        if kind == UPDATE:
            return self._update(message)
        if kind == END:
            return [*self._finish(), Tell({"type": "stream_ended"})]
        self.ignored += 1
        return []

    def _start(self, message: dict[str, Any]) -> list[Action]:
        prompt, portrait = message.get("prompt", ""), message.get("portrait", True)
        image = message.get("input_image_base64")
        if prompt is None:
            prompt = ""
        if not isinstance(prompt, str) or not isinstance(portrait, bool):
            return [_error("invalid_request", "prompt must be text and portrait a boolean")]
        if len(prompt) > self._settings.prompt_chars:
            return [_error("prompt_too_long", self._too_long)]
        if image is not None and not isinstance(image, str):
            return [_error("invalid_image", "The image must be a data URL")]
        if image and not self._settings.image_to_video:
            return [_error("image_not_supported", "This streamer takes no image")]
        expand = message.get("bypass_vlm_expansion") is not True
        stream = Stream(
            id=self._ids(),
            prompt=self._applied(prompt, expand=expand),
            portrait=portrait,
            broadcast=message.get("broadcast") is True,
            expand=expand,
            image=image or None,
        )
        before: list[Action] = []
        if self.running is not None:
            before = [*self._finish(), Tell({"type": "stream_ended"})]
        self._starting = stream
        return [*before, Begin(stream)]

    def begun(self, now: float) -> list[Action]:
        """The stream of `Begin` is shown."""
        stream = self._settled()
        self.running = stream
        limit = self._settings.stream_s
        self._ends_at = None if limit is None else now + limit
        started = {"type": "stream_started", "stream_id": stream.id}
        return [Tell({**started, "applied_prompt": stream.prompt})]

    def refused(self, reason: str, message: str) -> list[Action]:
        """The stream of `Begin` can't be shown (O70, O77)."""
        self._settled()
        return [_error(reason, message)]

    def _settled(self) -> Stream:
        stream, self._starting = self._starting, None
        if stream is None:
            raise LocalProtocolError("no start waits")
        return stream

    def _update(self, message: dict[str, Any]) -> list[Action]:
        prompt, running = message.get("prompt"), self.running
        if running is None:
            return [_error("no_active_stream", "There is no stream to change")]
        if not isinstance(prompt, str):
            return [_error("invalid_request", "prompt must be text")]
        if len(prompt) > self._settings.prompt_chars:
            return [_error("prompt_too_long", self._too_long)]
        applied = self._applied(prompt, expand=running.expand)
        told = Tell({"type": "update_acknowledged", "prompt": applied})
        return [Change(running, applied), told]

    def failed(self, reason: str, message: str) -> list[Action]:
        """The running stream breaks: an error, then its end (O56)."""
        if self.running is None:
            return [_error(reason, message)]
        return [*self._finish(), _error(reason, message), Tell({"type": "stream_ended"})]

    def broadcast_ready(self, webrtc_url: str, token: str, hls_url: str | None) -> list[Action]:
        """Spectators can come (O79)."""
        if self.running is None or not self.running.broadcast:
            return []
        return [
            Tell(
                {
                    "type": "broadcast_ready",
                    "webrtc_url": webrtc_url,
                    "spectator_token": token,
                    "broadcast_url": hls_url,
                }
            )
        ]

    def gone(self) -> list[Action]:
        """The client is gone: nobody is told of the end."""
        self._starting = None
        return self._finish()

    def due(self) -> float | None:
        """When `tick` has something to do; None: never."""
        return self._ends_at

    def tick(self, now: float) -> list[Action]:
        """A stream that has lasted long enough ends, and with it the connection (O58a)."""
        if self._ends_at is None or now < self._ends_at:
            return []
        ended = self.failed("session_timeout", "Stream ended: credit lease expired")
        return [*ended, Leave("stream duration")]

    def _finish(self) -> list[Action]:
        stream, self.running, self._ends_at = self.running, None, None
        return [] if stream is None else [Finish(stream)]

    def _applied(self, prompt: str, *, expand: bool) -> str:
        return (
            f"{prompt}, in motion"
            if prompt and expand and self._settings.expand_prompts
            else prompt
        )

    @property
    def _too_long(self) -> str:
        return f"A prompt has at most {self._settings.prompt_chars} characters"


def _error(reason: str, message: str) -> Tell:
    return Tell({"type": "interactive_stream_error", "reason": reason, "message": message})
