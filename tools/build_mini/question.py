"""One supervised question in many wordings, so that the model learns to obey what stands in its input.

A model that knows one prefix and one label set per task has nothing a soft prompt could steer. So the same row is asked with
its prefix, with an instruction and a list of options, with new answer words defined on the spot, with letters, before or
behind the text, with other names for its fields.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

LABELS = ("text", "first", "second", "sentence", "input", "part", "one", "two", "passage", "line", "this", "that")
SIGNS = (
    "yes", "no", "true", "false", "red", "blue", "green", "left", "right", "up", "down", "cat", "dog", "sun", "moon", "gold",
    "iron", "king", "queen", "north", "south", "apple", "bread", "water", "fire", "one", "two", "three", "high", "low", "same",
    "other", "good", "bad", "open", "shut", "day", "night", "never", "always", "black", "white", "stone", "paper", "a", "b",
)  # fmt: skip


@dataclass(frozen=True)
class Closed:
    """A question whose answer is one of a few: `meanings` holds for each answer the words that name it, the canonical one
    first; `when` the clause behind "if" for each answer."""

    prefix: str
    asks: Sequence[str]
    fields: Sequence[tuple[str, str]]
    meanings: Sequence[Sequence[str]]
    when: Sequence[str]
    answer: int


@dataclass(frozen=True)
class Open:
    """A question whose answer is text."""

    prefix: str
    asks: Sequence[str]
    fields: Sequence[tuple[str, str]]
    answer: str


def render(fields: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"{label}: {value}" if label else value for label, value in fields)


def word(question: Closed | Open, rng: random.Random) -> tuple[str, str]:
    """Input and output text of a question in a random wording."""
    body = render(question.fields if rng.random() < 0.6 else renamed(question.fields, rng))
    if rng.random() < 0.5:
        answer = question.answer if isinstance(question, Open) else question.meanings[question.answer][0]
        return f"{question.prefix} {body}", answer
    ask = rng.choice(question.asks)
    if isinstance(question, Closed):
        told, answer = told_answers(question, rng)
        ask = rng.choice((f"{ask} {told}", f"{told} {ask}", told))
    else:
        answer = question.answer
    return (f"{ask} {body}" if rng.random() < 0.8 else f"{body} {ask}"), answer


def renamed(fields: Sequence[tuple[str, str]], rng: random.Random) -> list[tuple[str, str]]:
    labels = rng.sample(LABELS, len(fields))
    keep = len(fields) > 1 or rng.random() < 0.6
    return [(label if keep else "", value) for label, (_, value) in zip(labels, fields, strict=True)]


def told_answers(question: Closed, rng: random.Random) -> tuple[str, str]:
    """The part of an instruction that names the answers, and the right one."""
    places = list(range(len(question.meanings)))
    style = rng.choice(("options", "options", "options", "rules", "rules", "letters", "signs"))
    words = [rng.choice(meanings) for meanings in question.meanings]
    if style in ("rules", "signs"):
        if style == "signs" or rng.random() < 0.3:
            words = rng.sample(SIGNS, len(places))
        rng.shuffle(places)
        verb = rng.choice(("say", "answer", "write"))
        if style == "rules":
            told = ", ".join(f"{verb} {words[i]} if {question.when[i]}" for i in places) + "."
        else:
            told = ", ".join(f"{words[i]} = {rng.choice(question.meanings[i])}" for i in places) + "."
        return told, words[question.answer]
    rng.shuffle(places)
    if style == "letters":
        letters = {place: "abcdef"[i] for i, place in enumerate(places)}
        return " ".join(f"{letters[i]}: {words[i]}" for i in places) + ".", letters[question.answer]
    head, joint = rng.choice(("options", "choose", "answers")), rng.choice((", ", " or ", " / "))
    told = f"{head}: {joint.join(words[i] for i in places)}"
    return told + ".", words[question.answer]
