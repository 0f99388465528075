"""The functions of formulas, one decorated function each; a plugin adds its own in the same way.

Formulas are parsed without torch (`cpeft plan`), so the built-in functions import what they need when they are called.
`sum(...)` and `text("...")` are syntax (`parse.py`) and have no entry here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cpeft.registry import Registry

if TYPE_CHECKING:
    from cpeft.prompts.soft_prompt import SoftPrompt
    from cpeft.prompts.vectors import TaskVector

Kind = Literal["prompt", "vector"]


@dataclass(frozen=True)
class Function:
    """`compute` maps `least` to `most` arguments (None: any number) to a SoftPrompt or a TaskVector. Arguments are of the kind
    `takes`, or all of one kind; the value is of the kind `gives` (None: that of the arguments). `usage` completes
    the error message for too few arguments; {} is replaced by the first."""

    compute: Callable[..., Any]
    takes: Kind | Literal["either"]
    gives: Kind | None
    least: int
    most: int | None
    usage: str


FUNCTIONS: Registry[Function] = Registry("function", __name__)


def function(
    name: str, takes: Kind | Literal["either"], gives: Kind | None = None, least: int = 1, most: int | None = 1,
    usage: str = "more arguments",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # fmt: skip
    """Decorator: make a function callable by `name` in formulas; the other arguments are those of `Function`."""

    def declare(compute: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.add(name, Function(compute, takes, gives, least, most, usage))
        return compute

    return declare


@function("mean", takes="either", most=None)
def _mean(*parts: Any) -> "SoftPrompt | TaskVector":
    """The row-wise average of prompts, or of vectors."""
    from cpeft.prompts.soft_prompt import SoftPrompt
    from cpeft.prompts.vectors import TaskVector, mean_prompt

    return mean_prompt(list(parts)) if isinstance(parts[0], SoftPrompt) else TaskVector.mean(list(parts))


@function("weighted", takes="prompt", gives="prompt", least=2, most=None,
          usage="a probe and prompts to average; write weighted({}, mnli, qnli)")  # fmt: skip
def _weighted(probe: "SoftPrompt", *sources: "SoftPrompt") -> "SoftPrompt":
    """The row-wise average of prompts, weighted by the similarity of each to a probe."""
    from cpeft.prompts.similarity import weighted_prompt

    return weighted_prompt(probe, sources)


@function("v", takes="prompt", gives="vector")
def _v(prompt: "SoftPrompt") -> "TaskVector":
    """The prompt minus its recorded origin."""
    from cpeft.prompts.vectors import TaskVector

    return TaskVector.of(prompt)


@function("cross", takes="vector", gives="vector")
def _cross(vector: "TaskVector") -> "TaskVector":
    """A vector that may be added to prompts of any origin."""
    return vector.crossing()


@function("mixed", takes="either")
def _mixed(part: Any) -> Any:
    """A prompt or vector that may be joined with those trained on text of another form."""
    from cpeft.prompts.forms import mixed

    return mixed(part)


@function("noise", takes="vector", gives="vector")
def _noise(vector: "TaskVector") -> "TaskVector":
    """A control: normal rows of the same Frobenius norm."""
    return vector.noise()


@function("shuffle", takes="vector", gives="vector")
def _shuffle(vector: "TaskVector") -> "TaskVector":
    """A control: the same rows in another order."""
    return vector.shuffled()
