"""The trees of formulas: their nodes, whether one is a prompt or a task vector, and which prompts it names.

`parse.py` reads a tree from text, and `str` writes it as text; `evaluate.py` computes its value.
"""

import re
from dataclasses import dataclass

from cpeft.errors import ConfigError
from cpeft.prompts.formula.functions import FUNCTIONS, Kind

NAME = r"[\w/.@][\w/.@*-]*"
FACTOR = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?=\s*\*)"  # a number before a star; a name like that must be quoted
FRESH = ("vocab", "random", "labels")  # drawn from the model, not read from a file


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
class Call:
    """A function of `functions.py` with its arguments."""

    function: str
    parts: tuple["Node", ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class Sum:
    """Vectors, and at most one prompt to add them to."""

    parts: tuple["Node", ...]

    def __str__(self) -> str:
        return f"sum({', '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class Difference:
    """Prompt - prompt or vector - vector, which is a vector; or prompt - vector, which is a prompt."""

    left: "Node"
    right: "Node"

    def __str__(self) -> str:
        return f"({self.left} - {self.right})"


@dataclass(frozen=True)
class Scaled:
    """A number times a vector; `-x` is -1 times x."""

    factor: float
    part: "Node"

    def __str__(self) -> str:
        if self.factor >= 0:
            return f"{self.factor:.17g}*{self.part}"
        return f"-{self.part if self.factor == -1 else Scaled(-self.factor, self.part)}"


Node = Name | Fresh | Call | Sum | Difference | Scaled


def kind_of(node: Node) -> Kind:
    """Whether the value of a formula is a prompt or a vector; raises ConfigError for arguments of the wrong kind."""
    match node:
        case Name() | Fresh():
            return "prompt"
        case Call():
            return _kind_of_call(node)
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
                times = Scaled(factor, Call("v", (part,)))
                raise ConfigError(f"{part} is a prompt, which has no multiples; write {times}")
            return "vector"


def _kind_of_call(call: Call) -> Kind:
    known, name = FUNCTIONS.get(call.function), call.function
    kinds = [kind_of(part) for part in call.parts]
    if known.takes == "either" and len(set(kinds)) > 1:
        prompt, vector = call.parts[kinds.index("prompt")], call.parts[kinds.index("vector")]
        raise ConfigError(f"{name} takes prompts or vectors; {prompt} is a prompt, {vector} a vector")
    for part, kind in zip(call.parts, kinds, strict=True):
        if known.takes == "prompt" and kind == "vector":
            wanted, already = ("a prompt", " already") if known.most == 1 else ("prompts", "")
            raise ConfigError(f"{name}() takes {wanted}, and {part} is a vector{already}")
        if known.takes == "vector" and kind == "prompt":
            wanted = "a vector" if known.most == 1 else "vectors"
            raise ConfigError(f"{name}() takes {wanted}, and {part} is a prompt; write {name}(v({part}))")
    return known.gives or kinds[0]


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case Name() | Fresh():
            return ()
        case Call(_, parts) | Sum(parts):
            return parts
        case Difference(left, right):
            return left, right
        case Scaled(_, part):
            return (part,)


def depth(node: Node) -> int:
    """The number of levels of a formula, 1 for a name; not recursive, so for any depth."""
    level, count = [node], 0
    while level:
        level, count = [part for each in level for part in _parts(each)], count + 1
    return count


def names(node: Node) -> tuple[str, ...]:
    """The prompts that a formula names, in order, each once."""
    if isinstance(node, Name):
        return (node.value,)
    return tuple(dict.fromkeys(name for part in _parts(node) for name in names(part)))


def measured_names(node: Node) -> tuple[str, ...]:
    """The prompts of a formula whose recorded origin counts, because `v(...)` reads it."""
    if isinstance(node, Call) and node.function == "v":
        return names(node)
    return tuple(dict.fromkeys(name for part in _parts(node) for name in measured_names(part)))


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'
