"""Events of the call protocol (section 6), one frozen model each.

`to_json` leaves absent fields out (G3). `timestamp` and the other instants are integer
milliseconds since the epoch (G4), but for the RFC 3339 texts of `hangup` (G112).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, ValidationError, computed_field
from pydantic_core import from_json

from salon.base.errors import RemoteProtocolError
from salon.gateway.options import StringMap, UInt, WireModel

Millis = int
"""Milliseconds since the Unix epoch, UTC (G4)."""


def rfc3339(seconds: float) -> str:
    """An instant as RFC 3339 in UTC with milliseconds, like ``2026-01-05T08:00:00.120Z``."""
    stamp = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return stamp.removesuffix("+00:00") + "Z"


class Event(WireModel):
    """Root of all events."""

    event: str

    def to_json(self) -> str:
        """The text frame; no nulls (G3)."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True).decode()

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-like data."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class TrackEvent(Event):
    """An event of one track (G110)."""

    track_id: str
    timestamp: Millis


# -- signalling -----------------------------------------------------------------------------------


class IncomingEvent(TrackEvent):
    """The server begins to prepare an incoming call."""

    event: Literal["incoming"] = "incoming"
    caller: str
    callee: str
    sdp: str
    headers: StringMap | None = None


class AnswerEvent(TrackEvent):
    """The call is answered; `sdp` is empty on `/ws`."""

    event: Literal["answer"] = "answer"
    sdp: str = ""
    refer: bool | None = None


class MediaReadyEvent(TrackEvent):
    """First RTP of a track arrived."""

    event: Literal["mediaReady"] = "mediaReady"


class RejectEvent(TrackEvent):
    """The call was refused."""

    event: Literal["reject"] = "reject"
    reason: str
    code: UInt | None = None
    refer: bool | None = None


class RingingEvent(TrackEvent):
    """The called side rings."""

    event: Literal["ringing"] = "ringing"
    early_media: bool
    refer: bool | None = None


class Party(WireModel):
    """One end of a call, taken from its URI (G112)."""

    username: str | None = None
    realm: str | None = None
    source: str | None = None


class HangupEvent(TrackEvent):
    """The call ended: once per call, the last text frame (G112)."""

    event: Literal["hangup"] = "hangup"
    reason: str | None = None
    initiator: str | None = None
    start_time: str
    hangup_time: str
    answer_time: str | None = None
    ringing_time: str | None = None
    from_: Party | None = Field(default=None, alias="from")
    to: Party | None = None
    extra: dict[str, Any] | None = None
    refer: bool | None = None


class HoldEvent(TrackEvent):
    """The peer put the call on hold or took it back."""

    event: Literal["hold"] = "hold"
    on_hold: bool
    refer: bool | None = None


class TransferRequestEvent(TrackEvent):
    """The peer asks for a transfer."""

    event: Literal["transferRequest"] = "transferRequest"
    refer_to: str
    referred_by: str | None = None
    refer: bool | None = None


class MessageEvent(TrackEvent):
    """An in-dialog message arrived."""

    event: Literal["message"] = "message"
    body: str
    content_type: str | None = None
    refer: bool | None = None


class DtmfEvent(TrackEvent):
    """One key press."""

    event: Literal["dtmf"] = "dtmf"
    digit: str
    refer: bool | None = None


class RingbackStateEvent(TrackEvent):
    """What the early media sounds like (G72a)."""

    event: Literal["ringbackState"] = "ringbackState"
    state: str
    state_index: UInt
    confidence: float
    prev_state: str | None = None
    prev_confidence: float | None = None
    refer: bool | None = None
    is_final: bool


class AnswerMachineDetectionEvent(TrackEvent):
    """Declared by the protocol, never sent."""

    event: Literal["answerMachineDetection"] = "answerMachineDetection"
    start_time: Millis
    end_time: Millis
    text: str


# -- speech ---------------------------------------------------------------------------------------


class SpeakingEvent(TrackEvent):
    """Speech began at `start_time` (G122)."""

    event: Literal["speaking"] = "speaking"
    start_time: Millis
    is_filler: bool | None = None
    confidence: float | None = None
    refer: bool | None = None


class SilenceEvent(TrackEvent):
    """A turn ended: start and length of the *speech*; or nothing was said for `duration` ms from
    `start_time` on (G123, G78)."""

    event: Literal["silence"] = "silence"
    start_time: Millis
    duration: UInt
    refer: bool | None = None


class EouEvent(TrackEvent):
    """The utterance is complete, or is not."""

    event: Literal["eou"] = "eou"
    completed: bool
    interrupt_point: Millis | None = None
    text: str | None = None
    refer: bool | None = None

    @computed_field
    def complete(self) -> bool:
        """A copy for clients that read this name (G315)."""
        return self.completed


class InactivityEvent(TrackEvent):
    """No packet came for `inactivityTimeout`; the call ends."""

    event: Literal["inactivity"] = "inactivity"


