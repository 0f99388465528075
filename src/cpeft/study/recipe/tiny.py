"""`tiny=true`: every stage of a recipe, switches as they are, in a minute or so, before days are spent on it.

    model       a random one of the same architecture, one layer (`models/tiny.py`)
    rows        64 of each split: the first ones where the task's file is at hand, else made-up ones (`tasks/made_up.py`)
    prompts     of a length 25 times smaller; those that a user brings are random
    runs        four steps, sources of 64 tokens; of each stage at most four labels (variants, places of its grid), or four
                tasks where all runs share a label, one run of each, all that these start from, and one run of everything
                that is compared

Models, rows and prompts are written to `stores/tiny/world`, below where the command is started, and found there again; runs go
to `stores/tiny/RECIPE` unless told otherwise, so never among real ones by default. Scores mean nothing.
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
from cpeft.study.recipe.settings import RunSettings, located_model
from cpeft.tasks import Task
from cpeft.tasks.custom import find_task
from cpeft.tasks.made_up import made_up

WORLD = Path("stores/tiny/world")
ROWS = 64  # of a split
SCORED = 8  # rows that validate, and that test
STEPS, BATCH = 4, 4
SHORTER = 25  # times, every prompt
KINDS = 4  # of runs of a stage
TOKENS = 64  # of a source; instructions need more
INSTRUCTED = 1024


def load_sized(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe under overrides; at tiny size where one of them is `tiny=true`. Raises ConfigError as `load_recipe` does."""
    asked = [argument for argument in overrides if argument.partition("=")[0].strip() == "tiny"]
    recipe = load_recipe(path, [argument for argument in overrides if argument not in asked])
    wanted = override(asked[-1])["tiny"] if asked else False
    if not isinstance(wanted, bool):
        raise ConfigError(f"override '{asked[-1]}': tiny is true or false")
    return replace(tiny(recipe), overrides=tuple(overrides)) if wanted else recipe


def tiny(recipe: Recipe) -> Recipe:
    """A recipe at tiny size, under a name and so in a store of its own; writes what it needs to `stores/tiny/world`."""
    world = WORLD.resolve()
    kept = thinned(recipe)
    stages = {run.stage for run in kept}
    runs = tuple(_small(run, stages, world) if isinstance(run, TrainingRun) else run for run in kept)
    return replace(recipe, name=f"tiny/{recipe.name}", runs=runs)


def thinned(recipe: Recipe) -> tuple[RecipeRun, ...]:
    """Some runs of every stage and what they start from, in recipe order."""
    references, chosen = References(recipe.runs, Store("nowhere")), set[str]()
    stages: dict[str, list[TrainingRun]] = {}
    for run in recipe.training:
        stages.setdefault(run.stage, []).append(run)
    waiting: list[RecipeRun] = [run for runs in stages.values() for run in _first(runs)]
    compared = [(name, run) for run in recipe.runs if not isinstance(run, TrainingRun) for name in run.references()]
    waiting += [need for name, run in compared if _stage(name) in stages for need in references.named(name, run)[:1]]
    while waiting:
        run = waiting.pop()
        if str(run) not in chosen:
            chosen.add(str(run))
            own = [name for name in run.references() if _stage(name) in stages]
            waiting += [need for name in own for need in references.named(name, run)]
    return tuple(run for run in recipe.runs if not isinstance(run, TrainingRun) or str(run) in chosen)


def _first(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Of a stage's runs the first of some labels, or of some tasks where all share a label; the first and the last of them
    and others evenly between."""
    one = len({run.label for run in runs}) == 1
    first = list({run.tasks if one else run.label: run for run in reversed(runs)}.values())
    last, many = len(first) - 1, min(KINDS, len(first))
    return [first[round(i * last / max(many - 1, 1))] for i in range(many)]


def _stage(reference: str) -> str:
    """The stage whose run a reference names; none of the recipe's where it names what a user brings."""
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
    brought = world / "prompts"
    for name in run.prompt_references():
        if _stage(name) not in stages:
            write_once(brought / name, _random_prompt)
    small = {
        "tasks": tuple(str((run.base / name).resolve()) if name.endswith(".toml") else name for name in own.tasks),
        "model": ModelOptions(name=str(world / "models" / family), dtype="float32", device=own.model.device),
        **_shrunk(own, str(data)),
    }
    return replace(run, base=brought, settings=own.model_copy(update=small))


def _shrunk(own: RunSettings, folder: str) -> dict[str, object]:
    """The settings that size changes, and no others."""
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
    """Few rows of every split of a task, as parquet; none where a task brings or writes its own."""
    folder.mkdir()
    there = {} if task.files or task.rows else locate(task)
    for split in () if task.files or task.rows else dict.fromkeys([*there, *task.hub.splits]):
        table = read_rows(there[split]).slice(0, ROWS) if split in there else None
        made = table if table is not None else pa.Table.from_pylist(list(made_up(task, split, ROWS)))
        pq.write_table(made, folder / f"{split}.parquet")


def _random_prompt(folder: Path) -> None:
    """A prompt in the place of one of 100 rows that the user brings."""
    import torch

    from cpeft.models.tiny import WIDTH
    from cpeft.prompts.soft_prompt import SoftPrompt

    SoftPrompt(torch.randn(_shorter(100), WIDTH, generator=torch.Generator().manual_seed(0))).save(folder)
