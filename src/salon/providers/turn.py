"""What an agent's function is given: the turn to answer and the room it happens in."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from salon.base import ConfigurationError
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    ResponseMetadata,
    TextDelta,
    ToolRunner,
)
from salon.providers.toolloop import run_with_tools
from salon.providers.tools import ToolBox

MetadataSink = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Message:
    """Something said before. `assistant` is the agent itself, `user` anybody else."""

    role: Literal["user", "assistant"]
    text: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody said to the agent.

    `history` holds what was said before it, oldest first. `state` is the agent's own dict: what is
    put there stays in the room and is there again at the next turn. It must be JSON and is kept
    with the answer, so a turn that is not answered keeps nothing.
    """

    text: str
    participant_id: str | None = None
    name: str | None = None
    spoken: bool = False
    """The answer will be spoken aloud."""
    history: tuple[Message, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentRoom:
    """The room as an agent sees it, and its way to the language model."""

    id: str
    participants: tuple[str, ...] = ()
    """Names of the others who have spoken, in the order of their first words."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    _context: AIContext | None = field(default=None, repr=False)
    _model: AIProvider | None = field(default=None, repr=False)
    _system: str | None = field(default=None, repr=False)
    _tools: ToolBox | None = field(default=None, repr=False)
    _sink: MetadataSink | None = field(default=None, repr=False)

    @property
    def has_llm(self) -> bool:
        """Whether `llm` can be used."""
        return self._model is not None

    async def llm(
        self,
        turn: Turn | str,
        *,
        system: str | None = None,
        tools: Iterable[Callable[..., Any]] | None = None,
        max_rounds: int = 5,
    ) -> AsyncGenerator[str, None]:
        """Let the language model answer: pieces of text, as they come.

        The model sees the history, then `turn` (or a text of your own in its place). `system` and
        `tools` replace what the agent was declared with. Tools are run here, in at most
        `max_rounds` rounds. `ConfigurationError` without a language model, `AIProviderError` if
        it fails. Closing the iterator stops it.
        """
        if self._model is None:
            raise ConfigurationError(
                "no language model is set: set SALON_LLM_BASE_URL and SALON_LLM_MODEL"
            )
        context = self._context_for(turn, system)
        box: ToolRunner = (self._tools if tools is None else ToolBox(tools)) or ToolBox()
        if context.guard is not None:
            box = context.guard(box)
        facts: Mapping[str, Any] = {}
        parts = run_with_tools(self._model, context, box, max_rounds=max_rounds)
        try:
            async for part in parts:
                if isinstance(part, TextDelta):
                    yield part.text
                elif isinstance(part, ResponseMetadata):
                    facts = part.data
        finally:
            await parts.aclose()
            if self._sink is not None:
                self._sink(facts)

    def _context_for(self, turn: Turn | str, system: str | None) -> AIContext:
        context = self._context or AIContext(room_id=self.id, messages=())
        text = turn if isinstance(turn, str) else turn.text
        before = context.messages[:-1]
        last = context.messages[-1] if context.messages else AIMessage("user")
        own = system or self._system
        if own is not None:  # what the framework has to say stays (R59)
            own = "\n\n".join((own, *context.notes))
        return replace(
            context,
            messages=[*before, replace(last, text=text)],
            system_prompt=own or context.system_prompt,
            tools=[],
        )


def turn_of(context: AIContext) -> Turn:
    """The last message of `context` as a turn; an empty one if there is none."""
    last = context.messages[-1] if context.messages else AIMessage("user")
    return Turn(
        text=last.text,
        participant_id=context.participant_id,
        name=context.participant_name or last.name,
        spoken=context.spoken,
        history=tuple(_history(context.messages[:-1])),
        metadata=dict(last.metadata),
        state=state_of(context.messages),
    )


def state_of(messages: Sequence[AIMessage]) -> dict[str, Any]:
    """A copy of the state kept with the agent's latest answer that has one."""
    for message in reversed(messages):
        state = message.metadata.get("state") if message.role == "assistant" else None
        if isinstance(state, Mapping):
            return copy.deepcopy(dict(state))
    return {}


def names_of(messages: Sequence[AIMessage]) -> tuple[str, ...]:
    """Names of those who spoke, each once."""
    return tuple(dict.fromkeys(m.name for m in messages if m.role == "user" and m.name))


def _history(messages: Iterable[AIMessage]) -> Iterable[Message]:
    for message in messages:
        if message.text and message.role in ("user", "assistant"):
            role: Literal["user", "assistant"] = "user" if message.role == "user" else "assistant"
            yield Message(role, message.text, message.name)
