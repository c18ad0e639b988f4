"""Who answers: the user's file, a language model, or the house agent."""

from __future__ import annotations

from dataclasses import dataclass

from salon.app.house import AgentInfo
from salon.app.settings import Settings
from salon.core.ports.ai import AIProvider
from salon.providers.agent import FunctionAgent
from salon.providers.house import HouseAgent
from salon.providers.loader import load_agent
from salon.providers.openai import OpenAIProvider

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
