"""What a recipe asks for against what a store holds: which runs are done, ready, waiting or failed.

A reference names earlier prompts: `stage/task`, `stage/label/task`, with `*` for every task, `@2` for a seed and `@*` for
every seed; without a seed a run takes the source of its own seed, else the only one there is, else fails listing the
candidates. A path to a prompt folder or file is a reference too.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from cpeft.errors import ConfigError, UnknownName
from cpeft.prompts.expression import Name, parse_expression
from cpeft.registry import suggest
from cpeft.store.run_folder import METHOD_STATE, RunFolder, Store
from cpeft.study.recipe.recipe import Recipe
from cpeft.study.recipe.runs import RecipeRun, TrainingRun

State = Literal[
    "done", "ready", "waiting", "failed", "blocked", "needs data", "needs model"
]  # the last two: `outlook.py`


@dataclass(frozen=True)
class Planned:
    """A run with its state; `folder` is None while its id depends on runs that are not finished."""

    run: RecipeRun
    state: State
    folder: RunFolder | None
    why: str = ""

    @property
    def pending(self) -> bool:
        """Neither finished nor failed nor kept back by a failed run."""
        return self.state not in ("done", "failed", "blocked")


class Source(NamedTuple):
    """A prompt that a reference names, where it lies, and the finished run it is of (None for a file)."""

    name: str
    path: Path
    run: TrainingRun | None


class Plan:
    """A recipe over a store. Ids are computed as soon as everything a run starts from is finished."""

    def __init__(self, recipe: Recipe, store: Store, only: Sequence[str] = ()) -> None:
        """`only` narrows the recipe to the runs of these names (`stage/run`, with `*` for any text) and all that they need;
        raises UnknownName for one that names none."""
        self.recipe, self.store, self.only = recipe, store, tuple(only)
        if only:
            kept = Plan(recipe, store)._needed(only)
            self.recipe = replace(recipe, runs=tuple(run for run in recipe.runs if str(run) in kept))
        self._folders: dict[tuple[str, str], RunFolder] = {}
        self._named: dict[tuple[str, str, int | None], list[TrainingRun]] = {}

    def _needed(self, names: Sequence[str]) -> set[str]:
        known = {str(run): run for run in self.recipe.runs}
        pending = []
        for name in names:
            if not (found := [run for called, run in known.items() if name == called or fnmatchcase(called, name)]):
                raise UnknownName(f"{self.recipe.name} has no run '{name}'; `cpeft plan` lists its runs")
            pending += found
        kept: set[str] = set()
        while pending:
            run = pending.pop()
            if str(run) not in kept:
                kept.add(str(run))
                pending += run.needs(self)
        return kept

    @cached_property
    def _stages(self) -> dict[str, list[TrainingRun]]:
        """The runs that train, by stage; all stages in recipe order."""
        stages: dict[str, list[TrainingRun]] = {run.stage: [] for run in self.recipe.runs}
        for run in self.recipe.training:
            stages[run.stage].append(run)
        return stages

    def entries(self) -> list[Planned]:
        """All runs in recipe order with their present state."""
        found: dict[str, Planned] = {}
        for run in self.recipe.runs:  # what a run needs stands before it
            found[str(run)] = self.judged(run, [found[str(need)] for need in run.needs(self)])
        return list(found.values())

    def entry(self, run: RecipeRun) -> Planned:
        """One run with its present state."""
        return self.judged(run, [self.entry(need) for need in run.needs(self)])

    def judged(self, run: RecipeRun, needs: Sequence[Planned]) -> Planned:
        """A run with its state, by the states of the runs it needs."""
        if lost := [need.run for need in needs if need.state in ("failed", "blocked")]:
            return Planned(run, "blocked", None, f"needs {lost[0]}, which failed")
        if waiting := sum(need.state != "done" for need in needs):
            return Planned(run, "waiting", None, f"waits for {waiting} runs")
        folder = self.folder(run)
        return Planned(run, "done" if folder.done else "failed" if folder.failed else "ready", folder)

    def folder(self, run: RecipeRun) -> RunFolder:
        """The folder of a run all of whose sources are finished."""
        key = (run.stage, run.name)
        if key not in self._folders:
            self._folders[key] = self.store.folder(run.stage, run.name, run.identity(self))
        return self._folders[key]

    def find(self, reference: str, run: RecipeRun) -> dict[str, Path]:
        """The prompts a reference stands for by name, and by name and seed (`mood@0`) where it is for every seed."""
        every = reference.endswith("@*")
        found = {f"{s.name}@{s.run.seed}" if every and s.run else s.name: s.path for s in self.prompts(reference, run)}
        return dict(sorted(found.items()))

    def prompts(self, reference: str, run: RecipeRun) -> list[Source]:
        """The prompts a reference stands for, all of them finished, in recipe order."""
        if path := self._file(reference, run):
            return [Source(path.stem, path, None)]
        found = []
        for need in self.named(reference, run):
            folder, asked = self.folder(need), _asked(reference, need)
            prompts = [prompt for prompt in folder.result().prompts if fnmatchcase(prompt, asked)]
            found += [Source(prompt, folder.prompt(prompt), need) for prompt in prompts]
        if not found:
            raise ConfigError(f"{run}: '{reference}' names no prompt; its runs export others")
        return found

    def _file(self, reference: str, run: RecipeRun) -> Path | None:
        """The prompt file or folder a reference names, unless its first part is an earlier stage."""
        if reference.split("/")[0] in self._stages_before(run):
            return None
        places = (run.base / reference, Path(reference))
        return next((place for place in places if os.path.exists(place)), None)  # a formula may be too long for a name

    def _stages_before(self, run: RecipeRun) -> list[str]:
        stages = list(self._stages)
        return stages[: stages.index(run.stage)]

    def state_of(self, reference: str, run: RecipeRun) -> Path:
        """The trained method state of the one run a reference names."""
        needed = self.named(reference, run)
        if len(needed) != 1:
            raise ConfigError(f"{run}: '{reference}' names {len(needed)} runs, one is wanted")
        return self.folder(needed[0]).method_path / METHOD_STATE

    def named(self, reference: str, run: RecipeRun) -> list[TrainingRun]:
        """The earlier runs a reference names, none where it is a file; raises ConfigError saying what there is instead."""
        if self._file(reference, run):
            return []
        key = (reference, run.stage, run.seed)  # all that the answer depends on
        if key not in self._named:
            self._named[key] = self._search(reference, run)
        return self._named[key]

    def _search(self, reference: str, run: RecipeRun) -> list[TrainingRun]:
        where, stages = f"{run}: '{reference}'", self._stages_before(run)
        match = re.fullmatch(r"([^/@]+)/([^@]+)(?:@(\d+|\*))?", reference)
        if not match or match[1] not in stages:
            known = _as_formula(reference) or suggest(match[1] if match else reference, stages)
            raise ConfigError(f"{where} is neither a file nor 'stage/task' of an earlier stage{known}")
        stage, _, seed = match.groups()
        there = [
            other for other in self._stages[stage]
            if any(fnmatchcase(name, _asked(reference, other)) for name in (*other.tasks, "+".join(other.tasks)))
        ]  # fmt: skip
        if not there:
            raise ConfigError(f"{where} names no run; stage '{stage}' trains no such task{_as_formula(reference)}")
        chosen = there if seed == "*" else _of_seed(reference, run, there)
        labels = sorted({other.label for other in chosen})
        if len(labels) > 1:
            name = _asked(reference, chosen[0])
            raise ConfigError(f"{where} could be {', '.join(f'{stage}/{label}/{name}' for label in labels)}")
        return chosen


def _as_formula(reference: str) -> str:
    """What to do with a formula where names alone stand (`sources`, `compare`); empty for a name. A formula in `prompt.init`
    comes here as its names."""
    try:
        name = isinstance(parse_expression(reference), Name)
    except ConfigError:
        name = True
    remedy = f"a stage with train.steps = 0 and prompt.init = '{reference}' makes a prompt of it, to be named 'stage/task' here"
    return "" if name else f"; formulas have no place in a list of names: {remedy}"


def _of_seed(reference: str, run: RecipeRun, there: list[TrainingRun]) -> list[TrainingRun]:
    """The runs of the seed that a reference says, else of the asking run's own, else of the only one."""
    name, said, seed = reference.partition("@")
    seeds, wanted = sorted({other.seed for other in there}), int(seed) if said else run.seed
    if wanted not in seeds:
        if said or len(seeds) > 1:
            lacks = "says no seed" if wanted is None else f"has no seed {wanted}"
            raise ConfigError(
                f"{run}: '{reference}' {lacks}; there are seeds {seeds}: say {name}@{seeds[0]}, or {name}@* for all of them"
            )
        wanted = seeds[0]
    return [other for other in there if other.seed == wanted]


def _asked(reference: str, run: RecipeRun) -> str:
    """The task pattern of `stage/task` or `stage/label/task`; names of tasks and labels may hold slashes themselves."""
    return reference.partition("@")[0].partition("/")[2].removeprefix(f"{run.label}/")
