"""Send one clip to an avatar service and keep its animation.

    python examples/avatarkit/one_clip.py --wav hello.wav --out hello.frames

Without --wav it murmurs. The file has, for each message, its length (4 bytes, big-endian) and the
message as it came.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service import murmur, parser_for, session_settings, wav_sound

from salon.clients.avatarkit import (
    AnimationCollector,
    AudioFormat,
    AvatarSDKError,
    OggOpusEncoderConfig,
    new_avatar_session,
)

OPUS = {"audio_format": AudioFormat.OGG_OPUS, "ogg_opus_encoder": OggOpusEncoderConfig()}


def write(path: str, messages: list[bytes]) -> None:
    framed = (struct.pack(">I", len(data)) + data for data in messages)
    Path(path).write_bytes(b"".join(framed))


async def run(options: argparse.Namespace) -> None:
    sound, rate = wav_sound(options.wav) if options.wav else (murmur(3.0, 24_000), 24_000)
    collector = AnimationCollector()
    session = new_avatar_session(
        **session_settings(options),
        **(OPUS if options.opus else {}),
        expire_at=datetime.now(UTC) + timedelta(minutes=5),
        sample_rate=rate,
        transport_frames=collector.transport_frame,
        on_error=collector.on_error,
        on_close=collector.on_close,
    )
    await session.init()
    print("connection", await session.start())
    try:
        req_id = await session.send_audio(sound, end=True)
        await collector.wait(options.timeout)
    finally:
        await session.close()
    print(f"request {req_id}: {len(collector.frames)} messages, {collector.size} bytes")
    if options.out:
        await asyncio.to_thread(write, options.out, collector.frames)
        print("wrote", options.out)


def main() -> None:
    parser = parser_for("one clip")
    parser.add_argument("--wav", help="mono, 16 bit")
    parser.add_argument("--opus", action="store_true", help="send Ogg Opus, not PCM")
    parser.add_argument("--out", help="where the messages go")
    parser.add_argument("--timeout", type=float, default=45.0, help="seconds")
    try:
        asyncio.run(run(parser.parse_args()))
    except (AvatarSDKError, OSError, ValueError) as error:
        raise SystemExit(f"no animation: {str(error) or 'it did not come in time'}") from error


if __name__ == "__main__":
    main()
