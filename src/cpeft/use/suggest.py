"""Predict which source prompts will help a new task, by the direction in which a short training moves its own prompt.

A *probe* is a prompt of the new task after a few steps from the same origin as the sources. Sources are ranked by the cosine
of its task vector and theirs,

    similarity(source) = mean over origins θ0 of  cos(probe(θ0) − θ0, source(θ0) − θ0)

SPoT (Vu et al. 2022, section 4) compares the prompts themselves; the largest part of prompts of one origin is that origin.
Task vectors exclude it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpeft.config import Table, merge, override
from cpeft.errors import ConfigError, PromptError
from cpeft.models.loading import FrozenLM
from cpeft.prompts.forms import check_joins
from cpeft.prompts.formula.evaluate import compose_files
from cpeft.prompts.similarity import MEASURES
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.prompts.vectors import TaskVector
from cpeft.store.run_folder import saved_prompts
from cpeft.use.api import train
from cpeft.use.target import model_of_prompt

COSINES = ("flattened", "token_mean")
PROBE: Table = {"train": {"steps": 50, "eval_every": 50}, "data": {"limit_validation": 50}}


@dataclass(frozen=True)
class Suggestion:
    """A source task, the mean similarity of its prompts' task vectors to those of the probes, and how many prompts it has."""

    source: str
    similarity: float
    prompts: int


def suggest_sources(
    sources: Mapping[str, SoftPrompt], task: str, lm: FrozenLM, measure: str = "flattened", **settings: Any
) -> list[Suggestion]:
    """Sources for a task, best first; one probe is trained for each origin. `settings` are a recipe's tables for the probe
    (by default 50 steps); text options are those of the sources.

    Raises ConfigError (another measure), PromptError (no sources, or one without an origin) and what training raises."""
    if measure not in COSINES:
        raise ConfigError(f"--measure {measure}: use {' or '.join(COSINES)}")
    if not sources:
        raise PromptError("no source prompts to choose from")
    check_joins(*sources.values())
    vectors = {name: TaskVector.of(prompt) for name, prompt in sources.items()}
    found: dict[str, list[float]] = {}
    for group in _by_origin(sources).values():
        probe = TaskVector.of(_probe(sources[group[0]], task, lm, settings))
        for name in group:
            value = MEASURES[measure](*(each.delta.double().numpy() for each in (probe, vectors[name])))
            found.setdefault(vectors[name].provenance.task or name, []).append(value)
    means = [Suggestion(source, float(np.mean(values)), len(values)) for source, values in found.items()]
    return sorted(means, key=lambda each: -each.similarity)


def _by_origin(sources: Mapping[str, SoftPrompt]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, prompt in sources.items():
        groups.setdefault(prompt.measured_from, []).append(name)
    return groups


def _probe(source: SoftPrompt, task: str, lm: FrozenLM, settings: Table) -> SoftPrompt:
    """The prompt of the new task after a short training from the origin of the source."""
    assert source.origin is not None
    table = merge(PROBE, {"data": source.provenance.text}, settings)
    learner = train(lm, task, start=SoftPrompt(source.origin, source.provenance), **table)
    (prompt,) = learner.export().values()
    return prompt


def suggest_files(
    what: Sequence[str], task: str, model: str | None, measure: str, overrides: Sequence[str]
) -> list[Suggestion]:
    """`suggest_sources` for prompts, formulas of them, and stores, runs and other folders with prompts in them."""
    named = [[str(path) for path in prompts_below(Path(text))] if os.path.isdir(text) else [text] for text in what]
    sources = {text: compose_files(text) for texts in named for text in texts}
    lm = model_of_prompt(next(iter(sources.values())).provenance, model)
    return suggest_sources(sources, task, lm, measure, **merge({}, *map(override, overrides)))


def prompts_below(path: Path) -> list[Path]:
    """The folder of a prompt itself, or all prompts that were saved below a folder; raises PromptError if there is none."""
    if (path / "cpeft.json").exists() or (path / "adapter_config.json").exists():
        return [path]
    found = saved_prompts(path)
    if not found:
        raise PromptError(
            f"{path}: neither a prompt nor a folder with prompts in it; `cpeft import` saves foreign ones"
        )
    return found
