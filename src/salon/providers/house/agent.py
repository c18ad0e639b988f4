"""The provider: reads the conversation, answers, remembers nothing itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    AIStreamPart,
    ResponseMetadata,
    TextDelta,
)
from salon.models.speech import SpeechHints
from salon.providers.house.definition import House, load
from salon.providers.house.dialogue import Dialogue, Reply, State
from salon.providers.house.hints import speech_hints
from salon.providers.house.retrieval import Library
from salon.providers.house.understanding import Understander

_SENTENCE = re.compile(r"(?<=[.!?])(?=\s)")
_MAX_UNANSWERED = 8


class HouseAgent(AIProvider):
    """Rules, examples and a folder to look things up in; no language model.

    The dialogue state is in the metadata ``dialogue`` of the answers, so one agent serves any
    number of rooms and a restart changes nothing.
    """

    name = "house"
    model_name = "rules"

    def __init__(self, house: House, library: Library | None = None) -> None:
        self._house = house
        self._library = library
        self._dialogue = Dialogue(house, Understander(house), library)
        self._hints: SpeechHints | None = None

    @classmethod
    def load(cls, path: Path | None = None, knowledge: Path | None = None) -> HouseAgent:
        """`path`: another file instead of the one that comes with Salon; `knowledge`: a folder of
        Markdown. Raises `ConfigurationError`."""
        return cls(load(path), Library.read(knowledge) if knowledge else None)

    @property
    def display_name(self) -> str:
        """The name in the file."""
        return self._house.name

    @property
    def description(self) -> str:
        """One line about who answers."""
        return self._house.description

    async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        """The state first, so that an interrupted answer keeps it; then sentence by sentence."""
        # up to a tenth of a second of comparing words: not on the loop that carries all calls
        reply = await asyncio.to_thread(self.answer, tuple(context.messages))
        if reply is None:
            return
        yield ResponseMetadata({"dialogue": reply.state.write(), "intent": reply.intent})
        for sentence in _SENTENCE.split(reply.text):
            yield TextDelta(sentence)

    def answer(self, messages: tuple[AIMessage, ...]) -> Reply | None:
        """The reply to the last user message, or None without one.

        User messages that got no stored answer (it was interrupted before a word was heard) are
        gone through first, so that nothing they said is lost.
        """
        pending: list[AIMessage] = []
        last: AIMessage | None = None
        for message in reversed(messages):
            if message.role == "assistant" and message.text:
                last = last or message
                if isinstance(message.metadata.get("dialogue"), dict):
                    break
            elif message.role == "user" and last is None and len(pending) < _MAX_UNANSWERED:
                pending.append(message)
        if not pending:
            return None
        remembered = message.metadata.get("dialogue") if message.role == "assistant" else None
        state = State.read(remembered)
        heard = last.text if last else ""
        for said in reversed(pending[1:]):
            state = self._reply(said, state, heard).state
        return self._reply(pending[0], state, heard)

    def _reply(self, said: AIMessage, state: State, heard: str) -> Reply:
        sure = said.metadata.get("confidence")
        confidence = float(sure) if isinstance(sure, int | float) else None
        return self._dialogue.reply(said.text, state, heard, confidence)

    def speech_hints(self) -> SpeechHints:
        """The example sentences, slot values and headings, computed once."""
        if self._hints is None:
            headings = self._library.headings() if self._library else ()
            self._hints = speech_hints(self._house, headings)
        return self._hints

    def suggestions(self) -> tuple[str, ...]:
        return self._house.suggestions
