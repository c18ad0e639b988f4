"""Commands of the call protocol (section 4), one frozen model each, and how a frame becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import isfinite
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, Field, ValidationError
from pydantic_core import from_json, to_json

from salon.gateway.errors import CommandError
from salon.gateway.options import (
    CallOption,
    RecorderOption,
    ReferOption,
    StringMap,
    SynthesisOption,
    UInt,
    WireModel,
)


class Command(WireModel):
    """Root of all commands; `command` is the discriminator (G30)."""

    command: str

    def to_json(self) -> str:
        """As a client would send it: only what was given."""
        given = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return to_json({"command": self.command, **given}).decode()


# -- call control (4.1) ---------------------------------------------------------------------------


class InviteCommand(Command):
    """Starts the call (G51)."""

    command: Literal["invite"] = "invite"
    option: CallOption


class AcceptCommand(Command):
    """Answers an incoming call; on `/ws` the same as `invite` (G285)."""

    command: Literal["accept"] = "accept"
    option: CallOption


class RejectCommand(Command):
    """Refuses a pending call (G55)."""

    command: Literal["reject"] = "reject"
    reason: str
    code: UInt = 603


class RingingCommand(Command):
    """Says to a pending caller that it rings, with early media if asked for."""

    command: Literal["ringing"] = "ringing"
    recorder: RecorderOption | None = None
    early_media: bool = False
    ringtone: str | None = None


class HangupCommand(Command):
    """Ends the call, or only its refer leg."""

    command: Literal["hangup"] = "hangup"
    reason: str | None = None
    initiator: str | None = None
    headers: StringMap | None = None
    refer: bool = False


# -- playback (4.2) -------------------------------------------------------------------------------


class TtsCommand(Command):
    """Speaks (G73-G75). `wait_input_timeout` in ms (G78)."""

    command: Literal["tts"] = "tts"
    text: str
    speaker: str | None = None
    play_id: str | None = None
    auto_hangup: bool = False
    streaming: bool = False
    end_of_stream: bool = False
    option: SynthesisOption | None = None
    wait_input_timeout: UInt | None = None
    base64: bool = False
    cache_key: str | None = None


class PlayCommand(Command):
    """Plays a file or URL (G80). `offset_ms` starts that far into it."""

    command: Literal["play"] = "play"
    url: str
    play_id: str | None = None
    auto_hangup: bool = False
    wait_input_timeout: UInt | None = None
    offset_ms: UInt = 0

    @property
    def identity(self) -> str:
        """The `playId` of its events (G111)."""
        return self.play_id if self.play_id is not None else self.url


class InterruptCommand(Command):
    """Stops what plays (G76); overtakes waiting commands (G34)."""

    command: Literal["interrupt"] = "interrupt"
    graceful: bool = False
    fade_out_ms: UInt | None = None


class PauseCommand(Command):
    """Freezes the server track (G77)."""

    command: Literal["pause"] = "pause"


class ResumeCommand(Command):
    """Continues the server track (G77)."""

    command: Literal["resume"] = "resume"


# -- transfer, messaging, bridging, tracks (4.3) --------------------------------------------------


class ReferCommand(Command):
    """Dials `callee` and connects it as server track (G83)."""

    command: Literal["refer"] = "refer"
    caller: str
    callee: str
    options: ReferOption | None = None


class MessageCommand(Command):
    """In-dialog SIP MESSAGE (G84, G259)."""

    command: Literal["message"] = "message"
    body: str = Field(validation_alias=AliasChoices("body", "text"), serialization_alias="body")
    content_type: str = "text/plain;charset=utf-8"
    headers: StringMap | None = None
    refer: bool = False


class BridgeCommand(Command):
    """Lets two live sessions hear each other (G85). `forward_dtmf`: keys pressed on one are sent
    on the other as well."""

    command: Literal["bridge"] = "bridge"
    target_session_id: str
    forward_dtmf: bool = False


class UnbridgeCommand(Command):
    """Ends a bridge (G86)."""

    command: Literal["unbridge"] = "unbridge"
    target_session_id: str


class MuteCommand(Command):
    """Silences one track or all present ones (G87)."""

    command: Literal["mute"] = "mute"
    track_id: str | None = None


class UnmuteCommand(Command):
    """Undoes `mute` (G87)."""

    command: Literal["unmute"] = "unmute"
    track_id: str | None = None


class HistoryCommand(Command):
    """Comes back as `addHistory`."""

    command: Literal["history"] = "history"
    speaker: str
    text: str


class CustomCommand(Command):
    """Comes back as `custom`; `data` is any JSON, null included."""

    null_keys: ClassVar[frozenset[str]] = frozenset({"data"})

    command: Literal["custom"] = "custom"
    data: Any
    sender: str | None = None


class AddIceCandidateCommand(Command):
    """One remote candidate (G88, G261); an empty one ends them."""

    command: Literal["addIceCandidate"] = "addIceCandidate"
    candidate: str
    sdp_mid: str | None = None
    sdp_m_line_index: UInt | None = Field(
        default=None,
        validation_alias=AliasChoices("sdpMLineIndex", "sdpMlineIndex"),
        serialization_alias="sdpMLineIndex",
    )


class Candidate(WireModel):
    """One element of the older `candidate` command."""

    candidate: str
    sdp_mid: str | None = None


class CandidateCommand(Command):
    """Older spelling of several `addIceCandidate` (G318)."""

    command: Literal["candidate"] = "candidate"
    candidates: list[str | Candidate]

    def expand(self) -> list[AddIceCandidateCommand]:
        """The commands it stands for."""
        return [
            AddIceCandidateCommand(candidate=item)
            if isinstance(item, str)
            else AddIceCandidateCommand(candidate=item.candidate, sdp_mid=item.sdp_mid)
            for item in self.candidates
        ]


class ChatCommand(Command):
    """User text for the call's handler (G283); `error` without one."""

    command: Literal["chat"] = "chat"
    text: str
    play_id: str | None = None


