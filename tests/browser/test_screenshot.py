"""A picture of the page in use: a spoken turn behind it, the next answer being spoken."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.browser.conftest import Launch, OpenRoom

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
]

PICTURE = Path(__file__).parents[2] / "test-artifacts" / "page.png"
FIRST = "What are your opening hours?"
SECOND = "What is Salon?"
_PNG = b"\x89PNG\r\n\x1a\n"
_ALL_SHOWN = """() => {
  const answer = document.querySelector("#captions > [data-role=agent] p");
  return answer?.textContent.length > 40
    && document.getElementById("agent-speaking").dataset.on === "true"
    && !document.getElementById("latency").hidden;
}"""


async def test_a_picture_of_the_page_after_a_spoken_turn(launch: Launch, visit: OpenRoom) -> None:
    # the pause is the first answer and its delay; the second question follows it
    page = await visit(
        await launch(FIRST, 11_000, SECOND),
        viewport={"width": 1200, "height": 800},
        color_scheme="light",
        reduced_motion="reduce",
    )
    await page.talk()
    await page.count("agent", 1)
    await page.count("human", 2)
    await page.until(_ALL_SHOWN)
    PICTURE.parent.mkdir(exist_ok=True)
    picture = await page.page.screenshot(path=PICTURE)
    assert picture.startswith(_PNG)
    assert int.from_bytes(picture[16:20]) == 1200
    assert int.from_bytes(picture[20:24]) == 800
    assert len(picture) > 20_000, "an empty page"
    await page.hang_up()
    assert page.errors == []
