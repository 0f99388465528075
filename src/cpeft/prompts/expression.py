"""Prompts as expressions: `vocab`, `text("...")`, `mnli`, `mean(mnli, qnli)`, `origin0 + v(mnli) - 0.5*v(qnli)`.

This module reads text; what stands in an expression is `tree.py`, and both are to be imported from here. A name is a prompt
and is resolved by the caller, so nothing here knows a store. `v(x)` is x minus its own recorded origin, a task vector
(`prompts/vectors.py`); `prompt - prompt` is a vector too, `prompt + vector` and `prompt - vector` are prompts; `cross(vector)`
may join another origin than its own, and `cross(prompt - prompt)` be of two; `mixed(prompt)` and `mixed(vector)` may join what
was trained on text of another form; `noise(vector)` and `shuffle(vector)` are controls, and `weighted(probe, mnli, qnli)`
averages prompts by how alike each is to the first. The grammar:

    expression := term (("+" | "-") term)*
    term       := number "*" term | "-" term | atom ("*" number)*
    atom       := name | function "(" expression ("," expression)* ")" | "(" expression ")"
    function   := "mean" | "sum" (of one or more), "weighted" (of two or more), "text" (of one quoted text),
                  "v" | "cross" | "mixed" | "noise" | "shuffle" (of one)
    name       := letters, digits and _ / . @ * -, beginning with none of * - | "anything in quotes"

Names came first, so a minus directly behind a name belongs to it: `sst-2` is a name, `mnli - sst-2` and `v(a)-v(b)` are
differences. So does a star (`sources/*`), unless a number stands before it: `0.5*v(mnli)` is a product.
"""

import re
from functools import lru_cache

from cpeft.errors import ConfigError
from cpeft.prompts.tree import (
    FACTOR,
    FRESH,
    NAME,
    Call,
    Difference,
    Expression,
    Fresh,
    Mean,
    Name,
    Scaled,
    Sum,
    Weighted,
    depth,
    kind_of,
)
from cpeft.prompts.tree import measured_names as measured_names
from cpeft.prompts.tree import names as names

TOKEN = re.compile(
    rf"\s*(?:(?P<factor>{FACTOR})|(?P<name>{NAME})"
    r"|\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<mark>[-+*(),])|(?P<wrong>\S))"
)
FUNCTIONS = ("mean", "sum", "weighted", "v", "cross", "mixed", "noise", "shuffle", "text")
DEEPEST = 100  # levels of a tree: everything that walks one recurses


@lru_cache(maxsize=4096)  # a plan reads the same few over and over
def parse_expression(text: str) -> Expression:
    """The expression in `text`, a prompt or a vector; raises ConfigError pointing at what does not parse or not fit."""
    try:
        expression = _Parser(text).whole()
        deep = depth(expression) > DEEPEST
    except RecursionError:
        deep = True
    if deep:
        raise ConfigError(
            f"expression '{text[:40]}...' is nested more than {DEEPEST} levels deep: take brackets away, or write a long sum "
            "as sum(a, b, ...) and what is to be subtracted as one sum"
        )
    try:
        kind_of(expression)
    except ConfigError as error:
        raise ConfigError(f"expression '{text}': {error}") from None
    return expression


def parse_prompt(text: str) -> Expression:
    """An expression that stands for a prompt; raises ConfigError where it stands for a task vector."""
    expression = parse_expression(text)
    if kind_of(expression) == "vector":
        raise ConfigError(f"expression '{text}': this is a task vector; add it to a prompt, as in origin0 + v(mnli)")
    return expression


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
        return ConfigError(f"expression '{self.text}': {why}")

    def _take(self, *marks: str) -> str:
        """The next token if it is one of these marks, else nothing."""
        found = bool(self.tokens) and self.tokens[0] in [("mark", mark) for mark in marks]
        return self.tokens.pop(0)[1] if found else ""

    def whole(self) -> Expression:
        expression = self._expression()
        if self.tokens:
            raise self._error(f"did not expect '{self.tokens[0][1]}' after a complete expression")
        return expression

    def _expression(self) -> Expression:
        left = self._term()
        while sign := self._take("+", "-"):
            right = self._term()
            left = Sum((left, right)) if sign == "+" else Difference(left, right)
        return left

    def _term(self) -> Expression:
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

    def _atom(self) -> Expression:
        if self._take("("):
            inside = self._expression()
            self._close()
            return inside
        kind, value = self.tokens.pop(0) if self.tokens else ("mark", "")
        if kind == "mark":
            raise self._error("a prompt name is missing")
        if kind != "name" or not self._take("("):
            return Fresh(value) if kind == "name" and value in FRESH else Name(value)
        return self._call(value)

    def _call(self, function: str) -> Expression:
        """A call, its name and opening parenthesis taken."""
        if function not in FUNCTIONS:
            name, minus, last = function.rpartition("-")
            spaced = f"; a minus directly behind a name belongs to it, so write {name} - {last}(...)" if minus else ""
            raise self._error(f"unknown function '{function}'; use {', '.join(FUNCTIONS[:-1])} or text{spaced}")
        if function == "text":
            kind, words = self.tokens.pop(0) if self.tokens else ("mark", "")
            if kind == "mark" or not self._take(")"):
                raise self._error('text takes one quoted text, as in text("classify the question")')
            return Fresh("text", words)
        parts = [self._expression()]
        while self._take(","):
            parts.append(self._expression())
        self._close()
        if function == "mean":
            return Mean(tuple(parts))
        if function == "weighted":
            if len(parts) < 2:
                raise self._error(
                    f"weighted() takes a probe and prompts to average; write weighted({parts[0]}, mnli, qnli)"
                )
            return Weighted(parts[0], tuple(parts[1:]))
        if function == "sum":
            return Sum(tuple(parts)) if len(parts) > 1 else parts[0]
        if len(parts) > 1:
            raise self._error(f"{function}() takes one argument, not {len(parts)}; write {function}({parts[0]}) + ...")
        return Call(function, parts[0])

    def _close(self) -> None:
        if not self._take(")"):
            raise self._error("')' is missing")
