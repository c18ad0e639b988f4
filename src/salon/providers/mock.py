"""A language model that says what a test told it to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.ports.ai import AIContext, AIProvider, AIResponse, AIStreamPart, TextDelta
from salon.providers.errors import AIProviderError

Reply = str | AIResponse | Iterable[str | AIStreamPart | Exception]


class MockAIProvider(AIProvider):
    """Gives the replies of `script`, one for each generation, then `AIProviderError`.

    `responses` is a script that begins again at its end; so is `ai_responses`, of whole answers. A
    reply is a text, a whole answer, or parts: texts, tool calls, metadata, and exceptions, which
    are raised at their place. `delay` seconds of `clock` pass before each part. `contexts` holds
    what was asked; `closed` counts generations that were closed before their end.
    """

    name = "mock"
    model_name = "mock"

    def __init__(
        self,
        script: Iterable[Reply] = ("Hello.",),
        *,
        responses: Iterable[Reply] | None = None,
        ai_responses: Iterable[AIResponse] | None = None,
        delay: float = 0.0,
        clock: Clock = SYSTEM_CLOCK,
        repeat: bool = False,
    ) -> None:
        for given in (responses, ai_responses):
            if given is not None:
                script, repeat = given, True
        self._script = [
            _parts(reply) for reply in ([script] if isinstance(script, str) else script)
        ]
        self._delay = delay
        self._clock = clock
        self._repeat = repeat
        self.contexts: list[AIContext] = []
        self.closed = 0
        self.started = False

    @property
    def calls(self) -> list[AIContext]:
        """The same as `contexts`."""
        return self.contexts

    async def start(self) -> None:
        self.started = True

    async def close(self) -> None:
        self.started = False

    async def generate_stream(self, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
        number = len(self.contexts)
        self.contexts.append(context)
        if self._repeat and self._script:
            number %= len(self._script)
        if number >= len(self._script):
            raise AIProviderError(f"the script has no reply {number + 1}", provider=self.name)
        try:
            for part in self._script[number]:
                if self._delay:
                    await self._clock.sleep(self._delay)
                if isinstance(part, Exception):
                    raise part
                yield part
        except GeneratorExit:
            self.closed += 1
            raise


def _parts(reply: Reply) -> list[AIStreamPart | Exception]:
    if isinstance(reply, AIResponse):
        return list(reply.parts())
    given = [reply] if isinstance(reply, str) else reply
    return [TextDelta(part) if isinstance(part, str) else part for part in given]
