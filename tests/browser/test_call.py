"""Around a call: muting, hanging up, typing meanwhile, keys, downloads."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Locator
from tests.browser.conftest import Launch, OpenRoom
from tests.browser.hearing import content_words, loud_ms, received_sound
from tests.browser.microphone import LEAD_MS
from tests.browser.room_page import WAYS, RoomPage
from tests.integration.conftest import until

from salon.media import rms_dbfs
from salon.testing.server import ServerProcess
from salon.testing.speech import speak

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FRAMES_PER_S = 50
MUTED = "What are your opening hours?"
HEARD = "What is Salon?"


@pytest.mark.slow
@pytest.mark.parametrize("audio", WAYS)
async def test_nothing_is_heard_while_muted(launch: Launch, visit: OpenRoom, audio: str) -> None:
    page = await visit(await launch(4_000, MUTED, 6_000, HEARD), audio=audio)
    await page.watch()
    await page.talk()
    mute = page.element("mute")
    await mute.click()
    assert await mute.get_attribute("aria-pressed") == "true"
    # the file began before the call, so by this frame the first sentence is over
    spoken_s = len(speak(MUTED)) / 16_000
    await page.frames_sent(int(FRAMES_PER_S * (LEAD_MS / 1000 + 4 + spoken_s + 0.5)))
    assert not any(moment.person for moment in await page.seen())
    await mute.click()
    assert await mute.get_attribute("aria-pressed") == "false"
    entries = await page.count("human", 1)
    assert [entry.role for entry in entries[:2]] in (["human"], ["human", "agent"])
    words = content_words(entries[0].text)
    assert words
    assert not words & (content_words(MUTED) - content_words(HEARD))
    assert page.errors == []


async def test_hanging_up_frees_the_line(visit: OpenRoom, server: ServerProcess) -> None:
    page = await visit()
    await until(lambda: server.get("/health")["calls"] == 0, "the end of earlier calls")
    await page.talk()
    assert server.get("/health")["calls"] == 1
    assert await page.element("talk-label").inner_text() == "Hang up"
    await page.hang_up()
    assert await page.element("talk-label").inner_text() == "Talk"
    assert await page.element("mute").is_disabled()
    assert await page.element("interrupt").is_disabled()
    assert await page.element("error").is_hidden()
    await page.until("async () => (await (await fetch('/list')).json()).active_calls.length === 0")
    await page.talk()
    await page.hang_up()
    assert page.errors == []


async def test_typing_without_a_call_gets_an_answer(visit: OpenRoom) -> None:
    page = await visit()
    await page.say("What is Salon?")
    question, answer = await page.count("agent", 1)
    assert (question.role, question.name, question.text) == ("human", "You", "What is Salon?")
    assert "Salon is one system" in answer.text
    assert (await page.stats())["framesReceived"] == 0
    assert await page.element("message").input_value() == ""
    assert page.errors == []


async def test_typing_during_a_call_is_answered_aloud(visit: OpenRoom) -> None:
    page = await visit()
    await page.talk()
    await page.say("Are you human?")
    await page.agent_speaks()
    answer = (await page.count("agent", 1))[-1]
    assert "human" in answer.text
    await page.agent_speaks(False)
    assert loud_ms(await received_sound(page)) > 1_000
    assert page.errors == []


async def test_suggestions_can_be_pressed(visit: OpenRoom) -> None:
    page = await visit()
    chip = page.page.locator("#suggestions button").first
    words = await chip.inner_text()
    await chip.click()
    question, answer = await page.count("agent", 1)
    assert question.text == words
    assert answer.text


async def test_everything_works_with_keys_alone(visit: OpenRoom) -> None:
    page = await visit()
    keyboard = page.page.keyboard
    await _tab_to(page, "talk")
    await keyboard.press("Enter")
    await page.status("In a call")
    await _tab_to(page, "message")
    await keyboard.type("What is Salon?")
    await keyboard.press("Enter")
    await page.agent_speaks()
    await keyboard.press("Escape")
    await page.agent_speaks(False)
    await keyboard.press("Alt+KeyM")
    assert await page.element("mute").get_attribute("aria-pressed") == "true"
    await keyboard.press("Alt+KeyM")
    assert await page.element("mute").get_attribute("aria-pressed") == "false"
    await keyboard.press("Alt+KeyT")
    await page.status("Connected")
    await keyboard.press("Alt+KeyT")
    await page.status("In a call")
    await keyboard.press("Alt+KeyT")
    await page.status("Connected")
    assert page.errors == []


async def _tab_to(page: RoomPage, element_id: str) -> None:
    for _ in range(40):
        if await page.page.evaluate("document.activeElement?.id") == element_id:
            return
        await page.page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches #{element_id}")


async def test_transcript_and_recording_can_be_downloaded(
    launch: Launch, visit: OpenRoom, tmp_path: Path
) -> None:
    page = await visit(await launch("What are your opening hours?"))
    await page.call_me("Ann")
    await page.talk()
    await page.agent_speaks()
    entries = await page.count("agent", 1)
    await page.agent_speaks(False)
    await page.hang_up()
    link = page.page.locator("#downloads a", has_text="Recording of")
    await link.wait_for()
    transcript = await _download(page, page.element("transcript"), tmp_path / "transcript.txt")
    text = transcript.read_text()
    for entry in entries:
        assert f"{'Ann' if entry.role == 'human' else entry.name}: {entry.text}" in text
    recording = await _download(page, link, tmp_path / "recording.wav")
    with wave.open(str(recording), "rb") as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (2, 2)
        rate = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2").reshape(-1, 2)
    assert len(samples) > 5 * rate
    for channel, who in enumerate(("what was heard", "what was said")):
        level = rms_dbfs(samples[:, channel].astype(np.int16))
        assert level > -50, f"{who} is silent: {level:.0f} dBFS"
    assert page.errors == []


async def _download(page: RoomPage, link: Locator, path: Path) -> Path:
    async with page.page.expect_download() as started:
        await link.click()
    await (await started.value).save_as(path)
    return path
