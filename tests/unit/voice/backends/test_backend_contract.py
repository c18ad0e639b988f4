"""Every backend keeps the contract of `VoiceBackend`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.unit.voice.backends.benches import (
    MemoryBench,
    MockBench,
    RTPBench,
    WebRTCBench,
    WebSocketBench,
)

from salon.testing import VirtualTimePolicy
from salon.testing.contracts.voice_backend import VoiceBackendBench, VoiceBackendContract
from salon.voice.backends.pair import MemoryPath


class TestMock(VoiceBackendContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[VoiceBackendBench]:
        bench = MockBench()
        yield bench
        await bench.close()


class TestMemory(VoiceBackendContract):
    @pytest.fixture
    def event_loop_policy(self) -> VirtualTimePolicy:
        return VirtualTimePolicy()

    @pytest.fixture
    async def bench(self) -> AsyncIterator[VoiceBackendBench]:
        bench = MemoryBench()
        yield bench
        await bench.close()


class TestDistantMemory(TestMemory):
    """With a path that takes its time."""

    @pytest.fixture
    async def bench(self) -> AsyncIterator[VoiceBackendBench]:
        path = MemoryPath(latency_ms=80, jitter_ms=60, loss=0.01)
        bench = MemoryBench(to_backend=path, from_backend=path, input_sample_rate=8_000)
        yield bench
        await bench.close()


class TestWebSocket(VoiceBackendContract):
    @pytest.fixture
    def event_loop_policy(self) -> VirtualTimePolicy:
        return VirtualTimePolicy()

    @pytest.fixture
    async def bench(self) -> AsyncIterator[VoiceBackendBench]:
        bench = WebSocketBench()
        yield bench
        await bench.close()


class TestRTP(VoiceBackendContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[VoiceBackendBench]:
        bench = RTPBench()
        yield bench
        await bench.close()


class TestWebRTC(VoiceBackendContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[VoiceBackendBench]:
        bench = WebRTCBench()
        yield bench
        await bench.close()
