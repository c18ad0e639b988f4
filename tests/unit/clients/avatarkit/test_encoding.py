"""Sound on its way out: long pieces let others run, and an interrupt in between is kept to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.clients.avatarkit import (
    AvatarSDKError,
    AvatarSession,
    OggOpusEncoderConfig,
    new_avatar_session,
)
from salon.clients.avatarkit.encoding import RequestEncoder, request_encoder
from salon.clients.avatarkit.proto.generated import message_pb2 as pb

SECOND = bytes(2 * 16_000)


class Sink:
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[pb.Message] = []

    async def send(self, data: bytes) -> None:
        message = pb.Message()
        message.ParseFromString(data)
        self.sent.append(message)

    async def close(self) -> None:
        pass


def connected(**settings: Any) -> tuple[AvatarSession, Sink]:
    session = new_avatar_session(
        audio_format="ogg_opus", ogg_opus_encoder=OggOpusEncoderConfig(), **settings
    )
    sink = Sink()
    session._connection = sink  # type: ignore[assignment]
    return session, sink


async def test_a_long_piece_is_the_same_as_a_short_one_after_another() -> None:
    session, _ = connected()
    settings = session.config.ogg_opus_encoder
    assert settings is not None
    whole = await RequestEncoder(session.config, settings).encode(SECOND * 2, True)
    coder = RequestEncoder(session.config, settings)
    pieces = [await coder.encode(SECOND, False), await coder.encode(SECOND, True)]
    assert len(whole[0]) == sum(len(payload) for payload, _ in pieces)
    assert whole[1] is None


async def test_others_run_while_a_long_piece_is_encoded() -> None:
    session, sink = connected()
    sending = asyncio.ensure_future(session.send_audio(SECOND * 3, end=True))
    turns = 0
    while not sending.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 8
    assert len(sink.sent) == 1


async def test_A57_an_interrupt_while_it_is_encoded_sends_nothing_of_it() -> None:
    told: list[str] = []
    session, sink = connected(on_encoded_audio=lambda req_id, data: told.append(req_id))
    sending = asyncio.ensure_future(session.send_audio(SECOND * 3, end=True))
    await asyncio.sleep(0)
    interrupted = await session.interrupt()
    assert await sending == interrupted
    assert [message.type for message in sink.sent] == [pb.MESSAGE_CLIENT_INTERRUPT]
    assert told == []
    after = await session.send_audio(SECOND, end=True)
    assert after != interrupted
    assert told == [after]


async def test_half_a_sample_at_the_end_of_a_long_piece_spoils_nothing() -> None:
    session, sink = connected()
    with pytest.raises(ValueError, match="16-bit aligned"):
        await session.send_audio(SECOND + b"\x00")
    await session.send_audio(b"", end=True)
    assert sink.sent[0].client_audio_input.audio == b""


async def test_sound_that_goes_as_it_is_needs_no_encoder() -> None:
    for settings in (
        {},
        {"audio_format": "ogg_opus"},
        {"ogg_opus_encoder": OggOpusEncoderConfig()},
    ):
        session = new_avatar_session(**settings)  # type: ignore[arg-type]
        assert request_encoder(session.config) is None


async def test_A96_a_send_that_is_cancelled_leaves_a_whole_stream() -> None:
    told: list[bytes] = []
    session, sink = connected(on_encoded_audio=lambda req_id, data: told.append(data))
    sending = asyncio.ensure_future(session.send_audio(SECOND * 3))
    for _ in range(3):
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert sink.sent == []
    await session.send_audio(SECOND)
    await session.send_audio(b"", end=True)
    assert b"".join(one.client_audio_input.audio for one in sink.sent) == told[0]
    assert told[0].startswith(b"OggS")


async def test_A47_a_session_that_ends_while_sound_is_encoded() -> None:
    session, sink = connected()
    sending = asyncio.ensure_future(session.send_audio(SECOND * 3, end=True))
    await asyncio.sleep(0)
    await session.close()
    with pytest.raises(AvatarSDKError) as caught:
        await sending
    assert (caught.value.code, caught.value.phase) == ("connectionClosed", "websocket_send")
    assert caught.value.req_id
    assert sink.sent == []
