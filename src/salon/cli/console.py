"""``salon console``: talk to an agent in the terminal."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from salon.base import SalonError, new_id
from salon.cli.options import PLACES, setting_options, settings_from
from salon.cli.running import run_async
from salon.cli.terminal import Lines, is_terminal
from salon.cli.traces import short_traces

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from salon.app.settings import Settings
    from salon.core.ports.ai import AIContext, AIMessage, AIProvider, AIStreamPart, AIToolCall

MAX_HISTORY = 200
"""Messages of the dialogue that the agent is shown."""
DEFAULT_URL = "ws://127.0.0.1:8000"
HELP = "/say file.wav speaks a recording (with --url), /quit or Ctrl-D leaves"


class SomeFailed(SalonError):
    """The dialogue went on, but not every question was answered."""

    code = "console"


class Screen:
    """The dialogue on the terminal. Through a pipe only the answers, one a line."""

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self._open = False
        """A line is unfinished."""

    def prompt(self) -> None:
        """Invite to type."""
        if self.terminal:
            self.finish()
            click.echo(click.style("you> ", fg="green"), nl=False)

    def speaker(self, name: str) -> None:
        """An answer of `name` begins."""
        if self.terminal:
            self.finish()
            click.echo(click.style(f"{name}> ", fg="cyan"), nl=False)
            self._open = True

    def piece(self, text: str) -> None:
        """More of the answer; a terminal shows it at once, a pipe gets it in one line."""
        click.echo(text if self.terminal else " ".join(text.split("\n")), nl=False)
        self._open = True

    def finish(self) -> None:
        """The answer is whole."""
        if self._open:
            click.echo()
            self._open = False

    def note(self, text: str) -> None:
        """Something on the side: only for people."""
        if self.terminal:
            self.finish()
            click.secho(text, dim=True)

    def error(self, text: str) -> None:
        """What went wrong, on standard error."""
        self.finish()
        click.secho(f"Error: {text}", fg="red", err=True)


@dataclass(slots=True)
class Dialogue:
    """A talk with an agent in this process. `failures` counts questions without an answer.

    `timeout` is how many seconds a whole answer may take; None sets no limit.
    """

    agent: AIProvider
    screen: Screen
    name: str
    room_id: str
    system_prompt: str | None = None
    timeout: float | None = None
    history: list[AIMessage] = field(default_factory=list)
    failures: int = 0

    async def run(self, lines: AsyncIterator[str]) -> None:
        """One line is one turn, until the lines end or `/quit`."""
        await self.agent.start()
        try:
            self.screen.prompt()
            async for line in lines:
                if line.strip() == "/quit":
                    return
                if line.startswith("/say"):
                    self.screen.error("/say needs a server that understands speech: use --url")
                    self.failures += 1
                elif line.strip():
                    await self.turn(line.strip())
                self.screen.prompt()
        finally:
            self.screen.finish()
            await self.agent.close()

    async def turn(self, text: str) -> None:
        """Let the agent answer `text`; what it says is shown as it comes."""
        from salon.core.ports.ai import AIContext, AIMessage
        from salon.providers.errors import AIProviderError

        self.history.append(AIMessage("user", text, name="You"))
        del self.history[:-MAX_HISTORY]
        context = AIContext(
            room_id=self.room_id,
            messages=tuple(self.history),
            system_prompt=self.system_prompt,
            participant_id="console",
            participant_name="You",
        )
        said: list[str] = []
        facts: dict[str, Any] = {}
        self.screen.speaker(self.name)
        try:
            async with asyncio.timeout(self.timeout) as limit:
                await self._show(context, said, facts)
        except AIProviderError as error:
            self._fail(str(error))
        except TimeoutError:
            if not limit.expired():
                raise
            self._fail(f"no answer within {self.timeout:g} s")
        else:
            if not "".join(said).strip():
                self._silent()
        self.screen.finish()
        self.history.append(AIMessage("assistant", "".join(said), metadata=facts))

    async def _show(self, context: AIContext, said: list[str], facts: dict[str, Any]) -> None:
        """What the agent says goes to the screen and into `said`, what it knows into `facts`."""
        from salon.core.ports.ai import AIToolCall, TextDelta
        from salon.providers.toolloop import add_facts

        generation = cast("AsyncGenerator[AIStreamPart, None]", self.agent.generate_stream(context))
        async with aclosing(generation) as parts:
            async for part in parts:
                if isinstance(part, TextDelta):
                    said.append(part.text)
                    self.screen.piece(part.text)
                elif isinstance(part, AIToolCall):
                    self.screen.note(_call_line(part))
                else:
                    add_facts(facts, part.data)

    def _silent(self) -> None:
        """An agent may stay silent; who counts on a line for each question has to know."""
        if self.screen.terminal:
            self.screen.note("(no answer)")
        else:
            self._fail(f"{self.name} gave no answer")

    def _fail(self, text: str) -> None:
        self.failures += 1
        self.screen.error(text)


def _call_line(call: AIToolCall) -> str:
    arguments = ", ".join(f"{key}={value!r}" for key, value in call.arguments.items())
    return f"[{call.name}({arguments})]"


def find_agent(spec: str | None, settings: Settings) -> tuple[AIProvider, AIProvider | None]:
    """The agent of `spec`, else that of the settings: their file, their language model, the house
    agent. With it the language model that it may ask, which is to be started and closed too.
    Raises `ConfigurationError`."""
    from salon.providers import FunctionAgent, load_agent

    model = _language_model(settings)
    if spec is None and settings.agent is not None:
        spec = str(settings.agent)
    if spec is None:
        from salon.providers.house import HouseAgent

        return model or HouseAgent.load(knowledge=settings.knowledge_dir), None
    agent = load_agent(spec)
    if model is None or not isinstance(agent, FunctionAgent):
        return agent, None
    agent.use_language_model(model)
    return agent, model


def _language_model(settings: Settings) -> AIProvider | None:
    if settings.llm_base_url is None or settings.llm_model is None:
        return None
    from salon.providers import OpenAIProvider

    return OpenAIProvider(
        base_url=settings.llm_base_url, model=settings.llm_model, api_key=settings.llm_api_key
    )


@click.command()
@click.argument("agent", required=False)
@click.option("--url", help="Join a room of this running server instead.")
@click.option("--room", help="Id of the room; a new one if not given.")
@click.option("--name", default="Console", show_default=True, help="Your name in the room.")
@click.option("--api-key", envvar="SALON_API_KEY", show_envvar=True, help="Key of the server.")
@click.option("--insecure", is_flag=True, help="Accept any TLS certificate.")
@click.option("--talk", is_flag=True, help="Speak and listen: needs arecord and aplay.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 600, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds to wait for an answer where lines come through a pipe.",
)
@setting_options(*PLACES)
def console(agent: str | None, url: str | None, **given: Any) -> None:
    """Type to AGENT (agent.py, or package.module:name), or to the house agent.

    The agent runs in this process, without server or sound. With --url you join a room of a
    running server: type, speak a recording with `/say file.wav`, or talk with --talk.
    Through a pipe one line is one question and one line its answer; exit code 1 if one got none.
    """
    own = ("room", "name", "api_key", "insecure", "talk", "timeout")
    flags = {key: given.pop(key) for key in own}
    if (url or flags["talk"]) and agent:
        raise click.UsageError("AGENT runs in this process; with --url or --talk the server's does")
    screen = Screen(terminal=is_terminal())
    if url or flags["talk"]:
        from salon.cli.joining import Joined, join

        options = Joined(
            url=url or DEFAULT_URL, room=flags.pop("room") or f"console-{new_id()[:12]}", **flags
        )
        failures = run_async(join(options, screen))
    else:
        failures = run_async(_local(agent, settings_from(given), screen, flags["timeout"]))
    if failures:
        raise SomeFailed(f"{failures} of the questions got no answer")


async def _local(spec: str | None, settings: Settings, screen: Screen, timeout: float) -> int:
    agent, model = find_agent(spec, settings)
    name = str(getattr(agent, "display_name", agent.name))
    screen.note(f"{name} runs here; {HELP}")
    for suggestion in agent.suggestions()[:3]:
        screen.note(f"  e.g. {suggestion}")
    room_id = f"console-{new_id()[:12]}"
    limit = None if screen.terminal else timeout
    dialogue = Dialogue(agent, screen, name, room_id, settings.llm_prompt, limit)
    async with AsyncExitStack() as stack:
        stack.enter_context(short_traces())
        if model is not None:
            stack.push_async_callback(model.close)
            await model.start()
        await dialogue.run(Lines())
    return dialogue.failures


def wav_of(line: str) -> Path:
    """The file that a `/say` line names; `ClickException` if there is none."""
    path = Path(line.removeprefix("/say").strip().strip("\"'")).expanduser()
    if not path.is_file():
        raise click.ClickException(f"/say: no such file: {str(path)!r}")
    return path
