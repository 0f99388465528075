"""`tiny=true`: a test of every stage of a recipe in about a minute, with all switches as they are, before days are spent on it.

    model       a random one of the same architecture, one layer (`models/tiny.py`)
    rows        64 of each split: the first ones if the task's file is on this machine, else made-up ones (`tasks/made_up.py`)
    prompts     of a length 25 times smaller; prompts that the user provides are replaced by random ones
    runs        four steps, sources of 64 tokens. Of each stage one run for each of at most four labels (variants, points of its
                grid), or of four tasks if all runs share a label; the runs that these start from; and one run for every name
                in a comparison

Models, rows and prompts are written to `stores/tiny/world` in the current folder and reused. Runs go to `stores/tiny/RECIPE` by
default, so never among real ones. Scores mean nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cpeft.config import override
from cpeft.data.options import DataOptions
from cpeft.data.resolve import locate, read_rows
from cpeft.errors import ConfigError
from cpeft.models.cache import write_once
from cpeft.options.model import ModelOptions
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import Recipe, load_recipe
from cpeft.study.recipe.references import RecipeRun, References
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.recipe.search import ChosenRun
from cpeft.study.recipe.settings import RunSettings, located_model
from cpeft.tasks import Task
from cpeft.tasks.custom import find_task
from cpeft.tasks.made_up import made_up

WORLD = Path("stores/tiny/world")
ROWS = 64  # of a split
SCORED = 8  # validation rows, and test rows
STEPS, BATCH = 4, 4
SHORTER = 25  # factor by which every prompt is shortened
KINDS = 4  # of runs of a stage
TRIES = 2  # search runs that a run's settings are chosen from
TOKENS = 64  # of a source; instructions need more
INSTRUCTED = 1024


def load_sized(path: Path, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = ()) -> Recipe:
    """A recipe under overrides; at tiny size if one of them is `tiny=true`. Raises ConfigError as `load_recipe` does."""
    switches = [argument for argument in overrides if argument.partition("=")[0].strip() == "tiny"]
    recipe = load_recipe(path, [argument for argument in overrides if argument not in switches], plugins)
    is_tiny = override(switches[-1])["tiny"] if switches else False
    if not isinstance(is_tiny, bool):
        raise ConfigError(f"override '{switches[-1]}': tiny is true or false")
    return replace(tiny(recipe), overrides=tuple(overrides)) if is_tiny else recipe


def tiny(recipe: Recipe) -> Recipe:
    """A recipe at tiny size, under a name and thus a store of its own; writes what it needs to `stores/tiny/world`."""
    world = WORLD.resolve()
    kept = thinned(recipe)
    stages = {run.stage for run in kept}
    runs = tuple(_small(run, stages, world) if isinstance(run, TrainingRun) else run for run in kept)
    return replace(recipe, name=f"tiny/{recipe.name}", runs=runs)


def thinned(recipe: Recipe) -> tuple[RecipeRun, ...]:
    """Some runs of every stage and all runs that they start from, in recipe order."""
    references, chosen = References(recipe.runs, Store("nowhere")), set[str]()
    stages: dict[str, list[TrainingRun]] = {}
    for run in recipe.training:
        stages.setdefault(run.stage, []).append(run)
    waiting: list[RecipeRun] = [run for runs in stages.values() for run in _first(runs)]
    compared = [(name, run) for run in recipe.runs if not isinstance(run, TrainingRun) for name in run.references()]
    waiting += [need for name, run in compared if _stage(name) in stages for need in references.named(name, run)[:1]]
    while waiting:
        needed = waiting.pop()
        if str(needed) not in chosen:
            chosen.add(str(needed))
            names = [name for name in needed.references() if _stage(name) in stages]
            waiting += [need for name in names for need in references.named(name, needed)]
            waiting += needed.tries(references)[:TRIES] if isinstance(needed, ChosenRun) else []
    return tuple(run for run in recipe.runs if not isinstance(run, TrainingRun) or str(run) in chosen)


def _first(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """The first run of some labels of a stage, or of some tasks if all runs share a label; evenly spaced, from the first to the
    last."""
    same_label = len({run.label for run in runs}) == 1
    first = list({run.tasks if same_label else run.label: run for run in reversed(runs)}.values())
    last, count = len(first) - 1, min(KINDS, len(first))
    return [first[round(i * last / max(count - 1, 1))] for i in range(count)]


def _stage(reference: str) -> str:
    """The stage that a reference names; not one of the recipe if it names a prompt that the user provides."""
    return reference.partition("/")[0]


def _small(run: TrainingRun, stages: set[str], world: Path) -> TrainingRun:
    """A run with all its switches at tiny size."""
    own, data = run.settings, world / "data"
    tasks = tuple(find_task(name, run.base) for name in own.tasks)
    for task in tasks:
        write_once(data / task.name, partial(_write_rows, task))
    model = located_model(own.model, run.base)
    from cpeft.models.tiny import family_of, write_tiny  # here: only a recipe at tiny size needs torch to be read

    family = family_of(model.name, model.file)
    write_once(world / "models" / family, partial(write_tiny, family))
    prompts = world / "prompts"
    for name in run.prompt_references():
        if _stage(name) not in stages:
            write_once(prompts / name, _random_prompt)
    small = {
        "tasks": tuple(str((run.base / name).resolve()) if name.endswith(".toml") else name for name in own.tasks),
        "model": ModelOptions(name=str(world / "models" / family), dtype="float32", device=own.model.device),
    }
    return run.changed(lambda each: each.model_copy(update=small | _shrunk(each, str(data))), prompts)


def _shrunk(own: RunSettings, folder: str) -> dict[str, object]:
    """The settings that are changed for size."""
    nothing = 0 in (own.train.steps, own.train.epochs, own.data.few_shot, own.data.limit_train)
    steps = {"steps": 0 if nothing else STEPS, "epochs": None, "batch": BATCH, "eval_every": STEPS}
    kind, _, count = own.source.rows.partition(":")
    return {
        "prompt": own.prompt.model_copy(update={"length": _shorter(own.prompt.length)}),
        "source": own.source.model_copy(update={"rows": f"{kind}:{_shorter(int(count))}"}) if count else own.source,
        "train": own.train.model_copy(update=steps),
        "data": own.data.model_copy(update=_few_rows(own.data) | {"folder": folder}),
        "eval": own.eval.model_copy(update={"bootstrap": min(own.eval.bootstrap, 2), "max_new_tokens": 4}),
    }


def _few_rows(own: DataOptions) -> dict[str, object]:
    tokens = TOKENS if own.form == "fields" else INSTRUCTED
    return {
        "limit_validation": min(own.limit_validation or SCORED, SCORED), "limit_test": min(own.limit_test or SCORED, SCORED),
        "max_source": min(own.max_source or tokens, tokens) if own.form == "fields" else tokens,
    }  # fmt: skip


def _shorter(length: int) -> int:
    return max(length // SHORTER, 2)


def _write_rows(task: Task, folder: Path) -> None:
    """Write a few rows of every split of a task as parquet; none for a task that has its own rows."""
    folder.mkdir()
    files = {} if task.files or task.rows else locate(task)
    for split in () if task.files or task.rows else dict.fromkeys([*files, *task.hub.splits]):
        table = read_rows(files[split]).slice(0, ROWS) if split in files else None
        made = table if table is not None else pa.Table.from_pylist(list(made_up(task, split, ROWS)))
        pq.write_table(made, folder / f"{split}.parquet")


def _random_prompt(folder: Path) -> None:
    """Write a random prompt in place of one of 100 rows that the user provides."""
    import torch

    from cpeft.models.tiny import WIDTH
    from cpeft.prompts.soft_prompt import SoftPrompt

    SoftPrompt(torch.randn(_shorter(100), WIDTH, generator=torch.Generator().manual_seed(0))).save(folder)
