"""What a recipe asks for against what a store holds: which runs are done, ready, waiting or failed.

A reference names earlier prompts: `stage/task`, `stage/label/task`, with `*` for every task and `@2` for a seed; without a
seed a run takes the source of its own seed, else the only one there is, else fails listing the candidates. A path to a
prompt folder or file is a reference too.
"""

import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from cpeft.config import digest
from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError
from cpeft.methods.base import METHODS
from cpeft.models.loading import model_identity
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.expression import measured_names, names, parse_prompt
from cpeft.prompts.soft_prompt import matrix_hash
from cpeft.registry import suggest
from cpeft.study.recipe import Recipe, RecipeRun
from cpeft.study.settings import RunSettings, find_task, located_model, run_id
from cpeft.study.store import RunFolder, Store
from cpeft.study.task_data import dataset_of
from cpeft.tasks import instruction

State = Literal["done", "ready", "waiting", "failed", "blocked"]


@dataclass(frozen=True)
class Planned:
    """A run with its state; `folder` is None while its id depends on runs that are not finished."""

    run: RecipeRun
    state: State
    folder: RunFolder | None
    why: str = ""


class Plan:
    """A recipe over a store. Ids are computed as soon as everything a run starts from is finished."""

    def __init__(self, recipe: Recipe, store: Store) -> None:
        self.recipe, self.store = recipe, store
        self._folders: dict[tuple[str, str], RunFolder] = {}

    def entries(self) -> list[Planned]:
        """All runs in recipe order with their present state."""
        return [self.entry(run) for run in self.recipe.runs]

    def entry(self, run: RecipeRun) -> Planned:
        needs = [self.entry(need) for reference in references(run.settings) for need in self._needed(reference, run)]
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
            settings, starts = run.settings, {}
            measured = measured_names(parse_prompt(settings.prompt.init))
            for reference in prompt_references(settings):
                for name, path in self.find(reference, run).items():
                    starts[f"{reference}:{name}"] = _hash_prompt(path)
                    if reference in measured:
                        starts[f"{reference}:{name}:origin"] = _hash_prompt(path, origin=True)
            for reference in settings.method.references():
                starts[reference] = _hash_file(self.state_of(reference, run))
            model = model_identity(located_model(settings.model, run.base))
            tasks = {name: _task_identity(name, run.base, settings.data) for name in settings.tasks}
            identity = run_id(settings, {"model": model, "tasks": tasks, "starts": starts})
            self._folders[key] = self.store.folder(run.stage, run.name, identity)
        return self._folders[key]

    def find(self, reference: str, run: RecipeRun) -> dict[str, Path]:
        """The prompts a reference stands for by name, all of them finished."""
        if path := self._file(reference, run):
            return {path.stem: path}
        found: dict[str, Path] = {}
        for need in self._needed(reference, run):
            folder, name = self.folder(need), _asked(reference, need)
            prompts = [prompt for prompt in folder.result()["prompts"] if fnmatchcase(prompt, name)]
            found |= {prompt: folder.path / "prompts" / prompt for prompt in prompts}
        if not found:
            raise ConfigError(f"{run}: '{reference}' names no prompt; its runs export others")
        return dict(sorted(found.items()))

    def _file(self, reference: str, run: RecipeRun) -> Path | None:
        """The prompt file or folder a reference names, unless its first part is an earlier stage."""
        if reference.split("/")[0] in self._stages_before(run):
            return None
        return next((place for place in (run.base / reference, Path(reference)) if place.exists()), None)

    def _stages_before(self, run: RecipeRun) -> list[str]:
        stages = list(dict.fromkeys(other.stage for other in self.recipe.runs))
        return stages[: stages.index(run.stage)]

    def state_of(self, reference: str, run: RecipeRun) -> Path:
        """The trained method state of the one run a reference names."""
        needed = self._needed(reference, run)
        if len(needed) != 1:
            raise ConfigError(f"{run}: '{reference}' names {len(needed)} runs, one is wanted")
        return self.folder(needed[0]).path / "method" / "state.safetensors"

    def _needed(self, reference: str, run: RecipeRun) -> list[RecipeRun]:
        """The runs a reference depends on."""
        if self._file(reference, run):
            return []
        where, stages = f"{run}: '{reference}'", self._stages_before(run)
        match = re.fullmatch(r"([^/@]+)/([^@]+)(?:@(\d+))?", reference)
        if not match or match[1] not in stages:
            known = suggest(match[1] if match else reference, stages)
            raise ConfigError(f"{where} is neither a file nor 'stage/task' of an earlier stage{known}")
        stage, _, seed = match.groups()
        there = [
            other for other in self.recipe.runs if other.stage == stage
            and any(fnmatchcase(name, _asked(reference, other)) for name in (*other.tasks, "+".join(other.tasks)))
        ]  # fmt: skip
        seeds = sorted({other.settings.seed for other in there})
        wanted = int(seed) if seed else run.settings.seed
        if wanted not in seeds:
            if not seeds:
                raise ConfigError(f"{where} has no seed {wanted}; stage '{stage}' trains no such task")
            if seed or len(seeds) > 1:
                raise ConfigError(f"{where} has no seed {wanted}; there are seeds {seeds}: say {reference}@{seeds[0]}")
            wanted = seeds[0]
        chosen = [other for other in there if other.settings.seed == wanted]
        labels = sorted({other.label for other in chosen})
        if len(labels) > 1:
            name = _asked(reference, chosen[0])
            raise ConfigError(f"{where} could be {', '.join(f'{stage}/{label}/{name}' for label in labels)}")
        return chosen


def _asked(reference: str, run: RecipeRun) -> str:
    """The task pattern of `stage/task` or `stage/label/task`; names of tasks and labels may hold slashes themselves."""
    return reference.partition("@")[0].partition("/")[2].removeprefix(f"{run.label}/")


def prompt_references(settings: RunSettings) -> list[str]:
    """The prompts a run starts from: its sources, where its method uses them, and those its initialisation names."""
    sources = settings.sources if METHODS.get(settings.method.name).uses_sources else ()
    return [*sources, *names(parse_prompt(settings.prompt.init))]


def references(settings: RunSettings) -> list[str]:
    """Every earlier prompt or run that a run starts from."""
    return [*prompt_references(settings), *settings.method.references()]


def _task_identity(name: str, base: Path, options: DataOptions) -> list[Any]:
    task, data = find_task(name, base), dataset_of(name, base, options.revision)
    own = [task.template, task.prefix, task.label_column, {str(k): v for k, v in task.words.items()}, task.metrics]
    told = [instruction(task, options.labels)] if options.form != "fields" else []
    return [task.version, data.fingerprint, digest(own) if task.files else "", *told]


@lru_cache(maxsize=4096)
def _hash_prompt(path: Path, origin: bool = False) -> str:
    prompt = load_prompt(path)
    matrix = prompt.origin if origin else prompt.weight
    return "" if matrix is None else matrix_hash(matrix)


@lru_cache(maxsize=4096)
def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
