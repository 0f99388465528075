"""A recipe over a store: which of its runs are done, ready, waiting or failed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from cpeft.errors import UnknownName
from cpeft.store.run_folder import RunFolder, Store
from cpeft.study.recipe.recipe import Recipe
from cpeft.study.recipe.references import RecipeRun, References

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


class Plan:
    """A recipe over a store. Ids are computed as soon as everything a run starts from is finished."""

    def __init__(self, recipe: Recipe, store: Store, only: Sequence[str] = ()) -> None:
        """`only` narrows the recipe to the runs of these names (`stage/run`, with `*` for any text) and all that they need;
        raises UnknownName for one that names none."""
        self.recipe, self.store, self.only = recipe, store, tuple(only)
        if only:
            kept = Plan(recipe, store)._needed(only)
            self.recipe = replace(recipe, runs=tuple(run for run in recipe.runs if str(run) in kept))
        self.references = References(self.recipe.runs, store)

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
                pending += run.needs(self.references)
        return kept

    def entries(self) -> list[Planned]:
        """All runs in recipe order with their present state."""
        found: dict[str, Planned] = {}
        for run in self.recipe.runs:  # what a run needs stands before it
            found[str(run)] = self.judged(run, [found[str(need)] for need in run.needs(self.references)])
        return list(found.values())

    def entry(self, run: RecipeRun) -> Planned:
        """One run with its present state."""
        return self.judged(run, [self.entry(need) for need in run.needs(self.references)])

    def judged(self, run: RecipeRun, needs: Sequence[Planned]) -> Planned:
        """A run with its state, by the states of the runs it needs."""
        if lost := [need.run for need in needs if need.state in ("failed", "blocked")]:
            return Planned(run, "blocked", None, f"needs {lost[0]}, which failed")
        if waiting := sum(need.state != "done" for need in needs):
            return Planned(run, "waiting", None, f"waits for {waiting} runs")
        folder = self.references.folder(run)
        return Planned(run, "done" if folder.done else "failed" if folder.failed else "ready", folder)
