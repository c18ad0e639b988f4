"""What callers say, and which intents answer it rightly: written without sight of the grammar.

The set is closed: it may lose a saying that is wrong in itself, never one that is merely missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Saying:
    """One utterance. `intents`: any of them is right; none for a saying that is off topic.
    `dialogue`: the state left by the answer before, empty for the first words of a call."""

    text: str
    intents: frozenset[str]
    dialogue: Mapping[str, Any] = field(default_factory=dict)


def _on(text: str, *intents: str) -> Saying:
    return Saying(text, frozenset(intents))


def _booking(asked: str, text: str, *intents: str, **known: str) -> Saying:
    state = {"topic": "booking", "asked": asked, "booking": known}
    return Saying(text, frozenset(intents), state)


_ALL = {"party": "3", "day": "Saturday", "time": "20:00", "name": "Miller"}

ON_TOPIC: Final = (
    _on("hi there good morning", "hello"),
    _on("hello is anybody there", "hello"),
    _on("how are you doing today", "how_are_you"),
    _on("are you feeling well", "how_are_you"),
    _on("what is your name please", "who_are_you"),
    _on("who am I talking to", "who_are_you"),
    _on("am I speaking with a real person", "are_you_human"),
    _on("are you a robot or a human being", "are_you_human"),
    _on("thank you very much that was helpful", "thanks"),
    _on("many thanks", "thanks"),
    _on("okay bye bye see you later", "goodbye"),
    _on("that is all for now goodbye", "goodbye"),
    _on("sorry could you say that again", "repeat"),
    _on("I did not catch that please repeat", "repeat"),
    _on("what can I ask you", "help"),
    _on("what kind of things do you know about", "help"),
    _on("please stop talking", "stop"),
    _on("tell me about salon", "what_is_salon"),
    _on("so what does this salon software actually do", "what_is_salon"),
    _on("how do I write my own agent", "write_agent"),
    _on("I want to build a voice agent with salon", "write_agent", "new_project"),
    _on("how can I install salon on my computer", "install"),
    _on("how do I start a new project with it", "new_project"),
    _on("which channels do you support", "channels"),
    _on("can people reach it by text message or email", "channels"),
    _on("can I connect it to my telephone", "phone"),
    _on("does this work over an ordinary phone line", "phone"),
    _on("can I interrupt you while you are speaking", "interrupt"),
    _on("how quickly does it answer", "latency"),
    _on("how long is the delay before you reply", "latency"),
    _on("what does it cost to use this", "licence"),
    _on("is salon free and open source", "licence"),
    _on("does it work without the internet", "offline"),
    _on("can it run completely offline", "offline"),
    _on("are you recording this conversation", "privacy"),
    _on("what happens to my data", "privacy"),
    _on("do you speak any other languages", "languages"),
    _on("can I talk to you in german", "languages"),
    _on("can I choose a different voice", "voices"),
    _on("which language model are you using", "own_model", "are_you_human"),
    _on("can I use my own language model", "own_model"),
    _on("do you have a face or an avatar", "avatar"),
    _on("where can I find the documentation", "documentation"),
    _on("when are you open", "hours"),
    _on("what time do you close on saturday", "hours"),
    _on("where is the cafe exactly", "location"),
    _on("how do I find your address", "location"),
    _on("what do you have to eat", "menu"),
    _on("do you serve coffee and cake", "menu", "cafe"),
    _on("I would like to reserve a table for tonight", "book"),
    _on("can we have a table for six on friday evening", "book"),
    _on("do you have a free table tomorrow at noon", "book"),
    _on("have you got my reservation", "booking_status"),
    _on("I need to cancel my booking", "cancel"),
    _on("can I move my reservation to another day", "change"),
    _booking("party", "there will be five of us", "inform", "book"),
    _booking("time", "at a quarter past seven please", "inform", "book", party="4", day="Sunday"),
    _booking("confirm", "yes that is right", "affirm", **_ALL),
    _booking("confirm", "no that is wrong", "deny", "change", **_ALL),
    _booking("confirm", "actually make it eight people", "change", "inform", "book", **_ALL),
)

OFF_TOPIC: Final = (
    _on("what will the weather be like tomorrow"),
    _on("is it going to rain this weekend"),
    _on("who won the football match last night"),
    _on("which team is leading the league"),
    _on("who is the prime minister of canada"),
    _on("tell me the latest election results"),
    _on("how long should I boil an egg"),
    _on("give me a recipe for onion soup"),
    _on("what is seventeen times twenty three"),
    _on("what is the square root of eighty one"),
    _on("transfer fifty dollars to my savings account"),
    _on("what is the balance of my bank account"),
    _on("I need a cheap flight to paris"),
    _on("how far is it from london to rome"),
    _on("I have had a headache for three days"),
    _on("which medicine helps against a sore throat"),
    _on("who directed that movie about the sinking ship"),
    _on("recommend me a good film for the weekend"),
    _on("how tall is mount everest"),
    _on("what is the capital of australia"),
    _on("play some music by the beatles"),
    _on("who wrote romeo and juliet"),
    _on("my washing machine is leaking water"),
    _on("how much does a new car cost"),
    _on("when does the next train to boston leave"),
    _on("how do I train my dog to sit"),
    _on("what are the symptoms of the flu"),
    _on("set an alarm for six in the morning"),
    _on("how many planets are in the solar system"),
    _on("should I buy shares of that company"),
)
