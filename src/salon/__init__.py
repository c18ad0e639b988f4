"""Live conversation between people and AI agents.

Public names are loaded when they are first asked for: ``import salon`` itself costs next to
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.base import SalonError
    from salon.channels.ai import AIChannel
    from salon.channels.voice import VoiceChannel
    from salon.channels.websocket import WebSocketChannel
    from salon.core import RoomKit
    from salon.media import AudioFrame
    from salon.models import (
        HookResult,
        HookTrigger,
        InboundMessage,
        RoomContext,
        RoomEvent,
        TextContent,
    )
    from salon.providers.agent import FunctionAgent, agent
    from salon.providers.house import HouseAgent
    from salon.providers.loader import load_agent
    from salon.providers.openai import OpenAIProvider
    from salon.providers.tools import ToolBox, tool
    from salon.providers.turn import Room, Turn
    from salon.voice.backends import FastRTCVoiceBackend, VoiceBackend, WebRTCVoiceBackend

_WHERE = {
    "AIChannel": "salon.channels.ai",
    "AudioFrame": "salon.media",
    "FastRTCVoiceBackend": "salon.voice.backends",
    "FunctionAgent": "salon.providers.agent",
    "HookResult": "salon.models",
    "HookTrigger": "salon.models",
    "HouseAgent": "salon.providers.house",
    "InboundMessage": "salon.models",
    "OpenAIProvider": "salon.providers.openai",
    "Room": "salon.providers.turn",
    "RoomContext": "salon.models",
    "RoomEvent": "salon.models",
    "RoomKit": "salon.core",
    "SalonError": "salon.base",
    "TextContent": "salon.models",
    "ToolBox": "salon.providers.tools",
    "Turn": "salon.providers.turn",
    "VoiceBackend": "salon.voice.backends",
    "VoiceChannel": "salon.channels.voice",
    "WebRTCVoiceBackend": "salon.voice.backends",
    "WebSocketChannel": "salon.channels.websocket",
    "agent": "salon.providers.agent",
    "load_agent": "salon.providers.loader",
    "tool": "salon.providers.tools",
}

__all__ = [
    "AIChannel",
    "AudioFrame",
    "FastRTCVoiceBackend",
    "FunctionAgent",
    "HookResult",
    "HookTrigger",
    "HouseAgent",
    "InboundMessage",
    "OpenAIProvider",
    "Room",
    "RoomContext",
    "RoomEvent",
    "RoomKit",
    "SalonError",
    "TextContent",
    "ToolBox",
    "Turn",
    "VoiceBackend",
    "VoiceChannel",
    "WebRTCVoiceBackend",
    "WebSocketChannel",
    "agent",
    "load_agent",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("salon")
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'salon' has no attribute {name!r}")
    value = getattr(import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
