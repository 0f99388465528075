"""The manifest of a study, which `cpeft run` writes to the store: its recipe, and the folder of every run.

    STORE/<name>-<digest>-<digest>.study.json        STORE/recipes/<name>-<digest>-<digest>.toml

The first digest is of name, overrides and chosen runs, so a store of several recipes holds a manifest of each. The second is
of the text of the recipe, so the manifest of a recipe that is edited later is kept. Reading needs neither torch nor the
recipe. The manifest contains the texts of the recipe's files; the second file is the whole recipe, to be run again when they
have been edited or lost.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cpeft.config import digest
from cpeft.errors import DataError


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study. `folder` is relative to the store and empty while the run depends on unfinished ones; `blocked` names
    the failed run that it needs."""

    stage: str
    name: str
    folder: str = ""
    blocked: str = ""

    def __str__(self) -> str:
        return f"{self.stage}/{self.name}"


@dataclass(frozen=True)
class Manifest:
    """A study. `recipe` is a path or the name of a packaged recipe; `files` holds the texts of its files, by path, and
    `plugins` the paths of all that its runs need."""

    name: str
    recipe: str
    overrides: tuple[str, ...]
    only: tuple[str, ...]
    files: dict[str, str]
    runs: tuple[PlannedRun, ...]
    plugins: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The path of the manifest in its store."""
        return Path(f"{self._stem}.study.json")

    @property
    def kept(self) -> Path:
        """The path of the recipe in its store."""
        return Path("recipes") / f"{self._stem}.toml"

    @property
    def _stem(self) -> str:
        key, text = digest(self.study)[:8], digest(list(self.files.values()))[:8]
        return f"{self.name.replace('/', '.').replace(' ', '_')}-{key}-{text}"

    @property
    def study(self) -> list[object]:
        """What identifies the study, apart from the text of its recipe."""
        return [self.name, sorted(self.overrides), sorted(self.only)]

    def of_one_recipe(self, other: "Manifest") -> bool:
        """Whether both are of one recipe: the same file, or files of the same text."""
        return self.recipe == other.recipe or list(self.files.values()) == list(other.files.values())

    def card(self) -> dict[str, object]:
        """The JSON object that `read` reads back."""
        runs = [asdict(run) for run in self.runs]
        lists = {name: list(getattr(self, name)) for name in ("overrides", "only", "plugins")}
        return {**asdict(self), **lists, "runs": runs}

    def command(self, store: Path, only: Sequence[str] = ()) -> str:
        """The command that resumes the study; `only` limits it to some of its runs."""
        chosen = [part for name in (only or self.only) for part in ("--only", name)]
        plugins = [part for path in self.plugins for part in ("--plugin", path)]
        return shlex.join(["cpeft", "run", self.recipe, *self.overrides, *chosen, *plugins, "--store", str(store)])

    def again(self, store: Path, elsewhere: Path, run: str) -> str:
        """The command that repeats one run in another store; uses the recipe in this store if its files have changed."""
        kept = (store / self.kept).resolve()
        manifest = replace(self, recipe=str(kept)) if self.edited() and kept.is_file() else self
        return manifest.command(elsewhere, [run])

    def edited(self) -> list[str]:
        """The files of the recipe that have changed or are gone."""
        paths = {path: Path(path) for path in self.files}
        return [name for name, path in paths.items() if not path.is_file() or _text(path) != self.files[name]]


def read_manifests(store: Path) -> list[Manifest]:
    """All manifests of a store, the newest first; raises DataError naming a file that is not a manifest."""
    return [_read(path) for path in sorted(store.glob("*.study.json"), key=lambda path: -path.stat().st_mtime_ns)]


def current_manifests(store: Path) -> list[Manifest]:
    """The latest manifest of every study of a store, by name. A recipe that was edited, or moved unchanged, is one study; two
    recipes of one name are two."""
    manifests: list[Manifest] = []
    for manifest in read_manifests(store):
        if not any(manifest.study == newer.study and manifest.of_one_recipe(newer) for newer in manifests):
            manifests.append(manifest)
    return sorted(manifests, key=lambda manifest: str(manifest.path))


def _read(path: Path) -> Manifest:
    try:
        card = json.loads(_text(path))
        lists = {name: tuple(card.get(name, ())) for name in ("overrides", "only", "plugins")}
        return Manifest(**{**card, **lists, "runs": tuple(PlannedRun(**run) for run in card["runs"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path}: not the manifest of a study ({error}); delete it, `cpeft run` writes it again"
        ) from None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
