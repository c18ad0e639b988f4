"""Answers nobody has heard yet, and callers who go on (V243)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from salon.voice.turns import Hold, Release, Supersede, UnheardAnswer
from salon.voice.turns.unheard import MAX_TURNS, Listening


def waiting() -> UnheardAnswer[str]:
    """The answer to "a" is being prepared."""
    unheard: UnheardAnswer[str] = UnheardAnswer()
    unheard.speech_started(0)
    unheard.speech_ended(500, 500)
    assert unheard.words("hello", 600) == ()
    assert unheard.routed("a", 600) == ()
    return unheard


def test_V243_speech_holds_the_answer_and_its_words_supersede_it() -> None:
    unheard = waiting()
    assert unheard.speech_started(700) == (Hold("a"),)
    assert unheard.held == ("a",)
    assert unheard.speech_ended(1100, 300) == ()
    assert unheard.words("and the weather", 1200) == (Supersede("a"),)
    assert unheard.routed("b", 1200) == ()
    assert not unheard.is_unheard("a")
    assert unheard.is_unheard("b")


def test_V243_brief_speech_lets_it_play() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    assert unheard.speech_ended(999, 299) == (Release("a"),)
    assert unheard.words("uh", 1100) == ()


def test_V243_speech_without_words_lets_it_play() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    unheard.speech_ended(1100, 400)
    assert unheard.no_words(1200) == (Release("a"),)
    unheard.speech_started(1300)
    unheard.speech_ended(1700, 400)
    assert unheard.words(" ", 1800) == (Release("a"),)


def test_words_that_never_come_are_not_waited_for() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    unheard.speech_ended(1100, 400)
    assert unheard.due_ms == 3100
    assert unheard.tick(3099) == ()
    assert unheard.tick(3100) == (Release("a"),)
    assert unheard.due_ms is None


def test_what_is_heard_is_interrupted_not_superseded() -> None:
    unheard = waiting()
    assert unheard.first_audio("a", 650) == ()
    assert unheard.speech_started(700) == ()
    unheard.speech_ended(1100, 400)
    assert unheard.words("stop", 1200) == ()


def test_V243_only_when_nothing_else_is_audible() -> None:
    unheard = waiting()
    assert unheard.speech_started(700, audible=True) == ()
    unheard = waiting()
    unheard.first_audio("a", 650)
    unheard.routed("b", 660)
    assert unheard.speech_started(700) == ()
    unheard.speech_ended(1100, 400)
    unheard.no_words(1150)
    unheard.answer_over("a")
    assert unheard.speech_started(1200) == (Hold("b"),)


def test_a_turn_routed_while_the_caller_speaks_is_held() -> None:
    unheard: UnheardAnswer[int] = UnheardAnswer()
    unheard.speech_started(0)
    assert unheard.routed(1, 100) == (Hold(1),)
    unheard.speech_ended(400, 400)
    assert unheard.routed(2, 450) == (Hold(2),)
    assert unheard.words("more", 500) == (Supersede(1), Supersede(2))


def test_with_a_gate_the_answer_stays_held_until_the_words_are_routed() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    unheard.speech_ended(1100, 400)
    assert unheard.words("and", 1200, routed=False) == ()
    assert unheard.due_ms is None
    assert unheard.speech_started(1300) == ()
    assert unheard.speech_ended(1350, 50) == ()
    assert unheard.no_words(1400) == ()
    assert unheard.tick(9000) == ()
    assert unheard.words("and", 9000) == (Supersede("a"),)


def test_what_the_gate_forgets_lets_the_answer_play() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    unheard.speech_ended(1100, 400)
    unheard.words("and", 1200, routed=False)
    assert unheard.cancel(1300) == (Release("a"),)


def test_words_of_the_speech_before_supersede_while_more_is_said() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    unheard.speech_ended(1100, 400)
    unheard.speech_started(1150)
    assert unheard.words("and the weather", 1200) == (Supersede("a"),)
    assert unheard.routed("b", 1200) == (Hold("b"),)
    assert unheard.speech_ended(1300, 150) == (Release("b"),)


def test_words_of_speech_that_lasts_do_not_supersede_yet() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    assert unheard.words("and", 800) == ()
    assert unheard.held == ("a",)


def test_an_answer_that_is_over_is_forgotten() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    unheard.answer_over("a")
    unheard.speech_ended(1100, 400)
    assert unheard.words("hello?", 1200) == ()


def test_an_answer_that_slips_out_is_released() -> None:
    unheard = waiting()
    unheard.speech_started(700)
    assert unheard.first_audio("a", 710) == (Release("a"),)


def test_what_ends_without_having_begun_is_nothing() -> None:
    unheard = waiting()
    assert unheard.speech_ended(700, 500) == ()
    assert unheard.no_words(800) == ()
    assert unheard.words("", 900) == ()


def test_what_is_kept_track_of_is_bounded() -> None:
    unheard: UnheardAnswer[int] = UnheardAnswer()
    unheard.speech_started(0)
    for turn in range(MAX_TURNS):
        assert unheard.routed(turn, 10) == (Hold(turn),)
    assert unheard.routed(MAX_TURNS, 20) == (Release(0), Hold(MAX_TURNS))
    for turn in range(2 * MAX_TURNS):
        unheard.first_audio(turn, 30)
    assert len(unheard._audible) == MAX_TURNS


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["route", "audio", "over", "start", "end", "words", "kept", "none", "tick", "cancel"]
        ),
        st.integers(0, 1500),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(EVENTS)
def test_every_hold_is_settled_once(events: list[tuple[str, int]]) -> None:
    unheard: UnheardAnswer[int] = UnheardAnswer()
    now = turns = 0
    held: set[int] = set()
    gone: set[int] = set()

    def see(actions: tuple[Hold[int] | Release[int] | Supersede[int], ...]) -> None:
        for action in actions:
            assert action.turn not in gone
            if isinstance(action, Hold):
                assert action.turn not in held
                held.add(action.turn)
                continue
            held.remove(action.turn)
            if isinstance(action, Supersede):
                gone.add(action.turn)

    for what, value in events:
        now += value
        match what:
            case "route":
                see(unheard.routed(turns, now))
                turns += 1
            case "audio" if turns:
                if value % turns not in gone:
                    see(unheard.first_audio(value % turns, now))
            case "over" if turns:
                unheard.answer_over(value % turns)
                held.discard(value % turns)
                gone.add(value % turns)
            case "start":
                see(unheard.speech_started(now))
            case "end":
                see(unheard.speech_ended(now, value))
            case "words" | "kept":
                see(unheard.words("some", now, routed=what == "words"))
            case "none":
                see(unheard.no_words(now))
            case "tick":
                see(unheard.tick(now))
            case "cancel":
                see(unheard.cancel(now))
        assert set(unheard.held) == held
        assert not (unheard.state is Listening.QUIET and held)
    see(unheard.cancel(now))
    assert not held
