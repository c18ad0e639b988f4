"""The chat-completions format, both ways. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from salon.base import IdFactory
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIStreamPart,
    AIToolCall,
    ResponseMetadata,
    TextDelta,
    ThinkingDelta,
    attributed,
)
from salon.providers.errors import AIProviderError

MAX_CALLS = 32
"""Most tool calls in one answer."""

MAX_ARGUMENTS = 262_144
"""Longest arguments of one tool call, in characters."""

SPOKEN = (
    "Your answer is spoken aloud to a person in a conversation. Use short plain sentences. "
    "Use no markup, lists, tables, links, code or emoji, and write numbers as they are said."
)

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_COUNTS = {
    "prompt_tokens": "input_token_count",
    "completion_tokens": "output_token_count",
    "total_tokens": "total_tokens",
}


def request_of(context: AIContext, model: str) -> dict[str, Any]:
    """The body of the request, without the fields that concern streaming."""
    body: dict[str, Any] = {"model": model, "messages": list(messages_of(context))}
    if context.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in context.tools
        ]
    if context.temperature is not None:
        body["temperature"] = context.temperature
    if context.max_tokens is not None:
        body["max_tokens"] = context.max_tokens
    return body


def messages_of(context: AIContext) -> Iterator[dict[str, Any]]:
    """The prompt, with what the recipient can take (R59), and the history.

    Where several people speak, each of their messages begins with its speaker's name: many
    models never see the field `name`.
    """
    prompt = [context.system_prompt] if context.system_prompt else []
    if context.spoken:
        prompt.append(SPOKEN)
    if prompt:
        yield {"role": "system", "content": "\n\n".join(prompt)}
    for message in attributed(context).messages:
        yield from _messages(message)


def _messages(message: AIMessage) -> Iterable[dict[str, Any]]:
    if message.role == "tool":
        for result in message.tool_results:
            content = f"Error: {result.content}" if result.is_error else result.content
            yield {"role": "tool", "tool_call_id": result.call_id, "content": content}
        return
    if not message.text and not message.tool_calls:
        return
    mapped: dict[str, Any] = {"role": message.role, "content": message.text or None}
    name = _NOT_IN_NAME.sub("_", message.name or "").strip("_")[:64]
    if name and message.role == "user":
        mapped["name"] = name
    if message.tool_calls:
        mapped["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for call in message.tool_calls
        ]
    yield mapped


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    size: int = 0


class ChunkReader:
    """Turns the chunks of one streamed answer into parts.

    Text comes out at once, tool calls when their last fragment has come: `finish` gives them.
    `complete` says that the model said it had finished.
    """

    def __init__(self, provider: str, ids: IdFactory) -> None:
        self.complete = False
        self._provider = provider
        self._ids = ids
        self._calls: dict[int, _Call] = {}
        self._facts: dict[str, Any] = {}
        self._half = ""

    def read(self, data: str) -> Iterator[TextDelta | ThinkingDelta]:
        """What one event's data says at once. `AIProviderError` if it is an error or no chunk."""
        if data.strip() == "[DONE]":
            self.complete = True
            return
        if not data.strip():
            return
        chunk = self._chunk(data)
        if isinstance(model := chunk.get("model"), str) and model:
            self._facts["model"] = model
        if isinstance(usage := chunk.get("usage"), dict):
            self._facts["usage"] = {
                ours: usage[theirs]
                for theirs, ours in _COUNTS.items()
                if isinstance(usage.get(theirs), int)
            }
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            # only the first answer is asked for
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                yield from self._choice(choice)

    def finish(self) -> Iterator[AIStreamPart]:
        """The tool calls, then the facts. `AIProviderError` for a call whose arguments are not a
        JSON object."""
        for number in sorted(self._calls):
            yield self._decoded(self._calls[number])
        if self._facts:
            yield ResponseMetadata(self._facts)

    def _chunk(self, data: str) -> dict[str, Any]:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._error(f"sent what is not JSON: {data:.80}") from error
        if not isinstance(chunk, dict):
            raise self._error(f"sent {type(chunk).__name__} where a chunk belongs")
        if chunk.get("error"):
            raise self._error(f"broke off: {error_text(chunk)}", retryable=True)
        return chunk

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[TextDelta | ThinkingDelta]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            thought = delta.get("reasoning_content") or delta.get("reasoning")
            if isinstance(thought, str):
                yield ThinkingDelta(mended(thought))
            if isinstance(text := delta.get("content"), str) and (text := self._whole(text)):
                yield TextDelta(text)
            calls = delta.get("tool_calls")
            for fragment in calls if isinstance(calls, list) else ():
                if isinstance(fragment, dict):
                    self._fragment(fragment)
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self.complete = True
            self._facts["finish_reason"] = reason

    def _whole(self, text: str) -> str:
        """`text` without half characters: some servers cut an emoji's escape into two chunks."""
        text = self._half + text
        cut = len(text) - bool(text and "\ud800" <= text[-1] <= "\udbff")
        self._half = text[cut:]
        return mended(text[:cut])

    def _fragment(self, fragment: Mapping[str, Any]) -> None:
        call = self._call_of(fragment)
        function = fragment.get("function")
        if isinstance(identity := fragment.get("id"), str) and identity:
            call.id = identity
        if not isinstance(function, dict):
            return
        if isinstance(name := function.get("name"), str) and name and not call.name:
            call.name = name
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # some servers send the object itself
            arguments = json.dumps(arguments)
        if isinstance(arguments, str):
            call.size += len(arguments)
            if call.size > MAX_ARGUMENTS:
                raise self._error(f"arguments of {call.name} exceed {MAX_ARGUMENTS} characters")
            call.arguments.append(arguments)

    def _call_of(self, fragment: Mapping[str, Any]) -> _Call:
        index = fragment.get("index")
        if not isinstance(index, int):  # some servers leave it out: a new id is a new call
            last = max(self._calls, default=-1)
            new = not self._calls or fragment.get("id") not in (None, "", self._calls[last].id)
            index = last + 1 if new else last
        call = self._calls.get(index)
        if call is None:
            if len(self._calls) >= MAX_CALLS:
                raise self._error(f"asked for more than {MAX_CALLS} tools at once")
            call = self._calls[index] = _Call()
        return call

    def _decoded(self, call: _Call) -> AIToolCall:
        text = mended("".join(call.arguments)).strip()
        if not call.name:
            raise self._error("asked for a tool without a name", retryable=True)
        try:
            arguments = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            what = f"arguments of tool call {call.name} are not JSON ({error}): {text:.120}"
            raise self._error(what, retryable=True) from error
        if not isinstance(arguments, dict):
            what = f"arguments of tool call {call.name} are no JSON object: {text:.120}"
            raise self._error(what, retryable=True)
        return AIToolCall(call.id or f"call_{self._ids()}", call.name, arguments)

    def _error(self, text: str, *, retryable: bool = False) -> AIProviderError:
        return AIProviderError(text, provider=self._provider, retryable=retryable)


def mended(text: str) -> str:
    """`text` with surrogate pairs joined and lone ones replaced, so that it has a UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def error_text(body: object) -> str:
    """What an error body says, in one line of at most 300 characters."""
    if isinstance(body, dict):
        body = body.get("error", body.get("detail", body.get("message", body)))
    if isinstance(body, dict):
        body = body.get("message", body)
    return " ".join(str(body).split())[:300]
