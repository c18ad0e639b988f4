"""Text that comes in pieces, slowly: G75."""

from __future__ import annotations

import asyncio

from salon.gateway.spoken_text import FLUSH_S, SpokenText


async def test_G75_a_sentence_whose_pieces_keep_coming_stays_whole() -> None:
    said: list[str] = []
    text = SpokenText(said.append)
    for piece in ("Two ", "thirds ", "of ", "it "):
        text.feed(piece)
        await asyncio.sleep(FLUSH_S * 0.6)
    assert not said
    await asyncio.sleep(FLUSH_S)
    assert [one.strip() for one in said] == ["Two thirds of it"]


async def test_G75_a_piece_that_ends_a_sentence_is_said_once() -> None:
    said: list[str] = []
    text = SpokenText(said.append)
    text.feed("That is all there is to say.")
    text.flush()
    await asyncio.sleep(2 * FLUSH_S)
    assert [one.strip() for one in said] == ["That is all there is to say."]
