"""Tools for testing what talks: virtual time, calls in memory, scripted engines, spoken fixtures.

Nothing here needs pytest but `salon.testing.fixtures`.
"""

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
