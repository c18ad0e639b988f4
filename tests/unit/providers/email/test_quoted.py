"""Words apart from quotes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.providers.email.quoted import split_reply


@pytest.mark.parametrize(
    ("text", "words", "quoted"),
    [
        ("Only words", "Only words", ""),
        (
            "Yes.\n\nOn Mon, 1 Jan 2024, Ann <a@e.org> wrote:\n> No?\n> Yes?",
            "Yes.",
            "On Mon, 1 Jan 2024, Ann <a@e.org> wrote:\n> No?\n> Yes?",
        ),
        (
            "Yes.\n\nOn Mon, 1 Jan 2024 at 10:00, Ann Anderson\n<a@e.org> wrote:\n\n> No?",
            "Yes.",
            "On Mon, 1 Jan 2024 at 10:00, Ann Anderson\n<a@e.org> wrote:\n\n> No?",
        ),
        (
            "Ja\n\nAm 1.1.2024 um 10:00 schrieb Ann:\n> Nein?",
            "Ja",
            "Am 1.1.2024 um 10:00 schrieb Ann:\n> Nein?",
        ),
        (
            "Yes\n-----Original Message-----\nFrom: Ann\n\nNo?",
            "Yes",
            "-----Original Message-----\nFrom: Ann\n\nNo?",
        ),
        (
            "Yes\n\nFrom: Ann\nSent: Monday\nTo: Bob\n\nNo?",
            "Yes",
            "From: Ann\nSent: Monday\nTo: Bob\n\nNo?",
        ),
        ("From: here it goes well\nReally", "From: here it goes well\nReally", ""),
        ("Yes\n> No?\n>> Sure?\n", "Yes", "> No?\n>> Sure?"),
        ("> No?\nAnswer in between", "> No?\nAnswer in between", ""),
        (
            "Hi\nOn Monday, Ann wrote:\n> One?\nYes\n> Two?\nNo",
            "Hi\nOn Monday, Ann wrote:\n> One?\nYes\n> Two?\nNo",
            "",
        ),
        ("> only a quote", "> only a quote", ""),
        ("On Monday Ann wrote:\nforwarded words", "On Monday Ann wrote:\nforwarded words", ""),
        ("", "", ""),
    ],
)
def test_split(text: str, words: str, quoted: str) -> None:
    assert split_reply(text) == (words, quoted)


@given(st.text(alphabet="> \nOn:wrote-_From\r", max_size=300))
def test_nothing_is_lost(text: str) -> None:
    words, quoted = split_reply(text)
    assert "".join((words + quoted).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "piece", ["On ", "On \n", "wrote:", ">\n", "On x wrote:\n> a\nb\n", "__", "--"]
)
def test_long_texts_take_little_time(piece: str) -> None:
    began = time.process_time()
    split_reply(piece * (65_536 // len(piece)))
    assert time.process_time() - began < 5.0
