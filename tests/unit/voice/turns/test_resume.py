"""Cuts that were none."""

from __future__ import annotations

from salon.voice.turns import FalseInterruption, Resume


def test_a_cut_without_words_is_undone_once() -> None:
    cut = FalseInterruption(600)
    cut.interrupted(1000)
    assert cut.tick(5000) == ()
    cut.speech_ended(5000)
    assert cut.due_ms == 5600
    assert cut.tick(5599) == ()
    assert cut.tick(5600) == (Resume(4600),)
    assert (cut.waiting, cut.tick(9000)) == (False, ())


def test_words_make_it_a_cut() -> None:
    cut = FalseInterruption(600)
    cut.interrupted(1000)
    cut.words(" ")
    kept = cut.waiting
    cut.words("stop")
    assert kept
    cut.speech_ended(2000)
    assert (cut.waiting, cut.tick(9000)) == (False, ())


def test_more_speech_starts_the_wait_again() -> None:
    cut = FalseInterruption(600)
    cut.interrupted(1000)
    cut.speech_ended(1200)
    cut.speech_started(1700)
    assert cut.tick(2500) == ()
    cut.speech_ended(2500)
    assert cut.tick(3099) == ()
    assert cut.tick(3100) == (Resume(2100),)


def test_off_it_never_resumes() -> None:
    cut = FalseInterruption(None)
    cut.interrupted(1000)
    cut.speech_ended(1200)
    assert (cut.waiting, cut.due_ms, cut.tick(9999)) == (False, None, ())
