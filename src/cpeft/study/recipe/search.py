"""Search: a stage that tries values of settings, and the runs of later stages that take the best of them.

[[stage]]
name = "rates"
tasks = ["dbpedia"]                    # a task and a seed that no stage with `choose = "rates"` has
seeds = [100]
search = { "optim.lr" = [0.01, 0.03, 0.1] }
variant = [{ name = "prompt tuning" }, { name = "MPT", method.name = "mpt" }]
[[stage]]
name = "targets"
tasks = ["rte", "cb"]
seeds = [0, 1, 2]
choose = "rates"                       # every variant uses the values that were best for the variant of its name
variant = [{ name = "prompt tuning" }, { name = "MPT", method.name = "mpt" }]

All methods share one grid. A search run is scored on validation rows alone, and leaves nothing that could be scored on test
rows. The best values have the best mean validation score (`store/search.py`). A run that uses them has a settings object for
every point of the grid, all checked when the recipe is read, and an id once the search has chosen one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from cpeft.config import DEFAULT, Table, flat, located
from cpeft.errors import ConfigError, NothingChosen
from cpeft.metrics import METRICS
from cpeft.registry import suggest
from cpeft.store.result import SearchResult
from cpeft.store.search import best_place
from cpeft.study.recipe.files import Files
from cpeft.study.recipe.references import Effort, RecipeRun, References
from cpeft.study.recipe.runs import Change, TrainingRun
from cpeft.study.recipe.settings import RunSettings
from cpeft.study.recipe.stage import GridPoint, Stage, grid_points
from cpeft.tasks.custom import find_task


@dataclass(frozen=True, kw_only=True)
class SearchRun(TrainingRun):
    """A run that tries the values of one point of a grid; `values` has them by dotted key, `place` is that of the point."""

    variant: str
    place: int
    values: Table

    @property
    def exports(self) -> bool:
        return False

    @property
    def code(self) -> Table:
        return {**super().code, "search": True}  # a run of a grid with the same settings has another result

    @cached_property
    def effort(self) -> Effort:
        return super().effort._replace(scoring=0.0)


@dataclass(frozen=True, kw_only=True)
class ChosenRun(TrainingRun):
    """A run that uses the best values of a search: `candidates` are its settings at every point of the grid, `settings` those
    at the first, until `References.resolve` gives the run of the best."""

    search: str
    variant: str
    candidates: tuple[RunSettings, ...]

    def changed(self, change: Change, base: Path) -> Self:
        return replace(super().changed(change, base), candidates=tuple(map(change, self.candidates)))

    def tries(self, references: References) -> list[SearchRun]:
        """The search runs that decide its values."""
        runs = references.stages.get(self.search, [])
        return [run for run in runs if isinstance(run, SearchRun) and run.variant == self.variant]

    def needs(self, references: References) -> list[RecipeRun]:
        return [*self.tries(references), *super().needs(references)]

    def chosen(self, references: References) -> SearchRun:
        """The first search run of the best values; needs the search to be finished. Raises NothingChosen where no values have a
        score."""
        tries = self.tries(references)
        results = [result for run in tries if isinstance(result := references.folder(run).result(), SearchResult)]
        place = best_place(results)
        if place is None:
            raise NothingChosen(f"no values of search '{self.search}' gave '{self.variant}' a validation score")
        return next(run for run in tries if run.place == place)

    def resolved(self, references: References) -> TrainingRun:
        settings = self.candidates[self.chosen(references).place]
        run = TrainingRun(*_fields(self), plugins=self.plugins)
        return replace(run, settings=settings)

    def identity(self, references: References) -> str:
        return references.resolve(self).identity(references)


def _fields(run: TrainingRun) -> tuple[str, str, str, Path, tuple[str, ...], RunSettings]:
    return run.stage, run.label, run.name, run.base, run.tasks, run.settings


def dotted(table: Table) -> Table:
    """The values of a nested table by dotted keys."""
    found: Table = {}
    for key, value in table.items():
        found |= (
            {f"{key}.{rest}": each for rest, each in dotted(value).items()} if isinstance(value, dict) else {key: value}
        )
    return found


@dataclass(frozen=True)
class Values:
    """What a variant of a stage has to do with a search: it tries values, uses the best of another stage, or neither. A run of
    it is expanded once for each of `points`, values that are merged into its table."""

    where: str  # file, line and stage, for messages
    variant: str = ""
    points: tuple[Table, ...] = ({},)
    keys: frozenset[str] = frozenset()  # dotted, of the settings that are searched
    search: str = ""  # the stage whose best values are used

    def check_free(self, tables: Sequence[Table]) -> None:
        """Raise ConfigError for a setting that the stage, its variants, tasks, grid or overrides set beside the search."""
        if taken := sorted(self.keys & {key for table in tables for key in flat(table)}):
            raise ConfigError(f"{self.where} sets {taken[0]}, whose value a search chooses: leave it out here")

    def run(self, each: Sequence[TrainingRun], point: GridPoint) -> TrainingRun:
        """The run of a stage, from the run at every point. Raises ConfigError where these differ in the model or in the prompts
        that they start from, which a plan must know before the search has ended."""
        first = each[0]
        if any((run.gang, run.references()) != (first.gang, first.references()) for run in each):
            raise ConfigError(f"{self.where}: a search cannot choose the model, or the prompts that a run starts from")
        if self.search:
            candidates = tuple(run.settings for run in each)
            return ChosenRun(*_fields(first), search=self.search, variant=self.variant, candidates=candidates)
        if self.keys:
            return SearchRun(*_fields(first), variant=self.variant, place=point.place, values=dotted(point.settings))
        return first


class Searches:
    """The search stages of a recipe, as they are expanded: the points of their grids, and their runs."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._points: dict[str, tuple[Table, ...]] = {}
        self._runs: dict[str, list[SearchRun]] = {}

    def values(self, stage: Stage, variant: Mapping[str, Any]) -> Values:
        """The part of a variant in a search. Raises ConfigError for a choice of no search stage or of none of its variants."""
        named = variant.get("choose", stage.choose)
        where = f"{located(self.files, 'search' if stage.search else 'choose')}stage '{stage.name}'"
        if stage.search:
            if stage.grid or named:
                raise ConfigError(f"{where} is a search, which has no {'grid' if stage.grid else 'choice'} of its own")
            self._points[stage.name] = points = tuple(point.settings for point in grid_points(stage.search))
            return Values(where, variant["name"], keys=_keys(points))
        if named in (None, DEFAULT):
            return Values(where)
        name, _, given = str(named).partition("/")
        if name not in self._runs:
            raise ConfigError(
                f"{where}: choose = '{named}' names no earlier search stage{suggest(name, list(self._runs))}"
            )
        variants = list(dict.fromkeys(run.variant for run in self._runs[name]))
        wanted = given or (variants[0] if len(variants) == 1 else variant["name"])
        if wanted not in variants:
            raise ConfigError(
                f"{where}: choose = '{named}', and search '{name}' has no variant '{wanted}'{suggest(wanted, variants)}; "
                f"choose = '{name}/VARIANT' uses the values of another one, choose = '{DEFAULT}' in a variant none"
            )
        return Values(where, wanted, self._points[name], _keys(self._points[name]), name)

    def check(self, stage: Stage, runs: Sequence[TrainingRun]) -> None:
        """Check an expanded stage, and keep it if it is a search. Raises ConfigError for search runs that get no validation
        score, for metrics without a common mean, and for a task or a seed that a search and a stage that uses it share."""
        if stage.search:
            self._runs[stage.name] = searched = [run for run in runs if isinstance(run, SearchRun)]
            where = f"{located(self.files, 'search')}stage '{stage.name}' is a search"
            if idle := next((run for run in searched if not run.settings.trains), None):
                raise ConfigError(f"{where}, and '{idle.variant}' trains nothing: take it out of the stage")
            metrics = {name: find_task(name, run.base).metrics[0] for run in runs for name in run.settings.tasks}
            if len({METRICS.get(metric).higher_is_better for metric in metrics.values()}) > 1:
                raise ConfigError(f"{where} over metrics of which some are better high and some low: {metrics}")
        for name in dict.fromkeys(run.search for run in runs if isinstance(run, ChosenRun)):
            users = [run for run in runs if isinstance(run, ChosenRun) and run.search == name]
            if shared := _shared(self._runs[name], users):
                there = located(self.files, "search").removesuffix(": ")
                raise ConfigError(
                    f"{located(self.files, 'choose')}stage '{stage.name}' and the search '{name}' ({there}) that it uses "
                    f"share the {shared}: values are chosen on a task and a seed that are not reported"
                )


def _keys(points: Sequence[Table]) -> frozenset[str]:
    return frozenset(key for point in points for key in flat(point))


def _shared(searched: Sequence[TrainingRun], runs: Sequence[TrainingRun]) -> str:
    """A task or a seed of both, empty where they have none in common."""
    tasks = {task for run in searched for task in run.tasks}
    seeds = {run.seed for run in searched}
    shared = [f"task '{task}'" for run in runs for task in run.tasks if task in tasks]
    return next(iter([*shared, *(f"seed {run.seed}" for run in runs if run.seed in seeds)]), "")
