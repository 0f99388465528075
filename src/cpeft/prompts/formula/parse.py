"""Formulas as text: `vocab`, `text("...")`, `mnli`, `mean(mnli, qnli)`, `origin0 + v(mnli) - 0.5*v(qnli)`.

A name is a prompt and is resolved by the caller, so this module does not depend on a store. `v(x)` is x minus its own recorded
origin, a task vector (`prompts/vectors.py`); `prompt - prompt` is a vector too, `prompt + vector` and `prompt - vector` are
prompts. The functions are those of `functions.py`. The grammar:

    formula  := term (("+" | "-") term)*
    term     := number "*" term | "-" term | atom ("*" number)*
    atom     := name | function "(" formula ("," formula)* ")" | "(" formula ")"
              | "sum" "(" formula ("," formula)* ")" | "text" "(" quoted text ")"
    name     := letters, digits and _ / . @ * -, beginning with none of * - | "anything in quotes"

Names may contain a minus, so a minus directly after a name belongs to it: `sst-2` is a name, `mnli - sst-2` and `v(a)-v(b)` are
differences. The same holds for a star (`sources/*`), unless a number precedes it: `0.5*v(mnli)` is a product.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from cpeft.errors import ConfigError
from cpeft.prompts.formula.functions import FUNCTIONS, Kind
from cpeft.prompts.formula.tree import (
    FACTOR,
    FRESH,
    NAME,
    Call,
    Difference,
    Fresh,
    Name,
    Node,
    Scaled,
    Sum,
    depth,
    kind_of,
    measured_names,
    names,
)

TOKEN = re.compile(
    rf"\s*(?:(?P<factor>{FACTOR})|(?P<name>{NAME})"
    r"|\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<mark>[-+*(),])|(?P<wrong>\S))"
)
DEEPEST = 100  # levels of a tree; functions over trees are recursive


@dataclass(frozen=True)
class Formula:
    """A parsed formula: its text as written, which run ids hash, and its tree."""

    text: str
    tree: Node

    def __str__(self) -> str:
        return self.text

    @property
    def kind(self) -> Kind:
        """Whether its value is a prompt or a task vector."""
        return kind_of(self.tree)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The prompts it names, in order, each once."""
        return names(self.tree)

    @cached_property
    def measured_names(self) -> tuple[str, ...]:
        """Those of them whose recorded origin is read, by `v(...)`."""
        return measured_names(self.tree)


@lru_cache(maxsize=4096)  # a plan parses the same few formulas many times
def parse_formula(text: str) -> Formula:
    """The formula in `text`, of a prompt or a vector; raises ConfigError naming the part that does not parse or fit."""
    try:
        tree = _Parser(text).whole()
        deep = depth(tree) > DEEPEST
    except RecursionError:
        deep = True
    if deep:
        raise ConfigError(
            f"formula '{text[:40]}...' is nested more than {DEEPEST} levels deep: take brackets away, or write a long sum "
            "as sum(a, b, ...) and what is to be subtracted as one sum"
        )
    try:
        kind_of(tree)
    except ConfigError as error:
        raise ConfigError(f"formula '{text}': {error}") from None
    return Formula(text, tree)


def parse_prompt(text: str) -> Formula:
    """A formula of a prompt; raises ConfigError for one of a task vector."""
    formula = parse_formula(text)
    if formula.kind == "vector":
        raise ConfigError(f"formula '{text}': this is a task vector; add it to a prompt, as in origin0 + v(mnli)")
    return formula


class _Parser:
    """Recursive descent over the grammar above."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens = text, []
        for match in TOKEN.finditer(text):
            kind = match.lastgroup or ""
            if kind == "wrong":
                raise self._error(f"unexpected '{match[kind]}' at {match.start()}")
            self.tokens.append((kind, match[kind]))

    def _error(self, why: str) -> ConfigError:
        return ConfigError(f"formula '{self.text}': {why}")

    def _take(self, *marks: str) -> str:
        """The next token if it is one of these marks, else nothing."""
        found = bool(self.tokens) and self.tokens[0] in [("mark", mark) for mark in marks]
        return self.tokens.pop(0)[1] if found else ""

    def whole(self) -> Node:
        tree = self._formula()
        if self.tokens:
            raise self._error(f"did not expect '{self.tokens[0][1]}' after a complete formula")
        return tree

    def _formula(self) -> Node:
        left = self._term()
        while sign := self._take("+", "-"):
            right = self._term()
            left = Sum((left, right)) if sign == "+" else Difference(left, right)
        return left

    def _term(self) -> Node:
        if self._take("-"):
            return Scaled(-1.0, self._term())
        if self.tokens and self.tokens[0][0] == "factor":
            factor = float(self.tokens.pop(0)[1])
            self._take("*")
            return Scaled(factor, self._term())
        left = self._atom()
        while self._take("*"):
            left = Scaled(self._number(), left)
        return left

    def _number(self) -> float:
        _, value = self.tokens.pop(0) if self.tokens else ("", "")
        try:
            return float(value)
        except ValueError:
            raise self._error(f"a number must follow '*', not '{value}'") from None

    def _atom(self) -> Node:
        if self._take("("):
            inside = self._formula()
            self._close()
            return inside
        kind, value = self.tokens.pop(0) if self.tokens else ("mark", "")
        if kind == "mark":
            raise self._error("a prompt name is missing")
        if kind != "name" or not self._take("("):
            return Fresh(value) if kind == "name" and value in FRESH else Name(value)
        return self._call(value)

    def _call(self, function: str) -> Node:
        """The rest of a call, after its name and opening parenthesis."""
        if function == "text":
            kind, words = self.tokens.pop(0) if self.tokens else ("mark", "")
            if kind == "mark" or not self._take(")"):
                raise self._error('text takes one quoted text, as in text("classify the question")')
            return Fresh("text", words)
        if function != "sum" and function not in FUNCTIONS:
            name, minus, last = function.rpartition("-")
            spaced = f"; a minus directly behind a name belongs to it, so write {name} - {last}(...)" if minus else ""
            raise self._error(f"unknown function '{function}'; use {', '.join(FUNCTIONS.names())}, sum or text{spaced}")
        parts = [self._formula()]
        while self._take(","):
            parts.append(self._formula())
        self._close()
        if function == "sum":
            return Sum(tuple(parts)) if len(parts) > 1 else parts[0]
        known = FUNCTIONS.get(function)
        if len(parts) < known.least:
            raise self._error(f"{function}() takes {known.usage.format(parts[0])}")
        if known.most is not None and len(parts) > known.most:
            most = "one argument" if known.most == 1 else f"{known.most} arguments"
            raise self._error(f"{function}() takes {most}, not {len(parts)}; write {function}({parts[0]}) + ...")
        return Call(function, tuple(parts))

    def _close(self) -> None:
        if not self._take(")"):
            raise self._error("')' is missing")