class TranscriptEvent(TrackEvent):
    """Fields of both transcript events. Always give both times (G117)."""

    index: UInt
    start_time: Millis | None = None
    end_time: Millis | None = None
    text: str
    is_filler: bool | None = None
    confidence: float | None = None
    task_id: str | None = None
    refer: bool | None = None


class AsrDeltaEvent(TranscriptEvent):
    """A partial transcript; replaces earlier ones of its `index`."""

    event: Literal["asrDelta"] = "asrDelta"


class AsrFinalEvent(TranscriptEvent):
    """The transcript of `index`."""

    event: Literal["asrFinal"] = "asrFinal"


# -- playback -------------------------------------------------------------------------------------


class TrackStartEvent(TrackEvent):
    """A track was added (G111, G115)."""

    event: Literal["trackStart"] = "trackStart"
    play_id: str | None = None


class TrackEndEvent(TrackEvent):
    """A track ended after `duration` ms of wall clock (G114)."""

    event: Literal["trackEnd"] = "trackEnd"
    duration: UInt
    ssrc: UInt
    play_id: str | None = None


class InterruptionEvent(TrackEvent):
    """Speech was cut `current` ms into the `total_duration` ms known so far (G113)."""

    event: Literal["interruption"] = "interruption"
    play_id: str | None = None
    subtitle: str | None = None
    position: UInt | None = None
    total_duration: UInt
    current: UInt


# -- everything else ------------------------------------------------------------------------------


class MetricsEvent(Event):
    """A measurement (G116); `duration` in ms."""

    event: Literal["metrics"] = "metrics"
    timestamp: Millis
    key: str
    duration: UInt
    data: Any = None


class ErrorEvent(TrackEvent):
    """Something failed (G31-G37)."""

    event: Literal["error"] = "error"
    sender: str
    error: str
    code: UInt | None = None


class AddHistoryEvent(Event):
    """One line of the dialogue."""

    event: Literal["addHistory"] = "addHistory"
    timestamp: Millis
    sender: str | None = None
    speaker: str
    text: str


class FunctionCallEvent(TrackEvent):
    """A realtime model calls a tool; `arguments` is JSON text."""

    event: Literal["functionCall"] = "functionCall"
    call_id: str
    name: str
    arguments: str


class CustomEvent(Event):
    """What a `custom` command carried."""

    event: Literal["custom"] = "custom"
    timestamp: Millis
    sender: str | None = None
    data: Any = None


class OtherEvent(TrackEvent):
    """Declared by the protocol, never sent."""

    event: Literal["other"] = "other"
    sender: str
    extra: StringMap | None = None


class PingEvent(Event):
    """A keepalive, in the event stream and the events file only (G18)."""

    event: Literal["ping"] = "ping"
    timestamp: Millis
    payload: str | None = None


class BinaryEvent(TrackEvent):
    """Outgoing audio as an array of bytes, in the event stream only."""

    event: Literal["binary"] = "binary"
    data: list[int]


class InterruptEvent(Event):
    """Internal signal, visible in realtime mode only; the one event without a timestamp (G100)."""

    event: Literal["interrupt"] = "interrupt"
    receiver: str | None = None


_ALL: tuple[type[Event], ...] = (
    IncomingEvent,
    AnswerEvent,
    MediaReadyEvent,
    RejectEvent,
    RingingEvent,
    HangupEvent,
    SpeakingEvent,
    SilenceEvent,
    EouEvent,
    InactivityEvent,
    DtmfEvent,
    HoldEvent,
    TransferRequestEvent,
    MessageEvent,
    TrackStartEvent,
    TrackEndEvent,
    InterruptionEvent,
    AsrDeltaEvent,
    AsrFinalEvent,
    MetricsEvent,
    ErrorEvent,
    AddHistoryEvent,
    FunctionCallEvent,
    CustomEvent,
    RingbackStateEvent,
    PingEvent,
    BinaryEvent,
    AnswerMachineDetectionEvent,
    OtherEvent,
    InterruptEvent,
)

EVENT_TYPES: dict[str, type[Event]] = {cls.model_fields["event"].default: cls for cls in _ALL}
"""Every event by its name on the wire."""


def parse_event(data: str | bytes | Mapping[str, Any]) -> Event:
    """The event in one text frame; `RemoteProtocolError` if it is none of ours (clients ignore
    those, G301)."""
    try:
        content = from_json(data, allow_inf_nan=False) if isinstance(data, str | bytes) else data
        event_type = EVENT_TYPES[content["event"]]
        return event_type.model_validate(content)
    except ValidationError as error:
        raise RemoteProtocolError(f"malformed event: {error.errors()[0]['loc']}") from None
    except (ValueError, TypeError, KeyError):
        raise RemoteProtocolError("not an event of the call protocol") from None
