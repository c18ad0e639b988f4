"""Floor 5: outside services and the house agent.

Names are loaded when they are asked for: an agent file needs no HTTP client. The decorator
``agent`` stands in the module of that name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.providers.agent import FunctionAgent
    from salon.providers.errors import AgentError, AIProviderError
    from salon.providers.loader import load_agent
    from salon.providers.mock import MockAIProvider
    from salon.providers.openai import OpenAIProvider
    from salon.providers.toolloop import run_with_tools
    from salon.providers.tools import Tool, ToolBox, tool
    from salon.providers.turn import AgentRoom, Message, Turn

_WHERE = {
    "AIProviderError": "errors",
    "AgentError": "errors",
    "FunctionAgent": "agent",
    "Message": "turn",
    "MockAIProvider": "mock",
    "OpenAIProvider": "openai",
    "AgentRoom": "turn",
    "Tool": "tools",
    "ToolBox": "tools",
    "Turn": "turn",
    "load_agent": "loader",
    "run_with_tools": "toolloop",
    "tool": "tools",
}

__all__ = [
    "AIProviderError",
    "AgentError",
    "AgentRoom",
    "FunctionAgent",
    "Message",
    "MockAIProvider",
    "OpenAIProvider",
    "Tool",
    "ToolBox",
    "Turn",
    "load_agent",
    "run_with_tools",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
