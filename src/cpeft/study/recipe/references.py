"""The runs of a recipe and the references by which they name each other.

A reference names earlier prompts: `stage/task`, `stage/label/task`, with `*` for every task, `@2` for a seed and `@*` for
every seed. Without a seed a run takes the prompt of its own seed, or the only one there is; otherwise the reference is an
error that lists the candidates. A path to a prompt folder or file is a reference too.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from cpeft.config import Table
from cpeft.errors import ConfigError
from cpeft.options.model import ModelOptions
from cpeft.options.training import EnergyOptions, GangOptions
from cpeft.prompts.formula.parse import parse_formula
from cpeft.prompts.formula.tree import Name
from cpeft.registry import suggest
from cpeft.store.run_folder import METHOD_STATE, RunFolder, Store

Gang = tuple[ModelOptions, GangOptions, EnergyOptions]


class Effort(NamedTuple):
    """Approximate cost of a run, in rows that go forward through the model once: `training` for all its `steps` with
    validation, `scoring` after the last one."""

    steps: int
    training: float
    scoring: float

    def share(self, step: int) -> float:
        """The part of it that is done after this many steps, 0 to 1."""
        return min(step / self.steps, 1.0) * self.training / (self.training + self.scoring) if self.steps else 0.0


@dataclass(frozen=True)
class RecipeRun(ABC):
    """One run of a recipe. `label` names its method in tables; `name` is readable and unique in its stage; `tasks` are names,
    none for a run that trains nothing."""

    stage: str
    label: str
    name: str
    base: Path  # where relative task files are looked up
    tasks: tuple[str, ...]
    plugins: tuple[str, ...] = field(default=(), kw_only=True)  # SHA-256 of the plugins of its recipe, sorted

    def __str__(self) -> str:
        return f"{self.stage}/{self.name}"

    @property
    def seed(self) -> int | None:
        """The seed of references without one; None for a run without a seed."""
        return None

    @property
    def gang(self) -> Gang | None:
        """What all runs of one gang share; None for a run that cannot join one."""
        return None

    @property
    def kind(self) -> Hashable:
        """Equal for runs that take the same time."""
        return self.stage

    @property
    def effort(self) -> Effort:
        """The expected cost."""
        return Effort(0, 0.0, 1.0)

    @property
    def code(self) -> Table:
        """What plugins add to its identity."""
        return {"plugins": list(self.plugins)} if self.plugins else {}

    @property
    def exports(self) -> bool:
        """Whether its prompts are kept for later runs."""
        return True

    @abstractmethod
    def references(self) -> list[str]:
        """Every earlier prompt or run that this one starts from."""

    def needs(self, references: "References") -> list["RecipeRun"]:
        """The runs that must be finished first, each once; raises ConfigError for a reference that names none."""
        return list({str(need): need for name in self.references() for need in references.named(name, self)}.values())

    def resolved(self, references: "References") -> "RecipeRun":
        """The run with the settings that earlier runs decide; itself where they decide none. All that it needs must be
        finished."""
        return self

    @abstractmethod
    def identity(self, references: "References") -> str:
        """Twelve hexadecimal digits of everything that decides the result; needs all runs it starts from to be finished."""

    @abstractmethod
    def saved(self) -> Table:
        """The content of `config.toml`."""


class Source(NamedTuple):
    """A prompt that a reference names: its name, its path, and the finished run that made it (None for a file)."""

    name: str
    path: Path
    run: RecipeRun | None


class References:
    """The runs, prompts and files that references name, for some runs and the store of their results."""

    def __init__(self, runs: Sequence[RecipeRun], store: Store) -> None:
        self.store = store
        self.stages: dict[str, list[RecipeRun]] = {}  # in recipe order
        for run in runs:
            self.stages.setdefault(run.stage, []).append(run)
        self._folders: dict[tuple[str, str], RunFolder] = {}
        self._resolved: dict[tuple[str, str], RecipeRun] = {}
        self._named: dict[tuple[str, str, int | None], list[RecipeRun]] = {}

    def resolve(self, run: RecipeRun) -> RecipeRun:
        """`run.resolved`, found once."""
        key = (run.stage, run.name)
        if key not in self._resolved:
            self._resolved[key] = run.resolved(self)
        return self._resolved[key]

    def folder(self, run: RecipeRun) -> RunFolder:
        """The folder of a run; all runs that it needs must be finished."""
        key = (run.stage, run.name)
        if key not in self._folders:
            self._folders[key] = self.store.folder(run.stage, run.name, run.identity(self))
        return self._folders[key]

    def find(self, reference: str, run: RecipeRun) -> dict[str, Path]:
        """The paths of the prompts that a reference names, by name, or by name and seed (`mood@0`) for a reference to every
        seed."""
        every = reference.endswith("@*")
        paths = {f"{s.name}@{s.run.seed}" if every and s.run else s.name: s.path for s in self.prompts(reference, run)}
        return dict(sorted(paths.items()))

    def prompts(self, reference: str, run: RecipeRun) -> list[Source]:
        """The prompts that a reference names, in recipe order; all of them must be finished."""
        if path := self._file(reference, run):
            return [Source(path.stem, path, None)]
        sources, exported = list[Source](), set[str]()
        for need in self.named(reference, run):
            folder, pattern = self.folder(need), _task_pattern(reference, need)
            prompts = folder.result().prompts
            exported |= set(prompts)
            sources += [Source(name, folder.prompt(name), need) for name in prompts if fnmatchcase(name, pattern)]
        if not sources:
            names = ", ".join(sorted(exported)) or "none"
            raise ConfigError(f"{run}: no run matching '{reference}' exports a prompt of that name; available: {names}")
        return sources

    def state_of(self, reference: str, run: RecipeRun) -> Path:
        """The trained method state of the one run that a reference names."""
        needed = self.named(reference, run)
        if len(needed) != 1:
            raise ConfigError(f"{run}: '{reference}' names {len(needed)} runs, exactly one is needed")
        return self.folder(needed[0]).method_path / METHOD_STATE

    def named(self, reference: str, run: RecipeRun) -> list[RecipeRun]:
        """The earlier runs that a reference names, none for a file; raises ConfigError with the candidates."""
        if self._file(reference, run):
            return []
        key = (reference, run.stage, run.seed)  # all that the answer depends on
        if key not in self._named:
            self._named[key] = self._search(reference, run)
        return self._named[key]

    def _file(self, reference: str, run: RecipeRun) -> Path | None:
        """The prompt file or folder that a reference names, unless its first part is an earlier stage."""
        if reference.split("/")[0] in self._stages_before(run):
            return None
        places = (run.base / reference, Path(reference))
        return next((place for place in places if os.path.exists(place)), None)  # a formula may be too long for a name

    def _stages_before(self, run: RecipeRun) -> list[str]:
        stages = list(self.stages)
        return stages[: stages.index(run.stage)]

    def _search(self, reference: str, run: RecipeRun) -> list[RecipeRun]:
        where, stages = f"{run}: '{reference}'", self._stages_before(run)
        match = re.fullmatch(r"([^/@]+)/([^@]+)(?:@(\d+|\*))?", reference)
        if not match or match[1] not in stages:
            hint = _formula_hint(reference) or suggest(match[1] if match else reference, stages)
            raise ConfigError(f"{where} is neither a file nor 'stage/task' of an earlier stage{hint}")
        stage, _, seed = match.groups()
        candidates = [
            other for other in self.stages[stage] if other.tasks
            if any(fnmatchcase(name, _task_pattern(reference, other)) for name in (*other.tasks, "+".join(other.tasks)))
        ]  # fmt: skip
        if unkept := [other for other in candidates if not other.exports]:
            raise ConfigError(f"{where} names {unkept[0]}, a search run, and the prompts of search runs are not kept")
        if not candidates:
            raise ConfigError(f"{where} names no run; stage '{stage}' trains no such task{_formula_hint(reference)}")
        chosen = candidates if seed == "*" else _of_seed(reference, run, candidates)
        labels = sorted({other.label for other in chosen})
        if len(labels) > 1:
            task = _task_pattern(reference, chosen[0])
            raise ConfigError(f"{where} could be {', '.join(f'{stage}/{label}/{task}' for label in labels)}")
        return chosen


def _formula_hint(reference: str) -> str:
    """How to use a formula where only names are allowed (`sources`, `compare`); empty for a name. References in `prompt.init`
    are already single names."""
    try:
        is_name = isinstance(parse_formula(reference).tree, Name)
    except ConfigError:
        is_name = True
    remedy = f"a stage with train.steps = 0 and prompt.init = '{reference}' makes a prompt of it, to be named 'stage/task' here"
    return "" if is_name else f"; formulas have no place in a list of names: {remedy}"


def _of_seed(reference: str, run: RecipeRun, candidates: list[RecipeRun]) -> list[RecipeRun]:
    """The candidates of the seed in the reference, else of the run's own seed, else of the only seed there is."""
    name, given, seed = reference.partition("@")
    seeds = sorted({other.seed for other in candidates if other.seed is not None})
    wanted = int(seed) if given else run.seed
    if wanted not in seeds:
        if given or len(seeds) > 1:
            lacks = "names no seed" if wanted is None else f"has no seed {wanted}"
            raise ConfigError(
                f"{run}: '{reference}' {lacks}; there are seeds {seeds}: write {name}@{seeds[0]}, or {name}@* for all of them"
            )
        wanted = seeds[0]
    return [other for other in candidates if other.seed == wanted]


def _task_pattern(reference: str, run: RecipeRun) -> str:
    """The task part of `stage/task` or `stage/label/task`; names of tasks and labels may contain slashes."""
    return reference.partition("@")[0].partition("/")[2].removeprefix(f"{run.label}/")
