"""Initialisation as an expression: `vocab`, `random`, `labels`, `text("...")`, `mnli`, `mean(mnli, qnli)`.

A name is a prompt and is resolved by the caller, so this module knows no store. The grammar:

    expression := call | name
    call       := ("mean" | "text") "(" argument ("," argument)* ")"
    name       := letters, digits and _ / . @ * - | "anything in quotes"
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cpeft.errors import ConfigError
from cpeft.prompts.soft_prompt import SoftPrompt

TOKEN = re.compile(
    r"\s*(?:(?P<name>[\w/.@*-]+)|\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<mark>[(),])|(?P<wrong>\S))"
)
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
    tokens = []
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "wrong":
            raise ConfigError(f"expression '{text}': unexpected '{match[kind]}' at {match.start()}")
        tokens.append((kind, match[kind]))
    expression = _take(tokens, text)
    if tokens:
        raise ConfigError(f"expression '{text}': did not expect '{tokens[0][1]}' after a complete expression")
    return expression


def names(expression: Expression) -> tuple[str, ...]:
    """The prompts an expression needs, in order, each once."""
    if isinstance(expression, Name):
        return (expression.value,)
    parts = expression.parts if isinstance(expression, Mean) else ()
    return tuple(dict.fromkeys(name for part in parts for name in names(part)))


def evaluate(
    expression: Expression, prompts: Mapping[str, SoftPrompt], fresh: Callable[[Fresh], Tensor]
) -> Float[Tensor, "P D"]:
    """The matrix an expression stands for: `prompts` are those it names, `fresh` draws the others."""
    if isinstance(expression, Name):
        return prompts[expression.value].weight
    if isinstance(expression, Fresh):
        return fresh(expression)
    return torch.stack([evaluate(part, prompts, fresh) for part in expression.parts]).mean(0)


def _take(tokens: list[tuple[str, str]], text: str) -> Expression:
    """One expression off the front of `tokens`."""
    kind, value = tokens.pop(0) if tokens else ("mark", "")
    if kind == "mark":
        raise ConfigError(f"expression '{text}': a prompt name is missing")
    if kind != "name" or tokens[:1] != [("mark", "(")]:
        return Fresh(value) if kind == "name" and value in FRESH else Name(value)
    tokens.pop(0)
    if value == "text":
        if len(tokens) < 2 or tokens[0][0] == "mark" or tokens[1] != ("mark", ")"):
            raise ConfigError(f"expression '{text}': text takes one quoted text, as in text(\"classify the question\")")
        (_, words), _ = tokens.pop(0), tokens.pop(0)
        return Fresh("text", words)
    if value != "mean":
        raise ConfigError(f"expression '{text}': unknown function '{value}'; use mean(...) or text(\"...\")")
    parts, mark = [], ("mark", ",")
    while mark == ("mark", ","):
        parts.append(_take(tokens, text))
        mark = tokens.pop(0) if tokens else ("", "")
    if mark != ("mark", ")"):
        raise ConfigError(f"expression '{text}': ')' is missing")
    return Mean(tuple(parts))
