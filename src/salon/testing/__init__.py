"""Tools for testing what talks: virtual time, calls in memory, scripted engines, spoken fixtures.

Nothing here needs pytest but `salon.testing.fixtures`. Names are loaded when they are first asked
for: a stand-in needs neither gateway nor engines.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.providers.mock import MockAIProvider
    from salon.testing.calls import CallPair, CallRefusedError
    from salon.testing.clock import VirtualClock
    from salon.testing.engine import scripted_engine
    from salon.testing.house import ScriptedRooms, scripted_gateway, scripted_rooms
    from salon.testing.loop import (
        StalledError,
        VirtualTimeLoop,
        VirtualTimePolicy,
        run_virtual,
        virtual_time,
    )
    from salon.testing.network import Impairment, UdpRelay, udp_relay
    from salon.testing.sockets import MemorySocket, Received
    from salon.testing.speech import add_noise, silence, speak, tone
    from salon.testing.vad import EnergyVad, ScriptedVad
    from salon.voice.backends.mock import MockVoiceBackend
    from salon.voice.backends.pair import MemoryCaller, MemoryPath, MemoryVoiceBackend
    from salon.voice.stt.mock import MockSpeechToText
    from salon.voice.tts.mock import MockTextToSpeech

__all__ = [
    "CallPair",
    "CallRefusedError",
    "EnergyVad",
    "Impairment",
    "MemoryCaller",
    "MemoryPath",
    "MemorySocket",
    "MemoryVoiceBackend",
    "MockAIProvider",
    "MockSpeechToText",
    "MockTextToSpeech",
    "MockVoiceBackend",
    "Received",
    "ScriptedRooms",
    "ScriptedVad",
    "StalledError",
    "UdpRelay",
    "VirtualClock",
    "VirtualTimeLoop",
    "VirtualTimePolicy",
    "add_noise",
    "run_virtual",
    "scripted_engine",
    "scripted_gateway",
    "scripted_rooms",
    "silence",
    "speak",
    "tone",
    "udp_relay",
    "virtual_time",
]

_WHERE = {
    "CallPair": "salon.testing.calls",
    "CallRefusedError": "salon.testing.calls",
    "EnergyVad": "salon.testing.vad",
    "Impairment": "salon.testing.network",
    "MemoryCaller": "salon.voice.backends.pair",
    "MemoryPath": "salon.voice.backends.pair",
    "MemorySocket": "salon.testing.sockets",
    "MemoryVoiceBackend": "salon.voice.backends.pair",
    "MockAIProvider": "salon.providers.mock",
    "MockSpeechToText": "salon.voice.stt.mock",
    "MockTextToSpeech": "salon.voice.tts.mock",
    "MockVoiceBackend": "salon.voice.backends.mock",
    "Received": "salon.testing.sockets",
    "ScriptedRooms": "salon.testing.house",
    "ScriptedVad": "salon.testing.vad",
    "StalledError": "salon.testing.loop",
    "UdpRelay": "salon.testing.network",
    "VirtualClock": "salon.testing.clock",
    "VirtualTimeLoop": "salon.testing.loop",
    "VirtualTimePolicy": "salon.testing.loop",
    "add_noise": "salon.testing.speech",
    "run_virtual": "salon.testing.loop",
    "scripted_engine": "salon.testing.engine",
    "scripted_gateway": "salon.testing.house",
    "scripted_rooms": "salon.testing.house",
    "silence": "salon.testing.speech",
    "speak": "salon.testing.speech",
    "tone": "salon.testing.speech",
    "udp_relay": "salon.testing.network",
    "virtual_time": "salon.testing.loop",
}


def __getattr__(name: str) -> Any:
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'salon.testing' has no attribute {name!r}")
    value = getattr(import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
