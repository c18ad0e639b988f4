"""Who answers: the user's file, a language model, or the house agent, and whoever is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from salon.app.engines import wrong_voice
from salon.app.house import AgentInfo, Service
from salon.app.settings import Settings
from salon.base import ConfigurationError
from salon.channels.ai import AIChannel
from salon.channels.ai_prompt import is_called, words_of
from salon.core.ports.ai import AIProvider
from salon.models import ChannelType, RoomEvent
from salon.models.speech import NO_HINTS, SpeechHints
from salon.providers.agent import FunctionAgent
from salon.providers.house import HouseAgent
from salon.providers.loader import load_agent
from salon.providers.openai import OpenAIProvider
from salon.voice.tts.base import TextToSpeech

FIRST = "agent"
"""Channel id of the agent that answers without being called."""
TAKEN = frozenset({FIRST, "all", "voice", "websocket"})
"""Ids that no further agent may have."""
PROMPT = (
    "You take part in a conversation with one or more people, often by voice. Answer briefly, in "
    "one to three plain sentences without lists or formatting, and say so when you don't know."
)


@dataclass(frozen=True, slots=True)
class Answerer:
    """The agent of a server. `model` is an outside model it uses, to be closed with it."""

    provider: AIProvider
    info: AgentInfo
    system_prompt: str | None = None
    model: AIProvider | None = None

    async def start(self) -> None:
        if self.model is not None and self.model is not self.provider:
            await self.model.start()
        await self.provider.start()

    async def close(self) -> None:
        await self.provider.close()
        if self.model is not None and self.model is not self.provider:
            await self.model.close()


def choose_agent(settings: Settings) -> Answerer:
    """The agent the settings name; raises `ConfigurationError`."""
    model = None
    if settings.llm_base_url is not None and settings.llm_model is not None:
        model = OpenAIProvider(settings.llm_base_url, settings.llm_api_key, settings.llm_model)
    prompt = settings.llm_prompt or PROMPT
    if settings.agent is not None:
        provider = load_agent(settings.agent)
        if isinstance(provider, FunctionAgent):
            provider.use_language_model(model)
        about = str(getattr(provider, "description", "") or "Your agent.")
        name = settings.agent_name or provider.name
        return Answerer(provider, AgentInfo(name, about, provider.suggestions()), prompt, model)
    if model is not None:
        name = settings.agent_name or settings.llm_model or model.name
        return Answerer(
            model,
            AgentInfo(name, f"Answers come from the model {settings.llm_model}."),
            prompt,
            model,
        )
    house = HouseAgent.load(knowledge=settings.knowledge_dir)
    name = settings.agent_name or house.display_name
    return Answerer(house, AgentInfo(name, house.description, house.suggestions()))


def further_agents(settings: Settings, model: AIProvider | None = None) -> tuple[Answerer, ...]:
    """Those of SALON_MORE_AGENTS, who may ask `model`; raises `ConfigurationError`."""
    return tuple(_further(file, settings, model) for file in settings.more_agents)


def _further(file: Path, settings: Settings, model: AIProvider | None) -> Answerer:
    if not file.is_file():
        raise ConfigurationError(f"SALON_MORE_AGENTS={str(file)!r}: no such file")
    provider = load_agent(file)
    if isinstance(provider, FunctionAgent):
        provider.use_language_model(model)
    about = str(getattr(provider, "description", "") or "")
    info = AgentInfo(provider.name, about, provider.suggestions())
    return Answerer(provider, info, settings.llm_prompt or PROMPT)


def slug(name: str) -> str:
    """A name as a channel id: ``Anna Lee`` is ``anna-lee``."""
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")


class LeadingAgent(AIChannel):
    """Answers what nobody else is called for, and other agents only when they call it.

    `others` are the names and ids that the other agents of its rooms are called by.
    """

    def __init__(self, channel_id: str, *, others: Iterable[str], **options: Any) -> None:
        super().__init__(channel_id, **options)
        self._others = tuple(others)

    def _answers(self, event: RoomEvent) -> bool:
        if not super()._answers(event):
            return False
        text = words_of(event.content)
        if event.addressed_to is not None or is_called(text, (self.name, self.channel_id)):
            return True
        from_agent = event.source.channel_type is ChannelType.AI
        return not from_agent and not is_called(text, self._others)


def agent_channels(first: Answerer, more: Sequence[Answerer]) -> tuple[AIChannel, ...]:
    """One channel for each agent, the leading one first. `ConfigurationError` if two of them can't
    be told apart."""
    ids: dict[str, str] = {}
    for agent in more:
        name = agent.info.name
        made = slug(name)
        if not made or made in TAKEN:
            raise ConfigurationError(
                f"SALON_MORE_AGENTS: an agent can't be called {name!r}; give it another name="
            )
        if made in ids or made == slug(first.info.name):
            raise ConfigurationError(
                f"SALON_MORE_AGENTS: two agents are called {name!r}; give one another name="
            )
        ids[made] = name
    leading = LeadingAgent(
        FIRST,
        others=[*ids, *ids.values()],
        provider=first.provider,
        name=first.info.name,
        system_prompt=first.system_prompt,
    )
    return (
        leading,
        *(
            AIChannel(
                made,
                provider=agent.provider,
                name=agent.info.name,
                system_prompt=agent.system_prompt,
                respond="addressed",
            )
            for made, agent in zip(ids, more, strict=True)
        ),
    )


def voices_of(settings: Settings, channels: Sequence[AIChannel]) -> dict[str, str]:
    """SALON_AGENT_VOICES by channel id; `ConfigurationError` for a name that no agent has."""
    ids = {channel.name.casefold(): channel.channel_id for channel in channels}
    ids |= {channel.channel_id: channel.channel_id for channel in channels}
    found = {}
    for name, voice in settings.agent_voices:
        channel_id = ids.get(name.casefold())
        if channel_id is None:
            close = get_close_matches(name.casefold(), ids, n=1)
            known = {key: channel.name for channel in channels for key in _called(channel)}
            meant = f"did you mean {known[close[0]]}?" if close else ""
            there = ", ".join(channel.name for channel in channels)
            raise ConfigurationError(
                f"SALON_AGENT_VOICES={name}={voice}: no agent is called {name!r}; "
                f"{meant or f'there is {there}'}"
            )
        found[channel_id] = voice
    return found


def _called(channel: AIChannel) -> tuple[str, str]:
    return channel.name.casefold(), channel.channel_id


def hints_of(agents: Sequence[Answerer]) -> SpeechHints:
    """What a recogniser listens for where all of them are: what each of them understands, of the
    further ones with their names before it too. Without phrases of one of them, free speech."""
    first, *more = (agent.provider.speech_hints() for agent in agents)
    if not more:
        return first
    if not all(hints.phrases for hints in (first, *more)):
        return replace(NO_HINTS, language=first.language, key="")
    phrases = list(first.phrases)
    for agent, hints in zip(agents[1:], more, strict=True):
        name = agent.info.name
        phrases += [name, *hints.phrases, *(f"{name} {phrase}" for phrase in hints.phrases)]
    return SpeechHints(tuple(dict.fromkeys(phrases)), first.language)


class Agents:
    """All agents of a server. `ConfigurationError` for what the settings get wrong."""

    def __init__(self, settings: Settings) -> None:
        self.first = choose_agent(settings)
        more = further_agents(settings, self.first.model)
        self._all = (self.first, *more)
        self.channels = agent_channels(self.first, more)
        self.voices = voices_of(settings, self.channels)
        """Voices by channel id, where they have one of their own."""
        self._named = settings.agent_voices

    @property
    def channel_ids(self) -> tuple[str, ...]:
        """The leading one first."""
        return tuple(channel.channel_id for channel in self.channels)

    @property
    def info(self) -> AgentInfo:
        """The leading agent, with those who can be called."""
        info, more = self.first.info, self._all[1:]
        if not more:
            return info
        names = ", ".join(agent.info.name for agent in more)
        examples = (f"{item.info.name}, {said}" for item in more for said in item.info.suggestions)
        about = f"{info.description} Call by name: {names}.".strip()
        return replace(info, description=about, suggestions=(*info.suggestions, *examples))

    def speech_hints(self) -> SpeechHints:
        """As `hints_of`."""
        return hints_of(self._all)

    def services(self) -> tuple[Service, ...]:
        """Their beginnings and ends."""
        return tuple(
            Service(f"agent {agent.info.name}", agent.start, agent.close) for agent in self._all
        )

    def check_voices(self, engine: TextToSpeech | None) -> None:
        """`ConfigurationError` if the started `engine` lacks one of their voices."""
        for name, voice in self._named if engine is not None else ():
            refusal = None if engine is None else wrong_voice(voice, engine)
            if refusal is not None:
                reason = str(refusal).partition(": ")[2]
                raise ConfigurationError(f"SALON_AGENT_VOICES={name}={voice}: {reason}")
