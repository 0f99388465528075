"""A recipe over a store, with the state of every run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from cpeft.errors import NothingChosen, UnknownName
from cpeft.registry import closest
from cpeft.store.run_folder import RunFolder, Store
from cpeft.store.state import RunState, state_of
from cpeft.study.recipe.recipe import Recipe
from cpeft.study.recipe.references import RecipeRun, References
from cpeft.study.recipe.tiny import load_sized


@dataclass(frozen=True)
class Entry:
    """A run with its state and the reason for it; `folder` is None while its id depends on runs that are not finished."""

    run: RecipeRun
    state: RunState
    folder: RunFolder | None
    why: str = ""


class Plan:
    """A recipe over a store. Ids are computed as soon as everything a run starts from is finished."""

    def __init__(self, recipe: Recipe, store: Store, only: Sequence[str] = ()) -> None:
        """`only` keeps the runs of these names (`stage/run`, with `*` for any text) and everything they need; raises
        UnknownName for a name without a run."""
        self.recipe, self.store, self.only = recipe, store, tuple(only)
        self.references = References(recipe.runs, store)
        if only:
            needed = self._needed(only)
            self.recipe = replace(recipe, runs=tuple(run for run in recipe.runs if str(run) in needed))
            self.references = References(self.recipe.runs, store)

    @classmethod
    def load(
        cls, recipe: Path, overrides: Sequence[str], store: Path | None, only: Sequence[str] = (), worker: str = "",
        plugins: Sequence[Path] = (),
    ) -> "Plan":  # fmt: skip
        """The plan of a recipe file under overrides, over the store at a path (by default `stores/RECIPE`); `worker` names the
        process to the store, `plugins` are loaded too. Raises ConfigError as `load_recipe` does."""
        loaded = load_sized(recipe, overrides, plugins)
        return cls(loaded, Store(store or Path("stores") / loaded.name, worker), only)

    def _needed(self, names: Sequence[str]) -> set[str]:
        pending: list[RecipeRun] = []
        for name in names:
            matching = [run for run in self.recipe.runs if name == str(run) or fnmatchcase(str(run), name)]
            if not matching:
                near = closest(name, map(str, self.recipe.runs)) or "; `cpeft plan` lists its runs"
                raise UnknownName(f"{self.recipe.name} has no run '{name}'{near}")
            pending += matching
        needed: set[str] = set()
        while pending:
            run = pending.pop()
            if str(run) not in needed:
                needed.add(str(run))
                pending += run.needs(self.references)
        return needed

    def run(self, place: int) -> RecipeRun:
        """The run at a place of the recipe, with its settings as earlier runs decide them; these must be finished."""
        return self.references.resolve(self.recipe.runs[place])

    def entries(self) -> list[Entry]:
        """All runs in recipe order with their present state."""
        entries: dict[str, Entry] = {}
        for run in self.recipe.runs:  # a run comes after all that it needs
            entries[str(run)] = self.entry_of(run, [entries[str(need)] for need in run.needs(self.references)])
        return list(entries.values())

    def entry(self, run: RecipeRun) -> Entry:
        """One run with its present state."""
        return self.entry_of(run, [self.entry(need) for need in run.needs(self.references)])

    def entry_of(self, run: RecipeRun, needs: Sequence[Entry]) -> Entry:
        """A run with its present state, given those of the runs it needs."""
        if failed := [need.run for need in needs if need.state in (RunState.FAILED, RunState.BLOCKED)]:
            return Entry(run, RunState.BLOCKED, None, f"needs {failed[0]}, which failed")
        if waiting := sum(need.state != RunState.DONE for need in needs):
            return Entry(run, RunState.WAITING, None, f"waits for {waiting} runs")
        try:
            run = self.references.resolve(run)
        except NothingChosen as error:
            return Entry(run, RunState.BLOCKED, None, str(error))
        folder = self.references.folder(run)
        return Entry(run, state_of(folder, self.store.worker), folder)
