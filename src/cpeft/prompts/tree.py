"""Expressions as trees: what may stand in one, whether it is a prompt or a task vector, and which prompts it names.

`expression.py` reads a tree from text, which `str` of it writes again; `composition.py` computes what it stands for.
"""

import re
from dataclasses import dataclass
from typing import Literal

from cpeft.errors import ConfigError

NAME = r"[\w/.@][\w/.@*-]*"
FACTOR = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?=\s*\*)"  # a number before a star; as a name it must be quoted
FRESH = ("vocab", "random", "labels")  # drawn from the model, not read from a file
Kind = Literal["prompt", "vector"]


@dataclass(frozen=True)
class Name:
    """A prompt to be looked up."""

    value: str

    def __str__(self) -> str:
        bare = re.fullmatch(NAME, self.value) and not re.match(FACTOR, self.value) and self.value not in FRESH
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
    """A function of one argument: `v` makes a prompt a vector, `cross`, `noise` and `shuffle` a vector another one,
    `mixed` either one that may join text of another form."""

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
        case Call("mixed", part):
            return kind_of(part)
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


def depth(expression: Expression) -> int:
    """The number of levels of an expression, 1 for a name; without recursion, so of any."""
    level, count = [expression], 0
    while level:
        level, count = [part for each in level for part in _parts(each)], count + 1
    return count


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


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'
