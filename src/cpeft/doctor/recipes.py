"""Checks of a recipe: data, runs, models, and texts that do not fit them; each problem is reported once.

Whether a model can be used with soft prompts is checked on its weights once and kept in the user's cache."""

import platform
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cpeft.errors import CpeftError, Missing, MissingModel, TooLong
from cpeft.models.cache import remembered
from cpeft.models.places import folder_of, model_identity
from cpeft.options.model import ModelOptions
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import Recipe
from cpeft.study.recipe.settings import located_model
from cpeft.study.runner.data_check import Finding, check_data, facts_of, without_model
from cpeft.study.runner.plan import Plan


def check_recipe(recipe: Recipe) -> Iterator[Finding]:
    """Findings about a recipe, none where nothing is wrong."""
    reported = set()
    for finding in check_data(recipe.training):
        reported.add(finding.what)
        yield finding
    plan = Plan(recipe, Store(Path("stores") / recipe.name))
    for finding in (*_runs(plan), *_models(recipe), *_fits(recipe)):
        if finding.what not in reported:
            reported.add(finding.what)
            yield finding


def _runs(plan: Plan) -> Iterator[Finding]:
    for run in plan.recipe.runs:
        try:
            plan.entry(run)
        except Missing:
            continue  # reported with the data
        except CpeftError as error:
            yield Finding("error", str(run), str(error))


def _models(recipe: Recipe) -> Iterator[Finding]:
    """Models that cannot be loaded, or cannot be used with soft prompts."""
    stages = {located_model(run.settings.model, run.base): run.stage for run in reversed(recipe.training)}
    for options, stage in reversed(stages.items()):
        try:
            remembered(
                "usable", [platform.node(), model_identity(options), options.model_dump()], partial(_loads, options)
            )
        except MissingModel as error:  # its weights too, of which the data says nothing
            yield without_model(options.name, stage, error)
        except CpeftError as error:
            yield Finding("error", stage, str(error))


def _loads(options: ModelOptions) -> bool:
    """True; raises CpeftError for a model that cannot be used, MissingModel for a named one that a run would download first."""
    from cpeft.study.runner.prepare import model_of

    folder_of(options.name, options.file, fetch=False)
    return bool(model_of(options))


def _fits(recipe: Recipe) -> Iterator[Finding]:
    """Prompts that with the longest text exceed the model's positions."""
    seen: set[object] = set()
    for run in recipe.training:
        settings, length = run.settings, 0 if run.settings.changes_model else run.settings.prompt.length
        for name in settings.tasks:
            if (key := (name, run.base, settings.data, settings.model, length)) in seen:
                continue
            seen.add(key)
            try:
                facts_of(run, name).check_fits(length, settings.model.name)
            except TooLong as error:
                yield Finding("error", f"{run.stage}: {name}", str(error))
            except CpeftError:
                continue  # reported with the data
