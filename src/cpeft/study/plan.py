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
from cpeft.errors import ConfigError
from cpeft.methods.base import METHODS
from cpeft.models.loading import model_identity
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.expression import names, parse_expression
from cpeft.registry import suggest
from cpeft.study.recipe import Recipe, RecipeRun
from cpeft.study.settings import RunSettings, find_task, located_model, run_id
from cpeft.study.store import RunFolder, Store
from cpeft.study.task_data import dataset_of

State = Literal["done", "ready", "waiting", "failed", "blocked"]


@dataclass(frozen=True)
class Found:
    """A resolved reference: the prompt's name, its folder or file, and the run it came from (None: a plain path)."""

    name: str
    path: Path
    run: RunFolder | None


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
        self._position = {id(run): i for i, run in enumerate(recipe.runs)}

    def entries(self) -> list[Planned]:
        """All runs in recipe order with their present state."""
        return [self.entry(run) for run in self.recipe.runs]

    def entry(self, run: RecipeRun) -> Planned:
        needs = [needed for reference in references(run.settings) for needed in self._needed(reference, run)]
        states = [self.entry(needed) for needed in needs]
        lost = next((s for s in states if s.state in ("failed", "blocked")), None)
        if lost:
            return Planned(run, "blocked", None, f"needs {lost.run.stage}/{lost.run.name}, which failed")
        if any(s.state != "done" for s in states):
            return Planned(run, "waiting", None, f"waits for {sum(s.state != 'done' for s in states)} runs")
        folder = self._folder(run)
        if folder.done:
            return Planned(run, "done", folder)
        return Planned(run, "failed" if folder.failed else "ready", folder)

    def _folder(self, run: RecipeRun) -> RunFolder:
        key = (run.stage, run.name)
        if key not in self._folders:
            model = model_identity(located_model(run.settings.model, run.base))
            content: dict[str, Any] = {"model": model, "tasks": {}, "starts": {}}
            for name in run.settings.tasks:
                content["tasks"][name] = _task_identity(name, run.base, run.settings.data.revision)
            for reference in prompt_references(run.settings):
                for found in self.find(reference, run):
                    content["starts"][f"{reference}:{found.name}"] = _hash_prompt(found.path)
            for reference in run.settings.method.references():
                content["starts"][reference] = _hash_file(self.state_of(reference, run))
            self._folders[key] = self.store.folder(run.stage, run.name, run_id(run.settings, content))
        return self._folders[key]

    def find(self, reference: str, run: RecipeRun) -> list[Found]:
        """The prompts a reference stands for, all of them finished."""
        if (path := self._file(reference, run)) is not None:
            return [Found(path.stem, path, None)]
        found = []
        name = self._parse(reference, run)[2]
        for needed in self._needed(reference, run):
            folder = self._folder(needed)
            for prompt in folder.result()["prompts"]:
                if fnmatchcase(prompt, name):
                    found.append(Found(prompt, folder.path / "prompts" / prompt, folder))
        if not found:
            raise ConfigError(f"{run.stage}/{run.name}: '{reference}' names no prompt; its runs export others")
        return sorted(found, key=lambda f: f.name)

    def _file(self, reference: str, run: RecipeRun) -> Path | None:
        """The prompt file or folder a reference names, unless its first part is an earlier stage."""
        if reference.split("/")[0] in self._stages_before(run):
            return None
        return next((place for place in (run.base / reference, Path(reference)) if place.exists()), None)

    def _stages_before(self, run: RecipeRun) -> list[str]:
        before = self.recipe.runs[: self._position[id(run)]]
        return [other.stage for other in before if other.stage != run.stage]

    def state_of(self, reference: str, run: RecipeRun) -> Path:
        """The trained method state of the one run a reference names."""
        needed = self._needed(reference, run)
        if len(needed) != 1:
            raise ConfigError(f"{run.stage}/{run.name}: '{reference}' names {len(needed)} runs, one is wanted")
        return self._folder(needed[0]).path / "method" / "state.safetensors"

    def _parse(self, reference: str, run: RecipeRun) -> tuple[str, str | None, str, int | None]:
        match = re.fullmatch(r"([^/@]+)/(?:(.+)/)?([^/@]+)(?:@(\d+))?", reference)
        stages = self._stages_before(run)
        if not match or match[1] not in stages:
            known = suggest(match[1] if match else reference, sorted(set(stages)))
            raise ConfigError(
                f"{run.stage}/{run.name}: '{reference}' is neither a file nor 'stage/task' of an earlier stage{known}"
            )
        return match[1], match[2], match[3], int(match[4]) if match[4] else None

    def _needed(self, reference: str, run: RecipeRun) -> list[RecipeRun]:
        """The runs a reference depends on."""
        if self._file(reference, run) is not None:
            return []
        stage, label, name, seed = self._parse(reference, run)
        there = [r for r in self.recipe.runs if r.stage == stage and label in (None, r.label) and _exports(r, name)]
        seeds = sorted({r.settings.seed for r in there})
        wanted = seed if seed is not None else run.settings.seed
        if wanted not in seeds:
            if seed is not None or len(seeds) != 1:
                raise ConfigError(
                    f"{run.stage}/{run.name}: '{reference}' has no seed {wanted}; "
                    + (
                        f"there are seeds {seeds}: say {reference}@{seeds[0]}"
                        if seeds
                        else f"stage '{stage}' trains no such task"
                    )
                )
            wanted = seeds[0]
        chosen = [r for r in there if r.settings.seed == wanted]
        labels = sorted({r.label for r in chosen})
        if len(labels) > 1:
            raise ConfigError(
                f"{run.stage}/{run.name}: '{reference}' could be {', '.join(f'{stage}/{x}/{name}' for x in labels)}"
            )
        return chosen


def prompt_references(settings: RunSettings) -> list[str]:
    """The prompts a run starts from: its sources, where its method uses them, and those its initialisation names."""
    sources = settings.sources if METHODS.get(settings.method.name).uses_sources else ()
    return [*sources, *names(parse_expression(settings.prompt.init))]


def references(settings: RunSettings) -> list[str]:
    """Every earlier prompt or run that a run starts from."""
    return [*prompt_references(settings), *settings.method.references()]


def _exports(run: RecipeRun, name: str) -> bool:
    return any(fnmatchcase(candidate, name) for candidate in (*run.tasks, "+".join(run.tasks)))


def _task_identity(name: str, base: Path, revision: str | None) -> list[Any]:
    task, data = find_task(name, base), dataset_of(name, base, revision)
    own = [task.template, task.prefix, task.label_column, {str(k): v for k, v in task.words.items()}, task.metrics]
    return [task.version, data.fingerprint, digest(own) if task.files else ""]


@lru_cache(maxsize=4096)
def _hash_prompt(path: Path) -> str:
    return hashlib.sha256(load_prompt(path).weight.numpy().tobytes()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
