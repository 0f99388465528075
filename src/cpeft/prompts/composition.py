"""What expressions stand for: trees of `expression.py` over SoftPrompts and task vectors, and over prompt files."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from jaxtyping import Float
from torch import Tensor

from cpeft.errors import ConfigError, PromptError
from cpeft.prompts.exchange import load_prompt, load_stored
from cpeft.prompts.expression import (
    Call,
    Difference,
    Expression,
    Fresh,
    Mean,
    Name,
    Scaled,
    Sum,
    Weighted,
    kind_of,
    names,
    parse_expression,
    parse_prompt,
)
from cpeft.prompts.forms import check_joins, mixed
from cpeft.prompts.similarity import Item, token_mean
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt, check_same_space
from cpeft.prompts.vectors import TaskVector, mean_prompt
from cpeft.registry import suggest

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "v": TaskVector.of, "cross": TaskVector.crossing, "noise": TaskVector.noise, "shuffle": TaskVector.shuffled, "mixed": mixed,
}  # fmt: skip
LABEL = re.compile(r"(?P<task>[\w.-]+)(?:@(?P<origin>[\w.-]+))?=(?P<what>.+)", re.DOTALL)


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
                return SoftPrompt.drawn(fresh(part), Provenance(task=kind))
            case Call("cross", Difference(left, right)) if kind_of(right) == "prompt":
                return TaskVector.across(value(left), value(right))
            case Call(function, inner):
                return FUNCTIONS[function](value(inner))
            case Scaled(factor, inner):
                return factor * value(inner)
            case Sum(parts):
                return reduce(add, map(value, parts))
            case Mean(parts):
                values = [value(inner) for inner in parts]
                return mean_prompt(values) if isinstance(values[0], SoftPrompt) else TaskVector.mean(values)
            case Weighted(probe, parts):
                return weighted_prompt(value(probe), [value(inner) for inner in parts])
            case Difference(left, right):
                a, b = value(left), value(right)
                return TaskVector.between(a, b) if isinstance(b, SoftPrompt) else a - b

    result: SoftPrompt | TaskVector = value(expression)
    return result


def weighted_prompt(probe: SoftPrompt, sources: Sequence[SoftPrompt]) -> SoftPrompt:
    """SPoT's weighted average of sources (Vu et al. 2022, section 4), here of all that are given:

        Σ_i s_i θ_i / Σ_i s_i        s_i = max(0, cos(token mean of probe, token mean of θ_i))

    where the probe is a prompt of the target task after a short training. The paper leaves negative cosines open: such a source
    counts for nothing. Raises PromptError where none is positive."""
    check_joins(probe, *sources)
    first_PD = probe.weight.double().numpy()
    alike = [max(0.0, token_mean(first_PD, source.weight.double().numpy())) for source in sources]
    total = sum(alike)
    if total == 0:
        raise PromptError(
            "weighted(): no source prompt is alike the probe (no cosine above 0); mean(...) weighs them equally"
        )
    return mean_prompt(sources, [value / total for value in alike])


def compose_files(text: str) -> SoftPrompt:
    """The prompt that a path, or an expression over paths of prompts, stands for; raises PromptError where it is neither."""
    if os.path.exists(text):
        return load_prompt(text)
    tree = parse_prompt(text)
    if not names(tree) or (isinstance(tree, Name) and not os.path.exists(tree.value)):
        raise PromptError(f"'{text}' is no run folder, no prompt and no expression of prompts")
    return compose(text, {name: load_prompt(name) for name in names(tree)})


def read_items(texts: Sequence[str], vectors: bool = False, live: int | None = None) -> list[Item]:
    """What paths and expressions over paths stand for, prompts or task vectors, each with the rows stored behind it that the
    model never reads: the same expression over those, which holds because all of the language but `noise`, `shuffle` and
    `weighted` is linear. `vectors` takes v() of every prompt; `live` as in `load_stored`.

    `TASK@ORIGIN=` in front of one says where it belongs if its file does not. Names are the task and its origin (a number in
    order of appearance), or the text where those repeat. Raises what reading and `evaluate` raise."""
    items = []
    for text in texts:
        label = None if os.path.exists(text) else LABEL.fullmatch(text)
        rows, dead_ND = _stored(label["what"] if label else text, vectors, live)
        item = Item.of(text, rows, dead_ND)
        items.append(replace(item, task=label["task"], origin=label["origin"] or item.origin) if label else item)
    hashes = [item.origin for item in items if re.fullmatch(r"[0-9a-f]{16}", item.origin)]
    numbers = {origin: str(number) for number, origin in enumerate(dict.fromkeys(hashes))}
    names = [item.task + f"@{numbers.get(item.origin, item.origin)}" * bool(item.origin) for item in items]
    return [
        replace(item, name=name if names.count(name) == 1 else item.name)
        for item, name in zip(items, names, strict=True)
    ]


def _stored(text: str, vectors: bool, live: int | None) -> tuple[SoftPrompt | TaskVector, Tensor | None]:
    """What a path or an expression stands for, and the same expression of the rows the model never reads, None unless every
    prompt in it was stored with such rows."""
    tree = Name(text) if os.path.exists(text) else parse_expression(text)
    if not names(tree) or (isinstance(tree, Name) and not os.path.exists(tree.value)):
        raise PromptError(f"'{text}' is no prompt and no expression of prompts")
    if vectors and kind_of(tree) == "prompt":
        tree = Call("v", tree)
    found = {name: load_stored(name, live) for name in names(tree)}
    check_same_space(*(prompt for prompt, _ in found.values()))
    rows = evaluate(tree, {name: prompt for name, (prompt, _) in found.items()}, _model_wanted)
    dead = {name: prompt.dead for name, (prompt, _) in found.items() if prompt.dead is not None}
    if len(dead) < len(found):
        return rows, None
    unread = evaluate(tree, dead, _model_wanted)
    return rows, unread.weight if isinstance(unread, SoftPrompt) else unread.delta
