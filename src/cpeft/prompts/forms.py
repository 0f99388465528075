"""The record of computed prompts and vectors: their linear forms, their origins, and how they are written.

A linear form gives the coefficient of each task in a matrix ({"mnli": 1.0, "qnli": -0.5}). It counts tasks: the difference of
two runs of one task is zero in it, though not in the rows.
"""

from dataclasses import replace
from itertools import combinations
from typing import Any, TypeVar

from cpeft.errors import PromptMismatch
from cpeft.prompts.soft_prompt import PromptOrVector, Provenance, SoftPrompt, check_same_space, matrix_hash

SPACE = (  # fields that a result takes from its parts
    "model", "revision", "embedding", "config", "tokenizer", "template", "dtype", "encoder_decoder", "text",
)  # fmt: skip
# Options that decide the text of rows and answers, with the defaults of prompts that do not record them.
FORM_OPTIONS = {"form": "fields", "prefix": "task", "labels": "words", "cue": None, "examples": 0}
Term = tuple[float, Provenance]
M = TypeVar("M", bound=Any)  # SoftPrompt or TaskVector


def combined(*terms: Term) -> Provenance:
    """The provenance of Σ k_i x_i: the sum of the forms; everything else that the parts should share is taken from the
    first part that records it (an origin prompt has no text options, the vectors added to it do)."""
    linear: dict[str, float] = {}
    for factor, known in terms:
        for task, coefficient in known.linear.items():
            linear[task] = linear.get(task, 0.0) + factor * coefficient
    linear = {task: coefficient for task, coefficient in linear.items() if coefficient}
    shared: dict[str, Any] = {}
    for name in (*SPACE, "origin"):
        recorded = [value for _, known in terms if (value := getattr(known, name)) not in ("", None, {})]
        shared |= {name: recorded[0]} if recorded else {}
    shared["asked"] = {task: card for _, known in reversed(terms) for task, card in known.asked.items()}
    for name in ("crossed", "mixed"):
        shared[name] = sorted({each for _, known in terms for each in getattr(known, name)})
    return Provenance(**shared, task="+".join(sorted(linear)), method="arithmetic", linear=linear)


def check_joins(*parts: PromptOrVector) -> None:
    """Raise PromptMismatch, naming both, unless all prompts and task vectors share model, width, length and form of text: a
    prompt trained on instructions need not work for rows in another form."""
    check_same_space(*parts)
    for first, other in combinations((part.provenance for part in parts if part.provenance.text), 2):
        for name, usual in FORM_OPTIONS.items():
            ours, theirs = first.text.get(name, usual), other.text.get(name, usual)
            if ours != theirs:
                raise PromptMismatch(
                    f"prompts '{label_of(first)}' and '{label_of(other)}' were trained on text of different forms, "
                    f"data.{name} = {ours!r} and {theirs!r}: train both under one, or join them on purpose with mixed(...) "
                    "around one of them"
                )


def mixed(rows: M) -> M:
    """The same prompt or task vector, which can be added to those trained on text of another form: in a formula `mixed(...)`.
    The result has the form of the other parts; the form of this one is recorded in `provenance.mixed`."""
    known = rows.provenance
    form = ", ".join(f"{name} = {value!r}" for name in FORM_OPTIONS if (value := known.text.get(name)) is not None)
    forms = sorted({*known.mixed, *filter(None, [form])})
    return replace(rows, provenance=replace(known, text={}, template="", mixed=forms))


def anchor_of(prompt: SoftPrompt) -> str:
    """Hash of the matrix that a prompt's vector is measured from: its recorded origin, else the prompt itself."""
    return prompt.measured_from or matrix_hash(prompt.weight)


def form_of(prompt: SoftPrompt) -> dict[str, float]:
    """The linear form of a prompt relative to its origin: that of its composition, or 1.0 of its own task. A prompt that
    records no origin counts as an origin, whose form is empty."""
    known = prompt.provenance
    if known.formula:
        return known.linear
    return {} if prompt.is_origin or not prompt.measured_from else {known.task or label_of(known): 1.0}


def form_or_itself(prompt: SoftPrompt) -> dict[str, float]:
    """The linear form; for a prompt that records no origin, 1.0 of its own task."""
    known = prompt.provenance
    return form_of(prompt) if known.formula or prompt.measured_from else {known.task or label_of(known): 1.0}


def label_of(known: Provenance) -> str:
    return known.run or known.task or "prompt"


def written(linear: dict[str, float]) -> str:
    """` + v(mnli) - 0.5*v(qnli)`."""
    sizes = {task: "" if abs(size) == 1 else f"{abs(size):g}*" for task, size in linear.items()}
    return "".join(f" {'-' if linear[task] < 0 else '+'} {size}v({task})" for task, size in sizes.items())