_ALL: tuple[type[Command], ...] = (
    InviteCommand,
    AcceptCommand,
    RejectCommand,
    RingingCommand,
    HangupCommand,
    TtsCommand,
    PlayCommand,
    InterruptCommand,
    PauseCommand,
    ResumeCommand,
    ReferCommand,
    MessageCommand,
    BridgeCommand,
    UnbridgeCommand,
    MuteCommand,
    UnmuteCommand,
    HistoryCommand,
    CustomCommand,
    AddIceCandidateCommand,
    CandidateCommand,
    ChatCommand,
)

COMMAND_TYPES: dict[str, type[Command]] = {cls.model_fields["command"].default: cls for cls in _ALL}
"""Every command by its name on the wire."""


def parse_command(data: str | bytes | Mapping[str, Any], *, bare_offer: bool = False) -> Command:
    """The command in one text frame, or in JSON that is parsed already.

    Raises only `CommandError`: status 400 for bad JSON and unknown commands, 422 for wrong fields
    (on a WebSocket both become an `error` with code 400, G31). With `bare_offer` a
    ``{"sdp", "type": "offer"}`` stands for `invite` (G281).
    """
    content = _read(data) if isinstance(data, str | bytes) else data
    if not isinstance(content, Mapping):
        raise CommandError("a command is one JSON object")
    name = content.get("command")
    if bare_offer and name is None and content.get("type") == "offer":
        content = {"command": "invite", "option": {"offer": content.get("sdp")}}
        name = "invite"
    if not isinstance(name, str):
        raise CommandError('a command needs the key "command" with its name')
    command_type = COMMAND_TYPES.get(name)
    if command_type is None:
        raise CommandError(f"unknown command {name[:40]!r}")
    try:
        return command_type.model_validate(dict(content))
    except ValidationError as error:
        raise CommandError(_explain(name, error), 422) from None


def _read(text: str | bytes) -> Any:
    try:
        content = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as error:  # TypeError: lone surrogates
        raise CommandError(f"bad JSON: {error}") from None
    if not _finite(content):
        raise CommandError("bad JSON: number out of range")
    return content


def _finite(content: Any) -> bool:
    """Whether no number was too large to be read: JSON has no way to pass infinity on."""
    if isinstance(content, float):
        return isfinite(content)
    if isinstance(content, dict):
        content = content.values()
    elif not isinstance(content, list):
        return True
    return all(map(_finite, content))


def _explain(name: str, error: ValidationError) -> str:
    """The first wrong field and why; values stay out, they may be secrets."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{name}: {where}: {first['msg']}"


# -- why a call ended (G54) -----------------------------------------------------------------------


class HangupReason(StrEnum):
    """Classes of hangup reasons; the value is the text on the wire (G112)."""

    CALLER = "caller"
    CALLEE = "callee"
    REFER = "refer"
    SYSTEM = "system"
    AUTOHANGUP = "autohangup"
    INACTIVITY_TIMEOUT = "inactivityTimeout"
    NO_ANSWER = "noAnswer"
    NO_BALANCE = "noBalance"
    ANSWER_MACHINE = "answerMachine"
    SERVER_UNAVAILABLE = "serverUnavailable"
    CANCELED = "canceled"
    REJECTED = "rejected"
    FAILED = "failed"


_REASONS = {reason.value.lower(): reason for reason in HangupReason}
_BY_INITIATOR = {
    "caller": HangupReason.CALLER,
    "callee": HangupReason.CALLEE,
    "system": HangupReason.AUTOHANGUP,
}


def normalize_reason(reason: str | None, initiator: str | None = None) -> HangupReason | str:
    """The class of a `hangup` command (G54), or the given text if it belongs to none."""
    if initiator is not None and initiator in _BY_INITIATOR:
        return _BY_INITIATOR[initiator]
    if reason is None:
        return HangupReason.SYSTEM
    return _REASONS.get(reason.lower(), reason)


def initiator_of(reason: HangupReason | str) -> str:
    """Who ended the call, for the `hangup` event (G112): ``caller``, ``callee`` or ``system``."""
    if reason in (HangupReason.CALLER, HangupReason.CALLEE):
        return str(reason)
    return "system"
