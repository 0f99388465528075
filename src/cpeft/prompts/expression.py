"""Prompts as expressions: `vocab`, `text("...")`, `mnli`, `mean(mnli, qnli)`, `origin0 + v(mnli) - 0.5*v(qnli)`.

A name is a prompt and is resolved by the caller, so this module knows no store. `v(x)` is x minus its own recorded origin, a
task vector (`prompts/vectors.py`); `prompt - prompt` is a vector too, `prompt + vector` and `prompt - vector` are prompts;
`cross(vector)` may join another origin than its own, `noise(vector)` and `shuffle(vector)` are controls, and
`weighted(probe, mnli, qnli)` averages prompts by how alike each is to the first. The grammar:

    expression := term (("+" | "-") term)*
    term       := number "*" term | "-" term | atom ("*" number)*
    atom       := name | function "(" expression ("," expression)* ")" | "(" expression ")"
    function   := "mean" | "sum" (of one or more), "weighted" (of two or more), "v" | "cross" | "noise" | "shuffle" (of one),
                  "text" (of one quoted text)
    name       := letters, digits and _ / . @ * -, beginning with none of * - | "anything in quotes"

Names came first, so a minus directly behind a name belongs to it: `sst-2` is a name, `mnli - sst-2` and `v(a)-v(b)` are
differences. So does a star (`sources/*`), unless a number stands before it: `0.5*v(mnli)` is a product.
"""

import re
from dataclasses import dataclass
from typing import Literal

from cpeft.errors import ConfigError

TOKEN = re.compile(
    r"\s*(?:(?P<factor>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?=\s*\*))|(?P<name>[\w/.@][\w/.@*-]*)"
    r"|\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<mark>[-+*(),])|(?P<wrong>\S))"
)
FRESH = ("vocab", "random", "labels")  # drawn from the model, not read from a file
FUNCTIONS = ("mean", "sum", "weighted", "v", "cross", "noise", "shuffle", "text")
Kind = Literal["prompt", "vector"]


@dataclass(frozen=True)
class Name:
    """A prompt to be looked up."""

    value: str

    def __str__(self) -> str:
        match = TOKEN.fullmatch(self.value)
        bare = match and match.lastgroup == "name" and not self.value[0].isspace() and self.value not in FRESH
        return self.value if bare else _quoted(self.value)


@dataclass(frozen=True)
class Fresh:
    """An initialiser that needs the model: `vocab`, `random`, `labels`, or `text` with its text."""

    kind: str
    text: str = ""

    def __str__(self) -> str:
        return f"text({_quoted(self.text)})" if self.kind == "text" else self.kind


@dataclass(frozen=True)
class Mean:
    """The row-wise average of prompts, or of vectors."""

    parts: tuple["Expression", ...]

    def __str__(self) -> str:
        return f"mean({', '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class Weighted:
    """The row-wise average of prompts, weighted by how alike each is to `probe`."""

    probe: "Expression"
    parts: tuple["Expression", ...]

    def __str__(self) -> str:
        return f"weighted({', '.join(map(str, (self.probe, *self.parts)))})"


@dataclass(frozen=True)
class Call:
    """A function of one argument: `v` makes a prompt a vector, `cross`, `noise` and `shuffle` a vector another one."""

    function: str
    part: "Expression"

    def __str__(self) -> str:
        return f"{self.function}({self.part})"


@dataclass(frozen=True)
class Sum:
    """Vectors, and at most one prompt to add them to."""

    parts: tuple["Expression", ...]

    def __str__(self) -> str:
        return f"sum({', '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class Difference:
    """A vector between two prompts or from two vectors; a prompt without a vector."""

    left: "Expression"
    right: "Expression"

    def __str__(self) -> str:
        return f"({self.left} - {self.right})"


@dataclass(frozen=True)
class Scaled:
    """A number times a vector; `-x` is -1 times x."""

    factor: float
    part: "Expression"

    def __str__(self) -> str:
        if self.factor >= 0:
            return f"{self.factor:.17g}*{self.part}"
        return f"-{self.part if self.factor == -1 else Scaled(-self.factor, self.part)}"


Expression = Name | Fresh | Mean | Weighted | Call | Sum | Difference | Scaled


def parse_expression(text: str) -> Expression:
    """The expression in `text`, a prompt or a vector; raises ConfigError pointing at what does not parse or not fit."""
    expression = _Parser(text).whole()
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


def kind_of(expression: Expression) -> Kind:
    """What an expression stands for; raises ConfigError where an operation does not fit what it is given."""
    match expression:
        case Name() | Fresh():
            return "prompt"
        case Mean(parts):
            kinds = [kind_of(part) for part in parts]
            if len(set(kinds)) > 1:
                prompt, vector = parts[kinds.index("prompt")], parts[kinds.index("vector")]
                raise ConfigError(f"mean takes prompts or vectors; {prompt} is a prompt, {vector} a vector")
            return kinds[0]
        case Weighted(probe, parts):
            for part in (probe, *parts):
                if kind_of(part) == "vector":
                    raise ConfigError(f"weighted() takes prompts, and {part} is a vector")
            return "prompt"
        case Sum(parts):
            prompts = [part for part in parts if kind_of(part) == "prompt"]
            if len(prompts) > 1:
                a, b = prompts[:2]
                raise ConfigError(f"{a} and {b} are prompts, which do not add; write {a} + v({b}), or mean({a}, {b})")
            return "prompt" if prompts else "vector"
        case Difference(left, right):
            kinds = [kind_of(left), kind_of(right)]
            if kinds == ["vector", "prompt"]:
                raise ConfigError(f"{left} is a vector and {right} a prompt; write {left} - v({right})")
            return "prompt" if kinds == ["prompt", "vector"] else "vector"
        case Scaled(factor, part):
            if kind_of(part) == "prompt":
                raise ConfigError(
                    f"{part} is a prompt, which has no multiples; write {Scaled(factor, Call('v', part))}"
                )
            return "vector"
        case Call("v", part):
            if kind_of(part) == "vector":
                raise ConfigError(f"v() takes a prompt, and {part} is a vector already")
            return "vector"
        case Call(function, part):
            if kind_of(part) == "prompt":
                raise ConfigError(f"{function}() takes a vector, and {part} is a prompt; write {function}(v({part}))")
            return "vector"


def _parts(expression: Expression) -> tuple[Expression, ...]:
    match expression:
        case Name() | Fresh():
            return ()
        case Mean(parts) | Sum(parts):
            return parts
        case Weighted(probe, parts):
            return probe, *parts
        case Difference(left, right):
            return left, right
        case Scaled(_, part) | Call(_, part):
            return (part,)


def names(expression: Expression) -> tuple[str, ...]:
    """The prompts an expression needs, in order, each once."""
    if isinstance(expression, Name):
        return (expression.value,)
    return tuple(dict.fromkeys(name for part in _parts(expression) for name in names(part)))


def measured_names(expression: Expression) -> tuple[str, ...]:
    """The prompts of an expression whose recorded origin counts, because `v(...)` reads it."""
    if isinstance(expression, Call) and expression.function == "v":
        return names(expression)
    return tuple(dict.fromkeys(name for part in _parts(expression) for name in measured_names(part)))


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
            raise self._error(f"unknown function '{function}'; use {', '.join(FUNCTIONS[:-1])} or text")
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


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'
