"""What every implementation of a port must hold, as test classes to inherit.

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self):
            store = MyStore()
            await store.open()
            yield store
            await store.close()

Needs pytest and pytest-asyncio with ``asyncio_mode = auto``.
"""

from __future__ import annotations

import pytest

for _name in (
    *("calls", "changes", "events", "identity", "locks", "members", "people", "realtime"),
    *("rooms", "routing", "search", "timeline"),
    *("voice_aec", "voice_agc", "voice_backchannel", "voice_backend", "voice_denoiser"),
    *("voice_detector", "voice_diarization", "voice_dtmf", "voice_postprocessor"),
    *("voice_recorder", "voice_resampler", "voice_sound_stage", "voice_stt", "voice_tts"),
    *("voice_turn", "voice_vad"),
):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")

from salon.testing.contracts.calls import CallLogContract  # noqa: E402 - registered first
from salon.testing.contracts.identity import IdentityResolverContract  # noqa: E402
from salon.testing.contracts.locks import LockManagerContract  # noqa: E402
from salon.testing.contracts.realtime import RealtimeContract  # noqa: E402
from salon.testing.contracts.routing import RouterContract  # noqa: E402
from salon.testing.contracts.store import StoreContract  # noqa: E402

__all__ = [
    "CallLogContract",
    "IdentityResolverContract",
    "LockManagerContract",
    "RealtimeContract",
    "RouterContract",
    "StoreContract",
]
