"""Initialisation as an expression: `vocab`, `random`, `labels`, `text("...")`, `mnli`, `mean(mnli, qnli)`.

A name is a prompt and is resolved by the caller, so this module knows no store. The grammar:

    expression := call | name
    call       := ("mean" | "text") "(" argument ("," argument)* ")"
    name       := letters, digits and _ / . @ * - | "anything in quotes"
"""

import re
from dataclasses import dataclass

from cpeft.errors import ConfigError

TOKEN = re.compile(r"\s*(?:(?P<name>[\w/.@*-]+)|\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<mark>[(),]))")
FRESH = ("vocab", "random", "labels")  # drawn from the model, not read from a file


@dataclass(frozen=True)
class Name:
    """A prompt to be looked up."""

    value: str


@dataclass(frozen=True)
class Fresh:
    """An initialiser that needs the model: `vocab`, `random`, `labels`, or `text` with its text."""

    kind: str
    text: str = ""


@dataclass(frozen=True)
class Mean:
    """The row-wise average of prompts."""

    parts: tuple["Expression", ...]


Expression = Name | Fresh | Mean


def parse_expression(text: str) -> Expression:
    """The expression in `text`; raises ConfigError pointing at the place that does not parse."""
    tokens, position = [], 0
    while text[position:].strip():
        match = TOKEN.match(text, position)
        if not match:
            raise ConfigError(f"expression '{text}': unexpected '{text[position:].strip()[0]}' at {position}")
        kind = match.lastgroup or ""
        tokens.append((kind, match.group(kind)))
        position = match.end()
    expression, rest = _expression(tokens, text)
    if rest:
        raise ConfigError(f"expression '{text}': did not expect '{rest[0][1]}' after a complete expression")
    return expression


def names(expression: Expression) -> tuple[str, ...]:
    """The prompts an expression needs, in order, each once."""
    if isinstance(expression, Name):
        return (expression.value,)
    if isinstance(expression, Mean):
        return tuple(dict.fromkeys(name for part in expression.parts for name in names(part)))
    return ()


def _expression(tokens: list[tuple[str, str]], text: str) -> tuple[Expression, list[tuple[str, str]]]:
    if not tokens or tokens[0][0] == "mark":
        raise ConfigError(f"expression '{text}': a prompt name is missing")
    (kind, value), rest = tokens[0], tokens[1:]
    if kind == "name" and rest[:1] == [("mark", "(")]:
        return _call(value, rest[1:], text)
    if kind == "name" and value in FRESH:
        return Fresh(value), rest
    return Name(value), rest


def _call(function: str, rest: list[tuple[str, str]], text: str) -> tuple[Expression, list[tuple[str, str]]]:
    if function == "text":
        if len(rest) < 2 or rest[0][0] == "mark" or rest[1] != ("mark", ")"):
            raise ConfigError(f"expression '{text}': text takes one quoted text, as in text(\"classify the question\")")
        return Fresh("text", rest[0][1]), rest[2:]
    if function != "mean":
        raise ConfigError(f"expression '{text}': unknown function '{function}'; use mean(...) or text(\"...\")")
    parts = []
    while True:
        part, rest = _expression(rest, text)
        parts.append(part)
        mark, rest = rest[:1], rest[1:]
        if mark == [("mark", ")")]:
            return Mean(tuple(parts)), rest
        if mark != [("mark", ",")]:
            raise ConfigError(f"expression '{text}': ')' is missing")
