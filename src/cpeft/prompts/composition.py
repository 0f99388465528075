"""What expressions stand for: trees of `expression.py` over SoftPrompts and task vectors, and over prompt files."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from jaxtyping import Float
from torch import Tensor

from cpeft.errors import ConfigError, PromptError
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.expression import (
    Call,
    Difference,
    Expression,
    Fresh,
    Mean,
    Name,
    Scaled,
    Sum,
    names,
    parse_prompt,
)
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt, check_same_space
from cpeft.prompts.vectors import TaskVector, mean_prompt
from cpeft.registry import suggest

FUNCTIONS: dict[str, Callable[[Any], TaskVector]] = {
    "v": TaskVector.of, "cross": TaskVector.crossing, "noise": TaskVector.noise, "shuffle": TaskVector.shuffled,
}  # fmt: skip


def _model_wanted(part: Fresh) -> Float[Tensor, "P D"]:
    raise PromptError(f"only saved prompts can be combined here, not '{part}'; `cpeft origins` saves drawn ones")


def compose(
    expression: str, prompts: Mapping[str, SoftPrompt], fresh: Callable[[Fresh], Tensor] = _model_wanted
) -> SoftPrompt:
    """The prompt an expression over named prompts stands for, with the expression and the linear form in its provenance;
    `fresh` draws `vocab`, `random`, `labels` and `text(...)` where a model is at hand.

    Raises ConfigError (it does not parse, a name is unknown, the result is a vector), PromptError (`v()` of a prompt that
    records no origin) and PromptMismatch (models, widths, lengths or origins differ)."""
    tree = parse_prompt(expression)
    for name in names(tree):
        if name not in prompts:
            raise ConfigError(f"expression '{expression}': no prompt '{name}'{suggest(name, list(prompts))}")
    check_same_space(*(prompts[name] for name in names(tree)))
    if isinstance(tree, Name):
        return prompts[tree.value]
    result = evaluate(tree, prompts, fresh)
    assert isinstance(result, SoftPrompt)  # by `parse_prompt`
    return replace(result, provenance=replace(result.provenance, formula=expression.strip()))


def evaluate(
    expression: Expression, prompts: Mapping[str, SoftPrompt], fresh: Callable[[Fresh], Tensor]
) -> SoftPrompt | TaskVector:
    """The value of an expression: `prompts` are those it names, `fresh` draws the others."""

    def value(part: Expression) -> Any:
        match part:
            case Name(name):
                known = prompts[name].provenance
                return prompts[name] if known.task else replace(prompts[name], provenance=replace(known, task=name))
            case Fresh(kind):
                return SoftPrompt(fresh(part), Provenance(task=kind))
            case Call(function, inner):
                return FUNCTIONS[function](value(inner))
            case Scaled(factor, inner):
                return factor * value(inner)
            case Sum(parts):
                return reduce(add, map(value, parts))
            case Mean(parts):
                values = [value(inner) for inner in parts]
                return mean_prompt(values) if isinstance(values[0], SoftPrompt) else TaskVector.mean(values)
            case Difference(left, right):
                a, b = value(left), value(right)
                return TaskVector.between(a, b) if isinstance(b, SoftPrompt) else a - b

    result: SoftPrompt | TaskVector = value(expression)
    return result


def compose_files(text: str) -> SoftPrompt:
    """The prompt that a path, or an expression over paths of prompts, stands for; raises PromptError where it is neither."""
    if os.path.exists(text):
        return load_prompt(text)
    tree = parse_prompt(text)
    if not names(tree) or (isinstance(tree, Name) and not os.path.exists(tree.value)):
        raise PromptError(f"'{text}' is no run folder, no prompt and no expression of prompts")
    return compose(text, {name: load_prompt(name) for name in names(tree)})
