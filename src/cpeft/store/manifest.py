"""What `cpeft run` leaves in a store for those who only look: which recipe it works off, and the folder of every run.

    STORE/<name>-<digest>-<digest>.study.json        STORE/recipes/<name>-<digest>-<digest>.toml

Name, overrides and chosen runs make the first digest, so a store that several recipes work on holds a manifest of each; the
text of the recipe makes the second, so that one that was edited leaves the manifest of what it was. Reading needs neither
torch nor the recipe. The texts of the recipe's files stand in the manifest, and the second file is the recipe they make, to
be run again when they have been edited or lost.
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
    """A run that a study asks for; `folder` is relative to the store and empty while it depends on unfinished runs, `blocked`
    says which failed run it needs."""

    stage: str
    name: str
    folder: str = ""
    blocked: str = ""

    def __str__(self) -> str:
        return f"{self.stage}/{self.name}"


@dataclass(frozen=True)
class Manifest:
    """A study: `recipe` is a path or the name of a packaged recipe, `files` the texts it was read from, by path."""

    name: str
    recipe: str
    overrides: tuple[str, ...]
    only: tuple[str, ...]
    files: dict[str, str]
    runs: tuple[PlannedRun, ...]

    @property
    def path(self) -> Path:
        """Its name in its store."""
        return Path(f"{self._stem}.study.json")

    @property
    def kept(self) -> Path:
        """The recipe in its store."""
        return Path("recipes") / f"{self._stem}.toml"

    @property
    def _stem(self) -> str:
        key, text = digest(self.study)[:8], digest(list(self.files.values()))[:8]
        return f"{self.name.replace('/', '.').replace(' ', '_')}-{key}-{text}"

    @property
    def study(self) -> list[object]:
        """What two manifests of one study share, whatever its recipe's text was."""
        return [self.name, sorted(self.overrides), sorted(self.only)]

    def of_one_recipe(self, other: "Note") -> bool:
        """Whether both were left by one recipe: by one file, or by files of one text."""
        return self.recipe == other.recipe or list(self.files.values()) == list(other.files.values())

    def card(self) -> dict[str, object]:
        """The JSON object that `read` reads back."""
        runs = [asdict(run) for run in self.runs]
        return {**asdict(self), "overrides": list(self.overrides), "only": list(self.only), "runs": runs}

    def command(self, store: Path, only: Sequence[str] = ()) -> str:
        """The command that goes on with the study; `only` narrows it to some of its runs."""
        chosen = [part for name in (only or self.only) for part in ("--only", name)]
        return shlex.join(["cpeft", "run", self.recipe, *self.overrides, *chosen, "--store", str(store)])

    def again(self, store: Path, elsewhere: Path, run: str) -> str:
        """The command that makes one run again elsewhere; by the recipe in the store where its files are no longer the same."""
        kept = (store / self.kept).resolve()
        manifest = replace(self, recipe=str(kept)) if self.edited() and kept.is_file() else self
        return manifest.command(elsewhere, [run])

    def edited(self) -> list[str]:
        """The files of the recipe that are no longer what they were."""
        paths = {path: Path(path) for path in self.files}
        return [name for name, path in paths.items() if not path.is_file() or _text(path) != self.files[name]]


def read_manifests(store: Path) -> list[Manifest]:
    """All manifests of a store, the newest first; raises DataError naming the file for one that is none."""
    return [_read(path) for path in sorted(store.glob("*.study.json"), key=lambda path: -path.stat().st_mtime_ns)]


def current_manifests(store: Path) -> list[Manifest]:
    """The studies of a store as their recipes were last run, by name. A recipe that was edited, or moved as it is, is one
    study; two recipes of one name are two."""
    manifests: list[Manifest] = []
    for manifest in read_manifests(store):
        if not any(manifest.study == newer.study and manifest.of_one_recipe(newer) for newer in manifests):
            manifests.append(manifest)
    return sorted(manifests, key=lambda manifest: str(manifest.path))


def _read(path: Path) -> Manifest:
    try:
        card = json.loads(_text(path))
        runs = tuple(PlannedRun(**run) for run in card["runs"])
        return Manifest(**{**card, "overrides": tuple(card["overrides"]), "only": tuple(card["only"]), "runs": runs})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not the note of a study ({error}); delete it, `cpeft run` writes it again") from None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
