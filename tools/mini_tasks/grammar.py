"""A context-free grammar of strings: `{noun}` in a rule stands for one of the rules of `noun`.

    Grammar({"scene": ["{who} {does} in the {place}"], "who": ["a child", "two {job}s"], ...}).expand("scene", rng)

What must agree or be remembered is given: `expand("scene", rng, who="a baker")` fixes every `{who}` below it.
"""

import random
from collections.abc import Mapping, Sequence

from cpeft.tasks.base import PLACEHOLDER


class Grammar:
    """Rules by symbol. Raises KeyError at once for a slot that names no symbol and is not in `given`."""

    def __init__(self, rules: Mapping[str, Sequence[str]], given: Sequence[str] = ()) -> None:
        self.rules = {symbol: tuple(options) for symbol, options in rules.items()}
        for symbol, options in self.rules.items():
            for slot in (slot for option in options for slot in PLACEHOLDER.findall(option)):
                if slot not in self.rules and slot not in given:
                    raise KeyError(f"rule '{symbol}' asks for '{slot}', which has no rules")

    def expand(self, symbol: str, rng: random.Random, **given: str) -> str:
        """A random text for `symbol`; `given` symbols stand for their text everywhere below."""
        if symbol in given:
            return given[symbol]
        return self.fill(rng.choice(self.rules[symbol]), rng, **given)

    def fill(self, template: str, rng: random.Random, **given: str) -> str:
        """`template` with every slot expanded."""
        return PLACEHOLDER.sub(lambda slot: self.expand(slot[1], rng, **given), template)


def sentence(text: str) -> str:
    """`text` as a sentence: first letter raised, one end mark, `a` before a vowel made `an`."""
    words = text.split()
    for i, word in enumerate(words[:-1]):
        if word.lower() == "a" and words[i + 1].lstrip("\"'(")[:1].lower() in "aeiou":
            words[i] = word + "n"
    text = " ".join(words)
    return text[:1].upper() + text[1:] + ("" if text[-1:] in ".!?" else ".")
