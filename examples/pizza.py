"""A dialogue that fills slots and remembers them in `turn.state`; no language model needed.

Run it: salon dev examples/pizza.py
"""

from __future__ import annotations

import re

import salon

KINDS = ("margherita", "mushroom", "pepperoni")
SIZES = ("small", "medium", "large")
COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "a": 1}
QUESTIONS = {
    "kind": "Which pizza would you like: margherita, mushroom or pepperoni?",
    "size": "Small, medium or large?",
    "count": "How many?",
}

PHRASES = [
    "hello",
    "start again",
    "yes please",
    "no thank you",
    *(f"{count} {size} {kind}" for count in COUNTS for size in SIZES for kind in KINDS),
    *(f"a {kind} pizza please" for kind in KINDS),
]


@salon.agent(
    description="Takes an order for pizza.",
    phrases=PHRASES,
    suggestions=["Two large mushroom pizzas", "A margherita please", "Start again"],
)
async def pizza(turn, room):
    words = set(re.findall(r"[a-z]+|\d+", turn.text.lower()))
    order = turn.state
    if {"start", "again"} <= words or order.get("done"):
        order.clear()
    complete = set(QUESTIONS) <= set(order)
    if complete and words & {"yes", "yeah", "right", "correct"}:
        order["done"] = True
        yield "Thank you. Your order is on its way to the oven."
        return
    if complete and words & {"no", "nope", "wrong"}:
        order.clear()
        yield "Then let us start again. "
    fill(order, words)
    for slot, question in QUESTIONS.items():
        if slot not in order:
            yield question
            return
    many = "pizzas" if order["count"] > 1 else "pizza"
    yield f"That is {order['count']} {order['size']} {order['kind']} {many}. Is that right?"


def fill(order, words):
    """Put into the order what the words say."""
    for slot, choices in (("kind", KINDS), ("size", SIZES)):
        for choice in choices:
            if choice in words or f"{choice}s" in words:
                order[slot] = choice
    for word in words:
        if word.isdigit() and 0 < int(word) <= 20:
            order["count"] = int(word)
        elif word in COUNTS and word != "a":
            order["count"] = COUNTS[word]
    if "a" in words and "kind" in order:
        order.setdefault("count", 1)
