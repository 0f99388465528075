"""A recipe: a TOML file of stages, each a set of runs over tasks, variants, grids and seeds.

name = "small/example"
[model]                      # tables outside stages are the defaults of every run
name = "t5-small"
[[stage]]
name = "sources"
tasks = ["sst2", "mnli"]     # one run for each task; together = "yes" makes one run of all tasks, "pairs" and
                             # "triples" one of every two or three
seeds = [0, 1, 2]
[[stage]]
name = "targets"
tasks = ["rte"]
sources = ["sources/*"]      # prompts of an earlier stage, of the same seed
method.name = "attempt"
[[stage.variant]]            # named alternatives; each overrides the stage
name = "no layer norm"
method.layer_norm = "frozen"
[stage.grid]                 # dotted keys; every combination; keys joined by a comma vary together
"data.few_shot" = [16, "full"]
"train.batch, train.steps" = [[32, 500], [8, 2000]]
[stage.task.rte]             # settings of one task
train.epochs = 20
[[stage]]
name = "similarity"          # trains nothing, compares prompts of earlier stages; @* is every seed
compare = ["sources/*@*", "targets/no layer norm few_shot=16/*@*"]
[[stage]]
name = "rates"               # a search: tries values, scored on validation rows alone (`search.py`); a later stage with
search = { "optim.lr" = [0.03, 0.1] }  # choose = "rates" uses the best for each of its variants
tasks = ["dbpedia"]
seeds = [100]
[launcher.slurm]             # resources of a launcher; they change no result
workers = 8

`plugins = ["my_method.py"]` at the top names Python files that register methods, metrics or tasks (`cpeft/plugins.py`).
`base = "FOLDER"` at the top is where files that a recipe names (models, tasks, prompts) are looked up; by default beside it.

A list `seeds` in a variant or a [stage.task.*] selects from the stage's seeds. The value "default" restores the built-in
default. A recipe may hold only the differences from another one (`files.py`).

In `prompt.init`, {task} is the task of the run, and `...` repeats the term before it for every task of the run:
"vocab + sum(v(sources/{task}), ...)" is "vocab + sum(v(sources/sst2), v(sources/mnli))" in a run of these two. {other} is the
next task of the stage that is not in the run; the first task follows the last. With train.steps = 0, "sources/{other}" scores
every task with the prompt of another one. {seed} is the seed of the run, and the name of an axis of the grid, {few_shot}, is
its value on that axis.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from cpeft.config import Table, located, merge, override, parse, without_defaults
from cpeft.errors import ConfigError
from cpeft.plugins import KEY, Plugin, load_plugins
from cpeft.prompts.formula.template import fill_in
from cpeft.registry import suggest
from cpeft.study.recipe.comparison import ComparisonStage
from cpeft.study.recipe.files import Files, read_recipe
from cpeft.study.recipe.files import find_recipe as find_recipe
from cpeft.study.recipe.files import packaged_recipes as packaged_recipes
from cpeft.study.recipe.runs import RecipeRun, TrainingRun
from cpeft.study.recipe.search import Searches
from cpeft.study.recipe.settings import RunSettings, parse_settings
from cpeft.study.recipe.stage import Stage, grid_points, kept_seeds, task_groups, without_selection
from cpeft.tasks.custom import find_task

LAUNCHER = "launcher"
Read = TypeVar("Read")
SETTINGS = tuple(name for name in RunSettings.model_fields if name not in ("tasks", "seed"))


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe: its runs in stage order, the files it was read from, the overrides of its runs and those of launchers'
    resources, the texts of its files, its tables as one, before overrides, and the plugins it needs."""

    name: str
    about: str
    runs: tuple[RecipeRun, ...]
    files: Files = ()
    overrides: tuple[str, ...] = ()
    launcher_overrides: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    table: Table = field(default_factory=dict)
    plugins: tuple[Plugin, ...] = ()

    @property
    def training(self) -> tuple[TrainingRun, ...]:
        """The runs that train."""
        return tuple(run for run in self.runs if isinstance(run, TrainingRun))


