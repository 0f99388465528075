"""The values of formulas over SoftPrompts, task vectors and prompt files."""

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
from cpeft.prompts.formula.functions import FUNCTIONS
from cpeft.prompts.formula.parse import Formula, parse_formula, parse_prompt
from cpeft.prompts.formula.tree import Call, Difference, Fresh, Name, Node, Scaled, Sum, kind_of, names
from cpeft.prompts.similarity import Item
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt, check_same_space
from cpeft.prompts.vectors import TaskVector
from cpeft.registry import suggest

LABEL = re.compile(r"(?P<task>[\w.-]+)(?:@(?P<origin>[\w.-]+))?=(?P<what>.+)", re.DOTALL)


def _model_wanted(part: Fresh) -> Float[Tensor, "P D"]:
    raise PromptError(f"only saved prompts can be combined here, not '{part}'; `cpeft origins` saves drawn ones")


def compose(
    formula: str | Formula, prompts: Mapping[str, SoftPrompt], fresh: Callable[[Fresh], Tensor] = _model_wanted
) -> SoftPrompt:
    """The value of a formula over named prompts, with the formula and the linear form in its provenance; `fresh`
    draws `vocab`, `random`, `labels` and `text(...)`, which need a model.

    Raises ConfigError (it does not parse, a name is unknown, the result is a vector), PromptError (`v()` of a prompt that
    records no origin) and PromptMismatch (models, widths, lengths or origins differ)."""
    formula = parse_prompt(formula) if isinstance(formula, str) else formula
    for name in formula.names:
        if name not in prompts:
            raise ConfigError(f"formula '{formula}': no prompt '{name}'{suggest(name, list(prompts))}")
    check_same_space(*(prompts[name] for name in formula.names))
    if isinstance(formula.tree, Name):
        return prompts[formula.tree.value]
    result = evaluate(formula.tree, prompts, fresh)
    assert isinstance(result, SoftPrompt)  # by `parse_prompt`
    return replace(result, provenance=replace(result.provenance, formula=formula.text.strip()))


def evaluate(
    tree: Node, prompts: Mapping[str, SoftPrompt], fresh: Callable[[Fresh], Tensor]
) -> SoftPrompt | TaskVector:
    """The value of a formula: `prompts` has the prompts it names, `fresh` draws the others."""

    def value(part: Node) -> Any:
        match part:
            case Name(name):
                known = prompts[name].provenance
                return prompts[name] if known.task else replace(prompts[name], provenance=replace(known, task=name))
            case Fresh(kind):
                return SoftPrompt.drawn(fresh(part), Provenance(task=kind))
            case Call("cross", (Difference(left, right),)) if kind_of(right) == "prompt":
                return TaskVector.across(value(left), value(right))
            case Call(function, parts):
                return FUNCTIONS.get(function).compute(*map(value, parts))
            case Scaled(factor, inner):
                return factor * value(inner)
            case Sum(parts):
                return reduce(add, map(value, parts))
            case Difference(left, right):
                a, b = value(left), value(right)
                return TaskVector.between(a, b) if isinstance(b, SoftPrompt) else a - b

    result: SoftPrompt | TaskVector = value(tree)
    return result


def compose_files(text: str) -> SoftPrompt:
    """The prompt at a path, or the value of a formula over paths of prompts; raises PromptError if it is neither."""
    if os.path.exists(text):
        return load_prompt(text)
    formula = parse_prompt(text)
    if not formula.names or (isinstance(formula.tree, Name) and not os.path.exists(formula.tree.value)):
        raise PromptError(f"'{text}' is no run folder, no prompt and no formula of prompts")
    return compose(formula, {name: load_prompt(name) for name in formula.names})


def read_items(texts: Sequence[str], vectors: bool = False, live: int | None = None) -> list[Item]:
    """The values of paths and of formulas over paths, prompts or task vectors, each with its dead rows: the same formula
    over the dead rows of its prompts, which is right because every built-in function but `noise`, `shuffle` and
    `weighted` is linear. `vectors` takes v() of every prompt; `live` as in `load_stored`.

    `TASK@ORIGIN=` before one gives its task and origin if its file does not. Names are the task and its origin (a number in
    order of appearance), or the text if those repeat. Raises what reading and `evaluate` raise."""
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
    """The value of a path or a formula, and that of the same formula over dead rows, None unless all its prompts have them."""
    tree = Name(text) if os.path.exists(text) else parse_formula(text).tree
    if not names(tree) or (isinstance(tree, Name) and not os.path.exists(tree.value)):
        raise PromptError(f"'{text}' is no prompt and no formula of prompts")
    if vectors and kind_of(tree) == "prompt":
        tree = Call("v", (tree,))
    found = {name: load_stored(name, live) for name in names(tree)}
    check_same_space(*(prompt for prompt, _ in found.values()))
    rows = evaluate(tree, {name: prompt for name, (prompt, _) in found.items()}, _model_wanted)
    dead = {name: prompt.dead for name, (prompt, _) in found.items() if prompt.dead is not None}
    if len(dead) < len(found):
        return rows, None
    unread = evaluate(tree, dead, _model_wanted)
    return rows, unread.weight if isinstance(unread, SoftPrompt) else unread.delta
