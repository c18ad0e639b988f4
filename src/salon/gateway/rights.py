"""What a call may ask the server to do beyond talking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, cast

from salon.gateway.options import CallOption, StrictModel, SynthesisOption

Model = TypeVar("Model", bound=StrictModel)

_KEYS = frozenset({"app_id", "secret_id", "secret_key", "endpoint", "provider"})
"""What of a speech option names an account or an address; a provider's may be the server's own."""


@dataclass(frozen=True, slots=True)
class CallRights:
    """Decided when the connection comes in; what is refused is told and the call goes on.

    `files`: read sounds of the server, name the file of its recording and what it keeps.
    `media_pass`: have its sound sent to another server. `bridge`: reach into other calls. `keys`:
    choose speech services, and bring keys and addresses of them.
    """

    files: bool = True
    media_pass: bool = True
    bridge: bool = True
    keys: bool = True


ALL_RIGHTS = CallRights()


def permitted(option: CallOption, rights: CallRights) -> tuple[CallOption, list[str]]:
    """The option with what is not allowed left out, and the names of that as on the wire."""
    if rights == ALL_RIGHTS:
        return option, []
    refused: list[str] = []
    changes: dict[str, Any] = {}

    def leave_out(name: str, fields: frozenset[str], wire: str) -> None:
        part: StrictModel | None = getattr(option, name)
        if part is not None and fields & part.model_fields_set:
            changes[name] = without(part, fields)
            refused.append(wire)

    if not rights.media_pass and option.media_pass is not None:
        changes["media_pass"] = None
        refused.append("mediaPass")
    if not rights.files:
        leave_out("recorder", frozenset({"recorder_file"}), "recorder.recorderFile")
        leave_out("ambiance", frozenset({"path"}), "ambiance.path")
    if not rights.keys:
        for name in ("asr", "tts", "vad", "eou", "realtime"):
            leave_out(name, _KEYS, f"keys in {name}")
    return (option.model_copy(update=changes) if changes else option), refused


def permitted_voice(option: SynthesisOption, rights: CallRights) -> SynthesisOption:
    """The same for the option of one `tts` command."""
    return option if rights.keys else without(option, _KEYS)


def without(option: Model, fields: frozenset[str]) -> Model:
    """A copy in which `fields` were never given."""
    given = {name: getattr(option, name) for name in option.model_fields_set - fields}
    return cast(Model, type(option).model_construct(**given))
