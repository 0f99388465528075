"""A stage that trains, as written: its table, and how its grid, seeds and tasks are expanded."""

from collections.abc import Iterable
from functools import reduce
from itertools import combinations
from operator import getitem
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field

from cpeft.config import Options, Seed, Table, expand_grid
from cpeft.errors import ConfigError
from cpeft.study.recipe.files import Files


class Stage(Options):
    """A stage that trains: its tasks, seeds, variants and grid give its runs. It may set any other table of a run as well."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(pattern=r"^[\w.-]+$", description="Name of the stage: letters, digits, `_`, `.` and `-`.")
    about: str = Field(default="", description="What the stage is for; for readers alone.")
    tasks: tuple[str, ...] = Field(min_length=1, description="Tasks (`cpeft list tasks`) or task files; one run each.")
    together: Literal["no", "pairs", "triples", "yes"] = Field(
        default="no", description="One run of all tasks (`yes`), or of every two or three, instead of one each."
    )
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, description="One run per seed.")
    variant: tuple[dict[str, Any], ...] = Field(
        default=(), description="`[[stage.variant]]`: named alternatives, each with settings that override the stage's."
    )
    grid: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="`[stage.grid]`: dotted keys and their values, every combination; keys joined by commas vary together.",
    )
    search: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="`[stage.search]`: values to try, written as a grid; its runs are scored on validation rows only.",
    )
    choose: str | None = Field(
        default=None,
        description="A search stage, `STAGE` or `STAGE/VARIANT`, whose best values are used; a variant may set it too.",
    )
    task: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="`[stage.task.NAME]`: settings of one task."
    )


class GridPoint(NamedTuple):
    """A point of a grid: its settings, its value on every axis by name, and its place, from 0."""

    settings: Table
    axes: Table
    place: int


def grid_points(grid: dict[str, list[Any]]) -> list[GridPoint]:
    """The points of a grid in order."""
    return [
        GridPoint(cell, dict(_axis(keys, cell) for keys in grid), place) for place, cell in enumerate(expand_grid(grid))
    ]


def _axis(keys: str, cell: Table) -> tuple[str, Any]:
    """The name of an axis in labels and the value of a cell on it, as in ("few_shot", 16); of keys that vary together, the
    first."""
    path = keys.partition(",")[0].strip().split(".")
    return path[-1], reduce(getitem, path, cell)


def without_selection(table: Table) -> Table:
    """A table without its lists of seeds and tasks, which select runs and are no settings; `seeds.init = 3` is one."""
    return {
        key: value
        for key, value in table.items()
        if key != "tasks" and not (key == "seeds" and isinstance(value, list))
    }


def kept_seeds(seeds: Iterable[int], tables: list[Table], stage: Stage, files: Files) -> list[int]:
    """The seeds that are in the lists of all tables; raises ConfigError for a listed seed that the stage does not have."""
    lists = [table["seeds"] for table in tables if isinstance(table.get("seeds"), list)]
    if unknown := [seed for few in lists for seed in few if seed not in stage.seeds]:
        raise ConfigError(
            f"{files[0]}: seed {unknown[0]} is not among the seeds {list(stage.seeds)} of stage '{stage.name}'"
        )
    return [seed for seed in seeds if all(seed in few for few in lists)]


def task_groups(together: str, tasks: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """The tasks of each run."""
    return combinations(tasks, {"no": 1, "pairs": 2, "triples": 3, "yes": len(tasks)}[together])
