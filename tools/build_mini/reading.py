"""Questions that can be asked of any text: its words, their order and number, a word left out, the sentence that comes next.

They may be asked of every kind of text in the mixture, so the kind of text does not give the question away.
"""

import random
from collections.abc import Callable

from tools.build_mini.question import Closed, Open

YES_NO = (("yes", "true", "present"), ("no", "false", "absent"))
PLAIN = ".,;:!?\"'()"


def words_of(text: str) -> list[str]:
    return [word for word in (word.strip(PLAIN).lower() for word in text.split()) if word]


def contains(text: str, other: str, rng: random.Random) -> Closed:
    here, there = words_of(text), [word for word in words_of(other) if word not in words_of(text)]
    answer = int(rng.random() < 0.5 and bool(there))
    word = rng.choice(there if answer else here)
    asks = ("does the text have the word?", "is the word in the text?")
    fields = (("word", word), ("text", text))
    return Closed("contains", asks, fields, YES_NO, ("the word is there", "the word is not there"), answer)


def place(text: str, other: str, rng: random.Random) -> Open:
    words = words_of(text)
    which, answer = rng.choice((("first", words[0]), ("last", words[-1]), ("second", words[min(1, len(words) - 1)])))
    return Open(f"{which} word", (f"what is the {which} word?", f"write the {which} word."), (("text", text),), answer)


def after(text: str, other: str, rng: random.Random) -> Open:
    words = words_of(text)
    once = [i for i, word in enumerate(words[:-1]) if words.count(word) == 1]
    if not once:
        return place(text, other, rng)
    i = rng.choice(once)
    return Open("after", (f"which word comes after {words[i]}?",), (("word", words[i]), ("text", text)), words[i + 1])


def copy(text: str, other: str, rng: random.Random) -> Open:
    short = " ".join(text.split()[: rng.randint(2, 8)])
    return Open("copy", ("repeat the text.", "say it again."), (("text", short),), short)


def gap(text: str, other: str, rng: random.Random) -> Closed:
    words = text.split()
    i = rng.randrange(len(words))
    gone = words[i].strip(PLAIN).lower() or words[i]
    others = [word for word in dict.fromkeys(words_of(other)) if word not in words_of(text)] or ["none"]
    options = rng.sample([gone, *rng.sample(others, min(3, len(others)))], 1 + min(3, len(others)))
    shown = " ".join([*words[:i], "<extra_id_0>", *words[i + 1 :]])
    asks = ("which word fits the gap?", "choose the missing word.")
    meanings = tuple((option,) for option in options)
    return Closed("gap", asks, (("text", shown),), meanings, tuple(f"{o} fits" for o in options), options.index(gone))


def follows(text: str, other: str, rng: random.Random) -> Closed:
    words = text.split()
    half = len(words) // 2
    answer = int(rng.random() < 0.5)
    rest = " ".join(other.split()[-(len(words) - half) :]) if answer else " ".join(words[half:])
    return Closed(
        "next",
        ("does the second part continue the first?", "do the parts belong together?"),
        (("first", " ".join(words[:half])), ("second", rest)),
        (("yes", "together", "true"), ("no", "apart", "false")),
        ("they belong together", "they do not"),
        answer,
    )


def longer(text: str, other: str, rng: random.Random) -> Closed:
    other = " ".join(other.split()[: rng.randint(3, 12)])
    text = " ".join(text.split()[: rng.randint(3, 12)])
    first, second = len(text.split()), len(other.split())
    meanings = (("first", "one", "a"), ("second", "two", "b"), ("equal", "same", "neither"))
    asks = ("which text is longer?", "which has more words?")
    when = ("the first has more words", "the second has more words", "both have the same number of words")
    answer = 0 if first > second else 1 if second > first else 2
    return Closed("longer", asks, (("first", text), ("second", other)), meanings, when, answer)


def changed(text: str, other: str, rng: random.Random) -> tuple[list[str], list[str], str]:
    """Two short texts that differ in one word, and that word of the second."""
    first = text.split()[: rng.randint(3, 12)]
    place = rng.randrange(len(first))
    word = rng.choice([word for word in words_of(other) if word not in words_of(text)] or ["none"])
    return first, [*first[:place], word, *first[place + 1 :]], word


def same(text: str, other: str, rng: random.Random) -> Closed:
    first, second, _ = changed(text, other, rng)
    if rng.random() < 0.4:
        second = list(first)
        i, j = rng.sample(range(len(first)), 2)
        second[i], second[j] = second[j], second[i]
    equal = rng.random() < 0.5
    return Closed(
        "equal",
        ("are both texts equal?", "is the second text the first again?"),
        (("first", " ".join(first)), ("second", " ".join(first if equal else second))),
        (("yes", "equal", "same"), ("no", "unequal", "different")),
        ("they are equal", "they are not equal"),
        int(not equal and first != second),
    )


def new_word(text: str, other: str, rng: random.Random) -> Open:
    first, second, word = changed(text, other, rng)
    asks = ("which word of the second text is not in the first?", "find the new word.")
    return Open("new word", asks, (("first", " ".join(first)), ("second", " ".join(second))), word)


def old_word(text: str, other: str, rng: random.Random) -> Open:
    second, first, word = changed(text, other, rng)
    asks = ("which word of the first text is gone from the second?", "find the lost word.")
    return Open("lost word", asks, (("first", " ".join(first)), ("second", " ".join(second))), word)


KINDS: dict[str, tuple[Callable[[str, str, random.Random], Closed | Open], ...]] = {
    "copying": (copy, copy, place, after),
    "comparing": (same, same, new_word, old_word),
    "reading": (contains, gap, gap, follows, follows, longer),
}