def load_recipe(path: Path, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = ()) -> Recipe:
    """Load the plugins of a recipe and `plugins`, parse the recipe and expand it to runs. Raises ConfigError with file and
    line, or with the override, for every mistake."""
    data, files = read_recipe(path)
    loaded = load_plugins([*data.get(KEY, []), *plugins])
    data |= {KEY: [str(plugin.path) for plugin in loaded]} if loaded else {}
    for argument in overrides:
        override(argument)  # raises ConfigError for what is not key=value
    recipe = read_under(overrides, files, lambda some: _under(some, data, files))
    hashes = tuple(sorted({plugin.sha256 for plugin in loaded}))
    return replace(recipe, plugins=loaded, runs=tuple(replace(run, plugins=hashes) for run in recipe.runs))


def read_under(overrides: Sequence[str], files: Files, read: Callable[[Sequence[str]], Read]) -> Read:
    """The result of `read(overrides)`. A ConfigError that occurs without overrides too is raised unchanged; any other names the
    overrides that cause it."""
    try:
        return read(overrides)
    except ConfigError as error:
        raise _blamed(error, overrides, files, read) from None


def _blamed(
    error: ConfigError, overrides: Sequence[str], files: Files, read: Callable[[Sequence[str]], object]
) -> ConfigError:
    def needed(others: Sequence[str]) -> bool:
        try:
            read(others)
        except ConfigError as left:
            return str(error) not in (str(left), *left.others)
        return True

    if not needed([]):
        return error
    own = [one for i, one in enumerate(overrides) if needed([*overrides[:i], *overrides[i + 1 :]])] or list(overrides)
    places = "|".join(re.escape(str(file)) for file in files)
    what = re.sub(rf"^({places})(:\d+)?: ", "", str(error))
    named = f"setting {own[0]}" if len(own) == 1 else f"settings {', '.join(own[:-1])} and {own[-1]}"
    return type(error)(f"the {named} on the command line: {what}")


def _under(overrides: Sequence[str], data: Table, files: Files) -> Recipe:
    """The recipe of these tables and overrides."""
    data, path = dict(data), files[0]
    texts, base = tuple(file.read_text(encoding="utf-8") for file in files), path.parent / str(data.pop("base", ""))
    name, about = str(data.pop("name", path.stem)), str(data.pop("about", ""))
    whole = {"name": name, "about": about, "base": str(base.resolve()), **data}
    data.pop(KEY, None)
    if not base.is_dir():
        raise ConfigError(
            f"{located(files, 'base')}base = '{base}' is no folder; leave it out if the files are beside the recipe"
        )
    tables = data.pop("stage", [])
    data.pop(LAUNCHER, None)
    _check_keys(data, files, "top level", "stage", "extends", "base", KEY, LAUNCHER)
    if not tables:
        raise ConfigError(f"{path}: a recipe needs at least one [[stage]], in double brackets")
    stages = [_stage(table, i, files) for i, table in enumerate(tables)]
    names = [stage.name for stage in stages]
    resources = [argument for argument in overrides if LAUNCHER not in names and LAUNCHER in override(argument)]
    overrides = [argument for argument in overrides if argument not in resources]
    everywhere, forced = _sort_overrides(overrides, names)
    runs: list[RecipeRun] = []
    searches = Searches(files)
    for stage in stages:
        if isinstance(stage, ComparisonStage):
            runs.append(stage.run(forced[stage.name], base))
        else:
            general = (
                without_selection(everywhere) if stage.search else everywhere
            )  # a search keeps its tasks and seeds
            runs += _expand(stage, data, merge(general, forced[stage.name]), base, searches)
    for (called, run), count in Counter((run.stage, run.name) for run in runs).items():
        if count > 1:
            raise ConfigError(
                f"{path}: stage '{called}' has two runs called '{run}'; give variants, tasks and seeds once each"
            )
    return Recipe(name, about, tuple(runs), files, tuple(overrides), tuple(resources), texts, whole)


def _stage(table: Table, place: int, files: Files) -> Stage | ComparisonStage:
    """A stage as written; raises ConfigError for one that both compares and trains."""
    where = f"stage.{place}"
    if "compare" not in table:
        return parse(Stage, table, where, files)
    if unknown := [key for key in table if key not in ComparisonStage.model_fields]:
        known = "a stage with 'compare' trains nothing and has only a name, compare and about"
        raise ConfigError(f"{located(files, 'compare')}[{where}] no place for '{unknown[0]}': {known}")
    return parse(ComparisonStage, table, where, files)


def _check_keys(table: Table, files: Files, where: str, *more: str) -> None:
    for key in table:
        if key not in SETTINGS:
            near = suggest(key, [*SETTINGS, *more])
            raise ConfigError(f"{located(files, key)}[{where}] unknown key '{key}'{near}")


