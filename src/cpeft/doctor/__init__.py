"""Checks of prompts, recipes and data, before any training."""

import os
from collections.abc import Sequence
from pathlib import Path

from cpeft.doctor.recipes import check_recipe
from cpeft.errors import ConfigError, CpeftError, UnknownName
from cpeft.plugins import load_plugins
from cpeft.prompts.formula.parse import parse_formula
from cpeft.prompts.formula.tree import Name
from cpeft.study.launchers import launcher_options
from cpeft.study.recipe.recipe import find_recipe, load_recipe
from cpeft.study.runner.data_check import Finding


def examine(subjects: Sequence[str], model: str | None = None, plugins: Sequence[Path] = ()) -> list[Finding]:
    """Findings about recipes (`.toml` files or packaged names), about prompts (anything `cpeft import` reads) and formulas of
    them, and about the prompts together; `key=value` overrides settings of the recipes, as for `cpeft run`, and `plugins`
    are loaded first. Checks that need the model use `model`, else the one that a prompt names, where that is on this
    machine."""
    load_plugins(plugins)
    overrides = [subject for subject in subjects if "=" in subject and not os.path.exists(subject)]
    subjects = [subject for subject in subjects if subject not in overrides]
    prompts = list(dict.fromkeys(subject for subject in subjects if _is_prompt(subject)))
    if overrides and len(prompts) == len(set(subjects)):
        raise ConfigError(f"override '{overrides[0]}': overrides change recipes, and none is given")
    recipes = {subject: _of_recipe(subject, overrides, plugins) for subject in subjects if subject not in prompts}
    if not prompts:
        return [finding for subject in subjects for finding in recipes[subject]]
    from cpeft.doctor.prompts import PromptCheck  # here: recipes are checked without torch

    check = PromptCheck(model)
    found = [finding for subject in subjects for finding in recipes.get(subject) or check.of(subject)]
    return [*found, *check.together(prompts)]


def _is_prompt(subject: str) -> bool:
    """Whether `what` is a prompt or a formula of prompts; a bare name that is no file may be a packaged recipe."""
    if subject.endswith(".toml") or os.path.exists(subject):
        return not subject.endswith(".toml")
    try:
        return not isinstance(parse_formula(subject).tree, Name)
    except ConfigError:
        return True  # what reads it says what is wrong


def _of_recipe(subject: str, overrides: Sequence[str], plugins: Sequence[Path]) -> list[Finding]:
    """Findings about a recipe; "nothing wrong" is a finding too."""
    try:
        recipe = load_recipe(_file_of(subject), overrides, plugins)
        launcher_options(recipe)  # raises ConfigError for mistakes in [launcher] tables
        found = list(check_recipe(recipe))
    except CpeftError as error:
        return [Finding("error", subject, str(error))]
    return found or [Finding("ok", subject, "nothing wrong found")]


def _file_of(subject: str) -> Path:
    try:
        return find_recipe(subject)
    except UnknownName as error:
        raise UnknownName(f"neither a prompt nor a recipe: {error}") from None
