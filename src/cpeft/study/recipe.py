"""A recipe: a TOML file of stages, each a set of runs over tasks, variants, grids and seeds.

name = "small/example"
[model]                      # tables outside stages are the defaults of every run
name = "t5-small"
[[stage]]
name = "sources"
tasks = ["sst2", "mnli"]     # one run per task; together = "yes" makes one run of all
seeds = [0, 1, 2]
[[stage]]
name = "targets"
tasks = ["rte"]
sources = ["sources/*"]      # prompts of an earlier stage, of the same seed
method.name = "attempt"
[[stage.variant]]            # named alternatives; each overrides the stage
name = "no layer norm"
method.layer_norm = "frozen"
[stage.grid]                 # dotted keys, every combination
"data.few_shot" = [16, "full"]
[stage.task.rte]             # what one task needs
train.epochs = 20
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from cpeft.config import Options, Table, expand_grid, line_of, merge, override, parse, read_toml
from cpeft.errors import ConfigError, UnknownName
from cpeft.registry import suggest
from cpeft.study.settings import RunSettings, find_task, parse_settings

SETTINGS = tuple(name for name in RunSettings.model_fields if name not in ("tasks", "seed"))


class Stage(Options):
    """One stage as written; keys that are run settings stay tables until a run is made of them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(pattern=r"^[\w.-]+$")
    about: str = ""
    tasks: tuple[str, ...] = Field(min_length=1)
    together: Literal["no", "yes"] = "no"
    seeds: tuple[int, ...] = (0,)
    variant: tuple[dict[str, Any], ...] = ()
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    task: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def settings(self) -> Table:
        """The run settings among the stage's keys."""
        return dict(self.model_extra or {})


@dataclass(frozen=True)
class RecipeRun:
    """One run a recipe asks for; `label` names its method in tables, `name` is readable and unique in its stage; `tasks` are
    names, where the settings may hold files."""

    stage: str
    label: str
    name: str
    tasks: tuple[str, ...]
    settings: RunSettings
    base: Path  # where relative task files are looked up


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe: its runs in stage order."""

    name: str
    about: str
    runs: tuple[RecipeRun, ...]
    path: Path


def find_recipe(name: str) -> Path:
    """A file, or the name of a packaged recipe such as `quickstart`; raises UnknownName with the closest."""
    if Path(name).exists():
        return Path(name)
    packaged = packaged_recipes()
    if name not in packaged:
        raise UnknownName(f"no recipe file or packaged recipe '{name}'{suggest(name, list(packaged))}")
    return packaged[name]


def packaged_recipes() -> dict[str, Path]:
    """Recipes shipped with the package, by name."""
    import cpeft

    package = Path(cpeft.__file__).parent
    folders = [folder for folder in (package / "recipes", package.parents[1] / "recipes") if folder.is_dir()]
    paths = [path for folder in folders[:1] for path in sorted(folder.rglob("*.toml"))]
    found = {str(path.relative_to(folders[0]).with_suffix("")): path for path in paths}
    return {name: path for name, path in found.items() if "[[stage]]" in path.read_text(encoding="utf-8")}


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Parse a recipe and expand it to runs; every mistake is one ConfigError with file and line."""
    data = read_toml(path)
    name, about = str(data.pop("name", path.stem)), str(data.pop("about", ""))
    tables = data.pop("stage", [])
    _check_keys(data, path, "top level", "stage")
    if not tables or not isinstance(tables, list):
        raise ConfigError(f"{path}: a recipe needs at least one [[stage]], in double brackets")
    stages = [parse(Stage, table, f"stage.{i}", path) for i, table in enumerate(tables)]
    everywhere, of_stage = _sort_overrides(overrides, [stage.name for stage in stages])
    runs: list[RecipeRun] = []
    for stage in stages:
        if any(run.stage == stage.name for run in runs):
            raise ConfigError(f"{path}: two stages are called '{stage.name}'")
        runs += _expand(stage, data, merge(everywhere, of_stage.get(stage.name, {})), path)
    _check_names(runs, path)
    return Recipe(name, about, tuple(runs), path)


def _check_names(runs: Sequence[RecipeRun], path: Path) -> None:
    """Runs of one name would be taken for one run."""
    seen: set[tuple[str, str]] = set()
    for run in runs:
        if (run.stage, run.name) in seen:
            raise ConfigError(
                f"{path}: stage '{run.stage}' has two runs called '{run.name}'; give variants, tasks and seeds once each"
            )
        seen.add((run.stage, run.name))


def _check_keys(table: Table, path: Path, where: str, *more: str) -> None:
    for key in table:
        if key not in SETTINGS:
            near = suggest(key, [*SETTINGS, *more])
            raise ConfigError(f"{path}:{line_of(path, key)}: [{where}] unknown key '{key}'{near}")


def _sort_overrides(overrides: Sequence[str], stages: list[str]) -> tuple[Table, dict[str, Table]]:
    everywhere: Table = {}
    of_stage: dict[str, Table] = {}
    for argument in overrides:
        table = override(argument)
        key = next(iter(table))
        if key in stages and isinstance(table[key], dict):
            of_stage[key] = merge(of_stage.get(key, {}), table[key])
        elif key in (*SETTINGS, "seeds", "tasks"):
            everywhere = merge(everywhere, table)
        else:
            raise ConfigError(f"override '{argument}': unknown key '{key}'{suggest(key, [*SETTINGS, *stages])}")
    return everywhere, of_stage


def _expand(stage: Stage, defaults: Table, forced: Table, path: Path) -> list[RecipeRun]:
    forced = dict(forced)
    # `seeds=[0]` on the command line chooses runs; `seeds.init=3` is a setting of each
    seeds = tuple(forced.pop("seeds")) if isinstance(forced.get("seeds"), list) else stage.seeds
    asked = forced.pop("tasks", stage.tasks)
    tasks = (asked,) if isinstance(asked, str) else tuple(asked)
    _check_keys(stage.settings(), path, f"stage.{stage.name}", *Stage.model_fields)
    groups = [tasks] if stage.together == "yes" else [(task,) for task in tasks]
    unknown = [task for task in stage.task if task not in stage.tasks]
    if unknown:
        raise ConfigError(f"{path}: [stage.task.{unknown[0]}] is no task of stage '{stage.name}'")
    runs = []
    for variant in stage.variant or ({},):
        own = {key: value for key, value in variant.items() if key != "name"}
        if stage.variant and not (isinstance(variant.get("name"), str) and variant["name"].strip()):
            raise ConfigError(f"{path}: a [[stage.variant]] of stage '{stage.name}' has no name")
        _check_keys(own, path, f"stage.{stage.name}.variant", "name")
        for cell in expand_grid(stage.grid):
            label = _label(stage.name, variant.get("name"), stage.grid, cell)
            for group in groups:
                special = [stage.task.get(task, {}) for task in group]
                for seed in seeds:
                    identity = {"tasks": list(group), "seed": seed}
                    table = merge(defaults, stage.settings(), own, cell, *special, forced, identity)
                    named = tuple(find_task(task, path.parent).name for task in group)
                    name = f"{'+'.join(named)}.{label.replace('/', '.')}.s{seed}"
                    runs.append(RecipeRun(stage.name, label, name, named, parse_settings(table, path), path.parent))
    return runs


def _label(stage: str, variant: str | None, grid: Table, cell: Table) -> str:
    parts = [variant or stage]
    for key in grid:
        value = cell
        for part in key.split("."):
            value = value[part]
        parts.append(f"{key.rsplit('.', 1)[-1]}={value}")
    return " ".join(parts)
