"""Where fuzzing starts: well-formed exchanges, and the words to build others of.

The exchanges are the worked examples of the protocol (sections 22.1 to 22.3); those over SIP are
left out.
"""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.episodes import Step

from salon.gateway.commands import COMMAND_TYPES


def _say(slot: int, *commands: dict[str, Any]) -> list[Step]:
    return [["json", slot, command] for command in commands]


_OPTION = {"codec": "pcm", "vad": {}, "tts": {"provider": "mock"}}
_INVITE = {"command": "invite", "option": _OPTION}

ECHO: Final[list[Step]] = [
    ["connect", 0, "/call", "id=demo-1&dump=false"],
    *_say(
        0,
        _INVITE,
        {"command": "tts", "text": "Welcome. How can I help?", "playId": "g1"},
    ),
    ["talk", 0, 40],
    *_say(0, {"command": "interrupt"}),
    ["wait", 1000],
    *_say(0, {"command": "hangup", "reason": "done"}),
]
STREAMING: Final[list[Step]] = [
    ["connect", 0, "/ws", "id=t"],
    *_say(
        0,
        _INVITE,
        {
            "command": "tts",
            "text": "The weather is",
            "playId": "t7",
            "streaming": True,
            "waitInputTimeout": 800,
        },
        {"command": "tts", "text": " fine today.", "playId": "t7", "streaming": True},
        {"command": "tts", "text": "", "playId": "t7", "streaming": True, "endOfStream": True},
    ),
    ["wait", 3000],
]
WEBRTC: Final[list[Step]] = [
    ["connect", 0, "/webrtc", "id=rtc-1"],
    *_say(
        0,
        {
            "command": "addIceCandidate",
            "candidate": "candidate:1 1 udp 2122260223 192.0.2.7 51000 typ host",
            "sdpMid": "0",
            "sdpMLineIndex": 0,
        },
        {"command": "invite", "option": {"offer": "v=0\r\n", "vad": {}, "asr": {}, "tts": {}}},
        {"command": "play", "url": "a.wav", "playId": "p1"},
    ),
    ["wait", 1000],
    ["close", 0, 0],
]
BRIDGED: Final[list[Step]] = [
    ["connect", 0, "/ws", "id=a"],
    ["connect", 1, "/ws", "id=b"],
    *_say(0, {"command": "invite", "option": {"codec": "pcmu", "asr": {}}}),
    *_say(1, {"command": "invite", "option": {"codec": "pcm", "subscribe": True, "vad": {}}}),
    *_say(0, {"command": "bridge", "targetSessionId": "b"}),
    ["talk", 0, 20],
    *_say(1, {"command": "mute"}, {"command": "unmute", "trackId": "bridge:b:to:a"}),
    ["talk", 1, 20],
    *_say(0, {"command": "unbridge", "targetSessionId": "b"}),
    ["close", 1, 6],
]
ODDS: Final[list[Step]] = [
    ["connect", 0, "/ws", "ping=1"],
    ["tone", 0, 20],
    ["text", 0, '{"command":"invite","option":{"codec":"foo","vad":{"type":"nop"}}}'],
    ["text", 0, "{"],
    ["text", 0, "[]"],
    ["noise", 0, 641, 1],
    ["reading", 0, False],
    *_say(
        0,
        {"command": "ringing", "ringtone": "a.wav"},
        {"command": "play", "url": "broken.wav"},
        {"command": "tts", "text": "AAAA", "base64": True, "waitInputTimeout": 100},
        {"command": "play", "url": "a.wav", "offsetMs": 100, "autoHangup": True},
        {"command": "pause"},
        {"command": "resume"},
        {"command": "history", "speaker": "me", "text": "x"},
        {"command": "custom", "data": None},
        {"command": "candidate", "candidates": ["candidate:x", {"candidate": ""}]},
        {"command": "chat", "text": "hi"},
    ),
    ["wait", 500],
    ["reading", 0, True],
]
KNOWN: Final = tuple(
    step[2]
    for seed in (ECHO, STREAMING, WEBRTC, BRIDGED, ODDS)
    for step in seed
    if step[0] == "json"
)
"""Well-formed commands."""
SEEDS: Final = (ECHO, STREAMING, WEBRTC, BRIDGED, ODDS)

COMMANDS: Final = tuple(COMMAND_TYPES)
KEYS: Final = (
    "option", "reason", "code", "initiator", "headers", "refer", "text", "speaker", "playId",
    "autoHangup", "streaming", "endOfStream", "waitInputTimeout", "base64", "cacheKey", "url",
    "offsetMs", "graceful", "fadeOutMs", "caller", "callee", "options", "body", "contentType",
    "targetSessionId", "trackId", "data", "sender", "candidate", "sdpMid", "sdpMLineIndex",
    "candidates", "recorder", "earlyMedia", "ringtone", "codec", "vad", "asr", "tts", "offer",
    "subscribe", "denoise", "agc", "ambiance", "mediaPass", "eou", "handshakeTimeout",
    "inactivityTimeout", "extra", "provider", "speed", "volume", "type", "samplerate",
    "silencePadding", "speechPadding", "enabled", "path", "normalLevel", "enableIpv6",
    "recorderFile", "ptime",
)  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 0.5, 1e308, "", "a", "b", "a.wav",
    "broken.wav", "../../etc/passwd", "http://127.0.0.1/x", "server-side-track", "bridge:a:to:b",
    "AAAA", "pcm", "pcmu", "g722", "silero", "nop", "caller", "\u0000", "\ud800", "\u202e",
    "😀" * 10, "x" * 5000, [], [[]], {}, {"a": {}}, ["a", 1, None], "v=0\r\n",
    "candidate:1 1 udp 1 1.2.3.4 5",
)  # fmt: skip
QUERIES: Final = (
    "", "id=a", "id=b", "id=a&ping=1", "ping=x", "id=%2F..%2F..&dump=true", "handler=room",
    "handler=controller", "server_side_track=a&id=a", "serverSideTrackId=srv", "forward=true&id=q",
    "id=" + "x" * 300,
)  # fmt: skip
