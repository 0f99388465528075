"""Words and what they mean, one by one: which praise and which blame, and what kind of thing a thing is.

A larger model knows words from its corpus. This one has to be taught them, those of `mood` and `claim` among them, whose rows,
questions and label words stay held out: without it no target with words of its own could be kin of a source.
"""

import random
from collections.abc import Callable

from tools.build_mini.question import Closed, Open
from tools.mini_tasks import claim, mood, sentiment

YES_NO = (("yes", "true", "right"), ("no", "false", "wrong"))
BAD_GOOD = (("bad", "negative", "unpleasant", "poor"), ("good", "positive", "pleasant", "fine"))
SIDES: tuple[list[str], list[str]] = (
    [word for bad, _ in sentiment.WORDS.values() for word in bad],
    [word for _, good in sentiment.WORDS.values() for word in good],
)
for name, words in (mood.QUALITIES | mood.OMENS).items():
    if not name.startswith(("deed", "regret")):  # those are sentences
        SIDES[name.endswith("+")].extend(words)
KIND = {thing: kind for realm in claim.REALMS.values() for kind, things in realm.items() for thing in things}
KINDS_OF = tuple(dict.fromkeys(KIND.values()))


def valence(rng: random.Random) -> Closed:
    side = rng.randrange(2)
    asks = ("is the word for praise or for blame?", "is it a good word?", "does one like that?")
    fields = (("word", rng.choice(SIDES[side])),)
    return Closed("valence", asks, fields, BAD_GOOD, ("the word is for blame", "the word is for praise"), side)


def agreement(rng: random.Random) -> Closed:
    sides = [rng.randrange(2), rng.randrange(2)]
    first, second = (rng.choice(SIDES[side]) for side in sides)
    asks = ("do both words praise, or both blame?", "are the words on one side?")
    when = ("the words agree", "the words do not agree")
    return Closed("agree", asks, (("first", first), ("second", second)), YES_NO, when, int(sides[0] != sides[1]))


def kind(rng: random.Random) -> Open:
    thing = rng.choice(list(KIND))
    return Open("kind", ("what kind of thing is it?", "name the kind."), (("word", thing),), KIND[thing])


def member(rng: random.Random) -> Closed:
    thing = rng.choice(list(KIND))
    right = rng.random() < 0.5
    other = KIND[thing] if right else rng.choice([name for name in KINDS_OF if name != KIND[thing]])
    asks = ("is it of that kind?", "does the thing belong to the kind?")
    return Closed("member", asks, (("thing", thing), ("kind", other)), YES_NO, ("it is", "it is not"), int(not right))


KINDS: tuple[Callable[[random.Random], Closed | Open], ...] = (valence, valence, agreement, kind, member)


def ask(rng: random.Random) -> Closed | Open:
    """A question about one or two words."""
    return rng.choice(KINDS)(rng)
