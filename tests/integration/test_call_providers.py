"""Speech services that a call brings the keys of, over their real protocols."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.integration.deepgram_service import KEY, DeepgramService, deepgram_service
from tests.integration.hearing import heard

from salon.base import SYSTEM_CLOCK, UrlPolicy
from salon.gateway import Gateway
from salon.gateway.ears import Ears
from salon.gateway.providers import Providers
from salon.gateway.voices import Voices
from salon.testing import CallPair, scripted_engine, scripted_gateway
from salon.testing.speech import silence, speak

ASKED = "please tell me the code word"
OTHER = "i would like a cup of coffee"


@pytest.fixture
async def service() -> AsyncIterator[DeepgramService]:
    async with deepgram_service(ASKED, OTHER) as service:
        yield service


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    providers = Providers(policy=UrlPolicy(allow_private=True), environ=dict)
    async with (
        scripted_engine(clock=SYSTEM_CLOCK) as engine,
        scripted_gateway(
            engine, voices=Voices(engine, providers), ears=Ears(engine, providers)
        ) as gateway,
    ):
        yield gateway
        await providers.close()


async def test_G294_a_call_speaks_and_listens_with_keys_of_its_own(
    service: DeepgramService, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "salon")
    account = {"provider": "deepgram", "secretKey": KEY, "endpoint": service.url}
    call = CallPair.connect(gateway.acceptor)
    await call.invite(tts={**account, "model": "aura-2-zeus-en"}, asr=account)
    call.send({"command": "tts", "text": OTHER, "playId": "p"})
    await call.expect("trackEnd", playId="p")
    assert heard(call.sound, (ASKED, OTHER)) == OTHER
    await call.send_audio(np.concatenate((silence(300), speak(ASKED), silence(1500))))
    assert (await call.expect("asrFinal", timeout=20))["text"] == ASKED
    assert not call.of("error")
    keys = [event["key"] for event in call.of("metrics")]
    assert keys[0] == "completed.tts.deepgram"
    assert keys[-1] == "completed.asr.deepgram"
    models = {path: asked["model"] for path, asked in service.requests}
    assert models == {"/v1/speak": ["aura-2-zeus-en"], "/v1/listen": ["nova-3"]}
    assert KEY not in str(call.events) + str(list(gateway.list_calls())) + caplog.text


async def test_G294_a_key_the_service_refuses_is_told_without_it(
    service: DeepgramService, gateway: Gateway
) -> None:
    wrong = "f" * 20 + "0" * 20
    account = {"provider": "deepgram", "secretKey": wrong, "endpoint": service.url}
    call = CallPair.connect(gateway.acceptor)
    await call.invite(tts=account, asr=account)
    call.send({"command": "tts", "text": OTHER, "playId": "p"})
    await call.expect("trackEnd", playId="p")
    assert [(error["sender"], error["code"]) for error in call.of("error")] == [("tts", 500)]
    await call.send_audio(np.concatenate((silence(300), speak(ASKED), silence(1500))))
    async with asyncio.timeout(20):
        while len(call.of("error")) < 2:
            await asyncio.sleep(0.05)
    assert wrong not in str(call.events)


async def test_G290_a_call_hears_what_came_packed(
    service: DeepgramService, gateway: Gateway
) -> None:
    account = {"provider": "deepgram", "secretKey": KEY, "endpoint": service.url}
    call = CallPair.connect(gateway.acceptor)
    await call.invite(tts={**account, "codec": "pcmu", "maxConcurrentTasks": 2})
    for text in (OTHER, ASKED):
        call.send({"command": "tts", "text": text, "playId": "p"})
    await call.expect("trackEnd", playId="p", timeout=20)
    assert not call.of("error")
    assert {tuple(asked["encoding"]) for _, asked in service.requests} == {("mulaw",)}
    metrics = call.of("metrics", key="completed.tts.deepgram")
    first = metrics[0]["data"]["length"] // 2
    assert heard(call.sound[:first], (ASKED, OTHER)) == OTHER
    assert heard(call.sound[first:], (ASKED, OTHER)) == ASKED
