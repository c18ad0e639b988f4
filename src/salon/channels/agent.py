"""An agent with an identity (R223)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salon.channels.ai import AIChannel
from salon.core.ports.ai import AIProvider


class Agent(AIChannel):
    """An `AIChannel` that knows who it is; several may share a room.

    `role`, `description`, `scope` and `language` say who answers, and join the system prompt unless
    `identity_in_prompt` is off. `voice` is how it sounds where it is spoken, `greeting` what it
    says first, and `auto_greet` whether it does so unasked: these are for whoever speaks for it.
    Without a `provider` it is a description only, and answers nothing. The other options are those
    of `AIChannel`.
    """

    needs_provider = False

    def __init__(
        self,
        channel_id: str,
        *,
        provider: AIProvider | None = None,
        name: str | None = None,
        role: str | None = None,
        description: str | None = None,
        scope: str | None = None,
        voice: str | None = None,
        greeting: str | None = None,
        language: str | None = None,
        auto_greet: bool = True,
        identity_in_prompt: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(channel_id, provider, name=name, **options)
        self.role = role
        self.description = description
        self.scope = scope
        self.voice = voice
        self.greeting = greeting
        self.language = language
        self.auto_greet = auto_greet
        self._named = name
        self._identity_in_prompt = identity_in_prompt

    @property
    def is_config_only(self) -> bool:
        """Nobody answers for it here."""
        return self._provider is None

    @property
    def info(self) -> dict[str, Any]:
        facts = {
            "role": self.role,
            "description": self.description,
            "scope": self.scope,
            "voice": self.voice,
            "language": self.language,
        }
        return super().info | {key: value for key, value in facts.items() if value}

    def build_identity_block(self, language: str | None = None) -> str | None:
        """Who it is, for a system prompt; None if nothing is known. `language` replaces its own."""
        tongue = language or self.language
        lines = {
            "Name": self._named,
            "Role": self.role,
            "Description": self.description,
            "Scope": self.scope,
            "Language": f"always answer in {tongue}" if tongue else None,
        }
        known = [f"{label}: {text}" for label, text in lines.items() if text]
        return "\n".join(["Who you are:", *known]) if known else None

    def _prompt(self, own: Mapping[str, Any]) -> str | None:
        identity = None
        if self._identity_in_prompt:
            identity = self.build_identity_block(own.get("language"))
        return "\n\n".join(filter(None, (super()._prompt(own), identity))) or None
