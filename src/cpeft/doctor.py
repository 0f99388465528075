"""What is wrong with this prompt, recipe or data, before a GPU is spent on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cpeft.errors import CpeftError, UnknownName
from cpeft.prompts.exchange import load_prompt
from cpeft.study.plan import Plan
from cpeft.study.prepare import model_of
from cpeft.study.recipe import Recipe, RecipeRun, find_recipe, load_recipe
from cpeft.study.settings import located_model
from cpeft.study.store import Store
from cpeft.study.task_data import dataset_of, task_data


@dataclass(frozen=True)
class Finding:
    """One thing found; `error` means a run would fail or mean something else than it says."""

    level: Literal["error", "warning", "ok"]
    where: str
    what: str


def examine(subject: str) -> list[Finding]:
    """Findings about a recipe (a `.toml` file or packaged name) or a prompt (anything `cpeft import` reads)."""
    try:
        if subject.endswith(".toml") or not Path(subject).exists():
            found = list(_recipe(load_recipe(find_recipe(subject))))
        else:
            found = list(_prompt(Path(subject)))
    except UnknownName as error:
        return [Finding("error", subject, f"neither a prompt nor a recipe: {error}")]
    except CpeftError as error:
        return [Finding("error", subject, str(error))]
    return found or [Finding("ok", subject, "nothing wrong found")]


def _prompt(path: Path) -> Iterator[Finding]:
    prompt, where = load_prompt(path), str(path)
    if "dead" in prompt.provenance.note or "never read" in prompt.provenance.note:
        yield Finding("warning", where, prompt.provenance.note)
    if zero := int((prompt.weight.norm(dim=1) == 0).sum()):
        yield Finding("warning", where, f"{zero} of {prompt.length} rows are zero")
    if prompt.origin is not None:
        moved = (prompt.weight - prompt.origin).norm(dim=1) / prompt.origin.norm(dim=1).clamp_min(1e-12)
        if dead := int((moved == 0).sum()):
            yield Finding("error", where, f"{dead} of {prompt.length} rows never moved: dead rows")
        elif float(moved.std()) < 1e-7:
            yield Finding("error", where, "all rows moved by one factor: only weight decay touched them")
    if doubled := prompt.length - len({tuple(row) for row in prompt.weight.tolist()}):
        yield Finding("warning", where, f"{doubled} rows repeat other rows")
    if not prompt.provenance.embedding:
        yield Finding("warning", where, "the prompt does not say which embedding table it was trained on")


def _recipe(recipe: Recipe) -> Iterator[Finding]:
    plan = Plan(recipe, Store(Path("stores") / recipe.name))
    for run in recipe.runs:
        try:
            plan.entry(run)
        except CpeftError as error:
            yield Finding("error", str(run), str(error))
    seen: set[object] = set()
    for run in recipe.runs:
        for name in run.settings.tasks:
            key = (name, run.settings.data, run.settings.model)
            if key not in seen:
                seen.add(key)
                yield from _task(run, name)


def _task(run: RecipeRun, name: str) -> Iterator[Finding]:
    where = f"{run.stage}: {name}"
    try:
        dataset_of(name, run.base, run.settings.data.revision)  # what is missing, before the model is loaded
        lm = model_of(located_model(run.settings.model, run.base))
        data = task_data(name, run.base, run.settings.data, run.settings.seed_for("subset"), lm)
        lm.check_fits(run.settings.prompt.length, max(part.longest for part in data.parts.values()))
    except CpeftError as error:
        yield Finding("error", where, str(error))
        return
    for note in data.notes:
        yield Finding("warning" if "cut to" in note or "left in" in note else "ok", where, note)
    said = dict(zip(data.labels, lm.codec(run.settings.data.form).targets(data.labels), strict=True))
    if unknown := [label for label, ids in said.items() if lm.tokenizer.unk_token_id in ids]:
        yield Finding("error", where, f"no output can reach {', '.join(unknown)}: the tokenizer has no tokens for them")
    most, longest = run.settings.eval.max_new_tokens, max(map(len, said.values()), default=0)
    if most is not None and longest > most:
        yield Finding("error", where, f"eval.max_new_tokens = {most} cuts labels of up to {longest} tokens")
