"""What a simulation's script may say (O92, O93)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from salon.base import PolicyError, UrlPolicy
from salon.testing.odyssey.exchange import Refusal, is_number
from salon.testing.odyssey.settings import StandInSettings

SCRIPTS_AT_ONCE: Final = 16
ENTRIES: Final = 200
_KINDS: Final = ("start", "interact", "end")


@dataclass(frozen=True, slots=True)
class Step:
    """One entry: `kind` is ``start``, ``interact`` or ``end``; `image` is a data URL."""

    at_ms: int
    kind: str
    prompt: str = ""
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """Steps in the order of time, a start at 0 first, an end last."""

    steps: tuple[Step, ...]

    @property
    def duration_ms(self) -> int:
        """The time of the end."""
        return self.steps[-1].at_ms


def sources(body: dict[str, Any], settings: StandInSettings) -> tuple[Script, ...] | str:
    """What a submission is to render: scripts, or the address of one. `Refusal` 422."""
    given = [name for name in ("script", "scripts", "script_url") if body.get(name)]
    if len(given) != 1:
        raise Refusal(422, "Exactly one of script, scripts, or script_url must be provided")
    value = body[given[0]]
    if given[0] == "script":
        return (script(value, settings),)
    if given[0] == "script_url":
        return _address(value)
    if not isinstance(value, list) or len(value) > SCRIPTS_AT_ONCE:
        raise Refusal(422, f"scripts must be a list of at most {SCRIPTS_AT_ONCE} scripts")
    return tuple(script(item, settings) for item in value)


def _address(value: object) -> str:
    """A script's address; only this machine is asked."""
    if not isinstance(value, str):
        raise Refusal(422, "script_url must be a string")
    policy = UrlPolicy(allow_private=True, allowed_hosts=frozenset({"localhost"}))
    try:
        policy.check(value)
        local = urlsplit(value).hostname in {"127.0.0.1", "localhost", "::1"}
    except (PolicyError, ValueError) as error:
        raise Refusal(422, f"script_url: {error}") from None
    if not local:
        raise Refusal(422, "script_url: only addresses of this machine are fetched")
    return value


def script(value: object, settings: StandInSettings) -> Script:
    """A script; `Refusal` 422 says which entry is wrong and how."""
    if not isinstance(value, list) or not value or len(value) > ENTRIES:
        raise Refusal(422, f"a script is a list of 1 to {ENTRIES} entries")
    steps = tuple(_step(index, entry, settings) for index, entry in enumerate(value))
    if steps[0].kind != "start" or steps[0].at_ms != 0:
        raise Refusal(422, "Script entry 0: must be a start at timestamp_ms 0")
    for index, step in enumerate(steps[1:], start=1):
        if step.at_ms < steps[index - 1].at_ms:
            raise Refusal(422, f"Script entry {index}: timestamps must be chronological")
        if step.kind == "start":
            raise Refusal(422, f"Script entry {index}: only the first entry is a start")
        if step.kind == "end" and index != len(steps) - 1:
            raise Refusal(422, f"Script entry {index}: nothing comes after the end")
    if steps[-1].kind != "end":
        raise Refusal(422, "the last entry of a script must be an end")
    if steps[-1].at_ms > settings.simulation_s * 1000:
        raise Refusal(422, f"a script lasts at most {settings.simulation_s:g} s")
    return Script(steps)


def _step(index: int, entry: object, settings: StandInSettings) -> Step:
    where = f"Script entry {index}"
    if not isinstance(entry, dict):
        raise Refusal(422, f"{where}: must be an object")
    at: Any = entry.get("timestamp_ms")
    if not is_number(at) or at != int(at) or at < 0:
        raise Refusal(422, f"{where}: timestamp_ms must be a whole number, at least 0")
    kinds = [kind for kind in _KINDS if entry.get(kind) is not None]
    if len(kinds) != 1 or not isinstance(entry[kinds[0]], dict):
        raise Refusal(422, f"{where}: exactly one of start, interact, end must be an object")
    kind, what = kinds[0], entry[kinds[0]]
    if kind == "end":
        return Step(int(at), kind)
    prompt, image = what.get("prompt"), what.get("image") if kind == "start" else None
    if not isinstance(prompt, str):
        raise Refusal(422, f"{where}: '{kind}' must include a 'prompt' field")
    if len(prompt) > settings.prompt_chars:
        raise Refusal(422, f"{where}: the prompt has more than {settings.prompt_chars} characters")
    if image is not None and not isinstance(image, str):
        raise Refusal(422, f"{where}: the image must be a data URL")
    return Step(int(at), kind, prompt, image or None)