def _sort_overrides(overrides: Sequence[str], stages: list[str]) -> tuple[Table, dict[str, Table]]:
    """The overrides of all stages that train, and those of single stages by name."""
    everywhere: Table = {}
    of_stage: dict[str, Table] = {stage: {} for stage in stages}
    for argument in overrides:
        table = override(argument)
        key = next(iter(table))
        if key in stages and isinstance(table[key], dict):
            of_stage[key] = merge(of_stage[key], table[key])
        elif key in (*SETTINGS, "seeds", "tasks"):
            everywhere = merge(everywhere, table)
        elif key in stages:
            raise ConfigError(f"'{key}' is a stage; set its settings one by one, as in {key}.train.steps=100")
        else:
            raise ConfigError(f"unknown key '{key}'{suggest(key, [*SETTINGS, *stages])}")
    return everywhere, of_stage


def _expand(stage: Stage, defaults: Table, forced: Table, base: Path, searches: Searches) -> list[TrainingRun]:
    files = searches.files
    seeds, tasks = _chosen(stage, forced)
    settings = stage.model_extra or {}
    _check_keys(settings, files, f"stage.{stage.name}", *Stage.model_fields)
    if unknown := [task for task in stage.task if task not in stage.tasks]:
        raise ConfigError(f"{files[0]}: [stage.task.{unknown[0]}] is no task of stage '{stage.name}'")
    if not (groups := list(task_groups(stage.together, tasks))):
        needed = {"pairs": 2, "triples": 3}[stage.together]
        raise ConfigError(
            f"{files[0]}: together = '{stage.together}' needs at least {needed} tasks; stage '{stage.name}' has {len(tasks)}"
        )
    runs: list[TrainingRun] = []
    for variant in stage.variant or ({"name": stage.name},):
        own = {key: value for key, value in variant.items() if key not in ("name", "choose")}
        if not (isinstance(variant.get("name"), str) and variant["name"].strip()):
            raise ConfigError(f"{files[0]}: a [[stage.variant]] of stage '{stage.name}' has no name")
        _check_keys(own, files, f"stage.{stage.name}.variant", "name", "choose")
        values = searches.values(stage, variant)
        for point in grid_points(stage.search or stage.grid):
            label = " ".join([variant["name"], *(f"{axis}={value}" for axis, value in point.axes.items())])
            for group in groups:
                of_tasks = [stage.task.get(task, {}) for task in group]
                values.check_free([settings, own, *of_tasks, forced, {} if stage.search else point.settings])
                special = [own, point.settings, *of_tasks]
                table = merge(defaults, settings, *map(without_selection, special), forced, {"tasks": list(group)})
                for seed in kept_seeds(seeds, special, stage, files):
                    each = [
                        _run(stage, label, point.axes, merge(table, tried) | {"seed": seed}, base, files)
                        for tried in values.points
                    ]
                    runs.append(values.run(each, point))
    searches.check(stage, runs)
    return runs


def _chosen(stage: Stage, forced: Table) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The seeds and tasks of a stage, or those of the command line, which are removed from `forced`. `seeds=[0]` selects runs;
    `seeds.init=3` is a setting of every run."""
    given: Table = {
        key: forced.pop(key) for key in ("seeds", "tasks") if key in forced and not isinstance(forced[key], dict)
    }
    if isinstance(task := given.get("tasks"), str):
        given["tasks"] = [task]
    own = {"name": stage.name, "tasks": stage.tasks, "seeds": stage.seeds}
    chosen = parse(Stage, {**own, **given}, f"stage.{stage.name}")
    return chosen.seeds, chosen.tasks


def _run(stage: Stage, label: str, place: Table, table: Table, base: Path, files: Files) -> TrainingRun:
    table = without_defaults(table)
    named = tuple(find_task(task, base).name for task in table["tasks"])
    if isinstance(prompt := table.get("prompt"), dict) and isinstance(prompt.get("init"), str):
        every = tuple(find_task(task, base).name for task in stage.tasks)
        values = {"seed": table["seed"], **place}
        table["prompt"] = prompt | {"init": fill_in(prompt["init"], named, values, every)}
    name = f"{'+'.join(named)}.{label}.s{table['seed']}".replace("/", ".")
    return TrainingRun(stage.name, label, name, base, named, parse_settings(table, files))
