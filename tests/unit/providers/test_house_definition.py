"""A wrong file is refused with the file, the intent and what is wrong."""

from pathlib import Path

import pytest

from salon.base import ConfigurationError
from salon.providers.house import DEFAULT_PATH, HouseAgent
from salon.providers.house.definition import load
from salon.providers.house.phrases import NotationError, expand

AGENT = '[agent]\nname = "A"\nunclear = ["What?"]\n'
INTENT = '[[intent]]\nname = "hi"\nexamples = ["hi"]\nanswers = ["Hi."]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent", "is not valid TOML"),
        (INTENT, "the table [agent] is missing"),
        (AGENT, "there is no [[intent]]"),
        (AGENT + "colour = 1\n" + INTENT, '[agent]: unknown key "colour"'),
        ("color = 1\n" + AGENT + INTENT, 'top level: unknown key "color"'),
        (AGENT + "threshold = 2\n" + INTENT, "threshold must be between 0 and 1, not 2"),
        (AGENT + "threshold = true\n" + INTENT, "threshold must be a number"),
        ('[agent]\nname = "A"\n' + INTENT, '[agent]: "unclear" is missing or empty'),
        ('[agent]\nunclear = ["a"]\n' + INTENT, '[agent]: "name" is missing'),
        ('[agent]\nname = 3\nunclear = ["a"]\n' + INTENT, '"name" must be text, not 3'),
        (AGENT + '[[intent]]\nexamples = ["a"]\n', 'intent 1: "name" is missing'),
        ("intent = [3]\n" + AGENT, "intent 1: must be a table"),
        (AGENT + INTENT + INTENT, 'intent "hi": the name is used twice'),
        (AGENT + INTENT.replace('["hi"]', "[]"), 'intent "hi": "examples" is missing or empty'),
        (AGENT + INTENT.replace('["hi"]', '"hi"'), '"examples" must be a list of texts'),
        (AGENT + INTENT.replace('["hi"]', "[1]"), '"examples" holds 1, which is not a text'),
        (AGENT + INTENT.replace('["Hi."]', "[]"), 'intent "hi": "answers" is missing or empty'),
        (AGENT + INTENT.replace('"hi"]', '"(hi"]'), "a closing ')' is missing"),
        (AGENT + INTENT.replace('"hi"]', '"hi]"]'), "']' closes nothing"),
        (AGENT + INTENT.replace('"hi"]', '"hi|ho"]'), "'|' outside of"),
        (AGENT + INTENT.replace('"hi"]', '"{age}"]'), 'unknown slot {age} in "{age}"'),
        (AGENT + INTENT + 'action = "dance"\n', 'unknown action "dance"; there are: affirm'),
        (AGENT + INTENT + 'off_topic = "yes"\n', "off_topic must be true or false"),
        (AGENT + INTENT + "answer = 1\n", 'intent "hi": unknown key "answer"'),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(tmp_path / "latin.toml")


def test_an_own_file_takes_the_place_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(AGENT + 'suggestions = ["Hi"]\ndescription = "D"\n' + INTENT, encoding="utf-8")
    agent = HouseAgent.load(path)
    assert (agent.display_name, agent.description, agent.suggestions()) == ("A", "D", ("Hi",))


def test_our_own_file_is_sound_and_its_answers_can_be_spoken() -> None:
    house = load()
    assert DEFAULT_PATH.name == "house.toml"
    assert 4 <= len(house.suggestions) <= 8
    for intent in house.intents.values():
        for answer in intent.answers:
            assert len(answer) <= 240, (intent.name, answer)


def test_the_notation() -> None:
    assert expand("a (b|c [d]) e") == ("a b e", "a c d e", "a c e")
    assert expand("[x]") == ("x",)
    assert len(expand("(a|b)" * 10, limit=50)) == 50
    with pytest.raises(NotationError):
        expand("[a")
