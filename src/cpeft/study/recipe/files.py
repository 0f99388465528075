"""Recipe files as written: a recipe may be the differences from another.

extends = "paper/tpv-t5"     # a packaged recipe, or a file beside this one
[optim]
clip = "default"             # restores the built-in default
[[stage]]
name = "sources"             # these keys are merged into the stage of this name
train.epochs = 5

Tables are merged key by key, stages and their variants by name; new ones come last. A list or a stage's grid replaces the old
one, and the settings of a task that a new list leaves out are dropped. Files that the other recipe names (models, tasks) are
looked up beside the recipe that extends it.
"""

import os
from collections import Counter
from functools import lru_cache
from pathlib import Path

from cpeft.config import Table, located, merge, read_toml
from cpeft.errors import ConfigError, UnknownName
from cpeft.plugins import KEY
from cpeft.registry import closest, suggest

EXTENDS = "extends"
Files = tuple[Path, ...]  # the files a recipe was read from, its own first


def find_recipe(name: str) -> Path:
    """The file of a recipe, given as a path or as the name of a packaged recipe; raises UnknownName with the closest name."""
    if os.path.exists(name):  # unlike Path.exists, False for a text too long for a file name
        return Path(name)
    if "://" in name:
        raise ConfigError(f"'{name}' is an address; recipes are read from files: download it and name the file")
    packaged = packaged_recipes()
    if name not in packaged:
        near = closest(name, packaged) or "; `cpeft list recipes` shows the packaged ones"
        raise UnknownName(f"no recipe file or packaged recipe '{name}'{near}")
    return packaged[name]


@lru_cache(maxsize=1)
def packaged_recipes() -> dict[str, Path]:
    """Recipes shipped with the package, by name."""
    package = Path(__file__).parents[2]
    folder = package / "recipes" if (package / "recipes").is_dir() else package.parents[1] / "recipes"
    files = {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.toml"))}
    return {name: path for name, path in files.items() if {"stage", EXTENDS} & read_toml(path).keys()}


def read_recipe(path: Path, below: Files = ()) -> tuple[Table, Files]:
    """The tables of a recipe, merged into those of the recipe it extends, and the files they are from; `below` are the recipes
    that extend this one.

    Raises ConfigError (invalid stages, two of one name, a recipe that extends itself) and UnknownName (no recipe to extend)."""
    if path.resolve() in below:
        raise ConfigError(f"{path}: extends itself, by way of {', '.join(file.name for file in below)}")
    own = read_toml(path)
    stages, plugins = _stages(own, path), _plugins(own, path)
    if EXTENDS not in own:
        return own, (path,)
    other, files = read_recipe(_extended(own.pop(EXTENDS), path), (*below, path.resolve()))
    before = other.get("stage", [])
    known = [str(stage.get("name")) for stage in before]
    for name in (str(stage.get("name")) for stage in stages if not {"tasks", "compare"} & stage.keys()):
        if name not in known:
            raise ConfigError(
                f"{path}: stage '{name}' has no tasks, and {files[0]} has no such stage{suggest(name, known)}"
            )
    inherited = {
        key: value for key, value in other.items() if key not in ("name", "base")
    }  # two recipes share no store
    tables = merge(inherited, own, {"stage": merged_by_name(before, stages)})
    if every := [*other.get(KEY, []), *plugins]:
        tables[KEY] = every
    return tables, (path, *files)


def _plugins(table: Table, path: Path) -> list[str]:
    """The plugins of a recipe as absolute paths, which take the place of its own; raises ConfigError for a packaged recipe."""
    if KEY not in table:
        return []
    names = table[KEY]
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ConfigError(f"{located((path,), KEY)}'{KEY}' = {names!r}: give a list of Python files")
    if path.resolve() in (packaged.resolve() for packaged in packaged_recipes().values()):
        raise ConfigError(f"{located((path,), KEY)}a packaged recipe cannot name plugins; pass them with --plugin")
    table[KEY] = [str((path.parent / name).resolve()) for name in names]
    return table[KEY]  # type: ignore[no-any-return]


def _stages(table: Table, path: Path) -> list[Table]:
    stages = table.get("stage", [])
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ConfigError(f"{path}: a recipe needs at least one [[stage]], in double brackets")
    for name, count in Counter(str(stage.get("name")) for stage in stages if "name" in stage).items():
        if count > 1:
            raise ConfigError(f"{path}: two stages are called '{name}'")
    return stages


def _extended(name: object, path: Path) -> Path:
    where = located((path,), EXTENDS)
    if not isinstance(name, str):
        raise ConfigError(f"{where}'{EXTENDS}' = {name!r}: give one recipe, a packaged name or a file beside this one")
    beside = path.parent / name
    try:
        return beside if beside.is_file() else find_recipe(name)
    except UnknownName as error:
        raise UnknownName(f"{where}{error}") from None


def merged_by_name(old: list[Table], new: list[Table]) -> list[Table]:
    """The tables of both lists; those of one name are merged."""
    merged = {table.get("name"): table for table in old}
    for table in new:
        before = merged.get(table.get("name"), {})
        both = merge(before, table)
        if isinstance(before.get("variant"), list) and isinstance(table.get("variant"), list):
            both["variant"] = merged_by_name(before["variant"], table["variant"])
        both |= {key: table[key] for key in ("grid", "search") if key in table}
        if "tasks" in table and isinstance(before.get("task"), dict):
            kept = {*both["tasks"], *table.get("task", ())}
            both["task"] = {task: own for task, own in both["task"].items() if task in kept}
        merged[table.get("name")] = both
    return list(merged.values())
