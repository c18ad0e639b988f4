"""What loading the client needs: no numpy, and no quarrel with another schema of the protocol."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_a_session_without_opus_needs_no_numpy() -> None:
    program = (
        "import sys; sys.modules['numpy'] = None; import salon.clients.avatarkit as a; "
        "a.new_avatar_session(); print('numpy' in sys.modules and sys.modules['numpy'])"
    )
    assert run(program) == "None"


def test_opus_without_numpy_says_what_to_install() -> None:
    program = """
import sys, asyncio
sys.modules['numpy'] = None
from salon.clients.avatarkit import OggOpusEncoderConfig, new_avatar_session
session = new_avatar_session(audio_format='ogg_opus', ogg_opus_encoder=OggOpusEncoderConfig())
session._connection = object()
try:
    asyncio.run(session.send_audio(b'', end=True))
except RuntimeError as error:
    print(error)
"""
    assert "avatarkit[opus]" in run(program)


@pytest.mark.parametrize("name", ["aiohttp", "google.protobuf", "websockets"])
def test_without_a_library_the_extra_is_named(name: str) -> None:
    program = f"""
import sys
sys.modules[{name!r}] = None
from salon.base import MissingExtraError
try:
    import salon.clients.avatarkit
except MissingExtraError as error:
    print(error.extra)
"""
    assert run(program) == "avatarkit"


def test_a_schema_with_the_protocols_own_names_loads_beside_it() -> None:
    program = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
other = descriptor_pb2.FileDescriptorProto(name='message.proto', package='message', syntax='proto3')
other.message_type.add(name='Message')
descriptor_pool.Default().Add(other)
from salon.clients.avatarkit.proto.generated import animation_pb2, message_pb2
print(message_pb2.Message(type=7).SerializeToString().hex())
"""
    assert run(program) == "0807"
