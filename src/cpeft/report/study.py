"""What a store holds, as the sections of the report read it: finished runs and finished comparisons."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from cpeft.config import Table, flat
from cpeft.prompts.hashes import rows_hash, stored_rows
from cpeft.report.variants import Variant, labels_apart
from cpeft.store.manifest import Manifest, read_manifests
from cpeft.store.result import RunResult, SearchResult
from cpeft.store.run_folder import RunFolder, Store
from cpeft.store.similarity import SavedSimilarity

GRID = re.compile(
    r"(?: ·)? (?:data\.)?(few_shot|limit_train)=\w+"
)  # what a grid over them, or a change, adds to labels


@dataclass(frozen=True)
class Run:
    """A finished run that trained: its folder, its result, the settings that are not at their defaults (with tasks and seed),
    and the label that tells runs of other settings apart; `result.label` is that in the recipe, by which references name it."""

    folder: RunFolder
    result: RunResult
    config: Table
    label: str

    @classmethod
    def of(cls, folder: RunFolder, result: RunResult) -> "Run":
        """A run by its own label alone."""
        return cls(folder, result, folder.config(), result.label)

    @property
    def method(self) -> str:
        """The label without the number of training examples."""
        return GRID.sub("", self.label)

    @property
    def group(self) -> tuple[str, str]:
        """Stage and method label: the runs of a group differ in tasks and seeds."""
        return self.result.stage, self.label

    @cached_property
    def settings(self) -> dict[str, str]:
        """`config` as dotted keys and JSON, without tasks and seed."""
        return flat({key: value for key, value in self.config.items() if key not in ("tasks", "seed")})

    @cached_property
    def variant(self) -> Variant:
        """What decides which runs are seeds of one method."""
        return Variant.of(self.result, self.settings, self.folder.id)

    @cached_property
    def answers(self) -> list[dict[str, Any]]:
        """The test rows with task, row, source, references, prediction (None: matched with no label) and what was said, where
        that was kept; empty where none were."""
        columns = ["task", "row", "source", "references", "prediction", "answer", "choice", "calibrated"]
        table = self.folder.predictions(columns)
        return [] if table is None else table.to_pylist()

    @cached_property
    def keeps_texts(self) -> bool:
        """Whether its predictions hold texts, and not hashes in the place of them."""
        return self._metadata.get("texts") != "hash"

    @cached_property
    def _metadata(self) -> dict[str, str]:
        return self.folder.predictions_metadata()

    def validation(self, metrics: Mapping[str, str]) -> float | None:
        """The mean of the metrics, by task, that were scored last on validation rows; None where one was not written down."""
        scored = [record for record in self.folder.log() if "headline" in record]
        values = [scored[-1].get(f"validation/{task}/{name}") if scored else None for task, name in metrics.items()]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known and len(known) == len(values) else None

    def weights(self) -> Iterator[tuple[str, np.ndarray, list[str]]]:
        """(task, weights [rows, candidates], candidates) of every task, where the method left an `attention` note."""
        names = self._metadata.get("attention")
        table = self.folder.predictions(["task", "attention"]) if names else None
        if not names or table is None:
            return
        candidates = names.split("\t")
        tasks = np.asarray(table["task"].to_pylist())
        weights = table["attention"].combine_chunks().flatten().to_numpy().reshape(len(tasks), len(candidates))
        for task in dict.fromkeys(tasks.tolist()):
            yield task, weights[tasks == task], candidates

    def prompt_hash(self, task: str, origin: bool = False) -> str:
        """The hash by which a comparison knows the prompt of a task, or that prompt's origin; empty where none was kept."""
        names = [name for name in (task, "+".join(self.result.tasks)) if name in self.result.prompts]
        stored = (stored_rows(self.folder.prompt(name), origin) for name in names)
        return next((rows_hash(rows_PD) for rows_PD in stored if rows_PD is not None), "")


@dataclass(frozen=True)
class Try:
    """A finished search run: its folder and its result."""

    folder: RunFolder
    result: SearchResult


@dataclass(frozen=True)
class SavedComparison:
    """A finished comparison of prompts: its folder and its `similarity.json`."""

    folder: RunFolder
    found: SavedSimilarity

    @cached_property
    def _names(self) -> dict[str, str]:
        return {each.hash: each.name for each in self.found.compared}

    def similarity(self, what: str, measure: str, one: str, two: str) -> float | None:
        """Of the live rows of two `prompts`, or of their `vectors`, known by their hashes; None where there is no number."""
        for card in self.found.cards:
            names = [each.name for each in card.prompts]
            places = [names.index(self._names[key]) for key in (one, two) if self._names.get(key) in names]
            if (card.what, card.rows) == (what, "live") and len(places) == 2:
                return card.matrices[measure][places[0]][places[1]]
        return None


@dataclass(frozen=True)
class Study:
    """The finished runs of a store, in the order of the recipes that its manifests name, else of their folders."""

    store: Store
    runs: tuple[Run, ...]
    comparisons: tuple[SavedComparison, ...]
    manifests: tuple[Manifest, ...] = ()
    tries: tuple[Try, ...] = ()  # search runs, which have no test scores

    @classmethod
    def of(cls, store: Store) -> "Study":
        manifests = tuple(read_manifests(store.path))
        folders = _in_order([folder for folder in store.runs() if folder.done], manifests)
        comparisons = tuple(
            SavedComparison(folder, found) for folder in folders if (found := folder.similarity()) is not None
        )
        results = [(folder, folder.result()) for folder in folders]
        tries = tuple(Try(folder, result) for folder, result in results if isinstance(result, SearchResult))
        runs = [Run.of(folder, result) for folder, result in results if isinstance(result, RunResult)]
        return cls(store, named_apart(runs), comparisons, manifests, tries)

    @cached_property
    def results(self) -> list[RunResult]:
        return [run.result for run in self.runs]

    @cached_property
    def unfinished(self) -> list[RunFolder]:
        """Runs that failed, and runs that were begun and neither finished nor failed, in order."""
        return [run for run in self.store.begun() if not run.done and (run.failed or run.config_path.exists())]

    @cached_property
    def labels(self) -> list[str]:
        return distinct(run.label for run in self.runs)

    @cached_property
    def names(self) -> list[str]:
        """The names of its recipes."""
        return distinct(manifest.name for manifest in self.manifests)

    @cached_property
    def abouts(self) -> list[str]:
        """What its recipes say they are about."""
        tables = (tomllib.loads(text) for manifest in self.manifests for text in manifest.files.values())
        return distinct(table["about"] for table in tables if table.get("name") in self.names and table.get("about"))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """A number of every method, trained ones first: it decides the colour of the method in all pictures."""
        methods = distinct(run.method for run in sorted(self.runs, key=lambda run: not run.result.steps))
        return {method: number for number, method in enumerate(methods)}

    @cached_property
    def groups(self) -> dict[tuple[str, str], list[Run]]:
        """Runs by stage and method label."""
        found: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.group, []).append(run)
        return found


def named_apart(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs under labels that tell those of other settings apart."""
    (labels,) = labels_apart([run.variant for run in runs])
    return tuple(replace(run, label=label) for run, label in zip(runs, labels, strict=True))


def _in_order(folders: Sequence[RunFolder], manifests: Sequence[Manifest]) -> list[RunFolder]:
    """Stages and their runs as the recipes have them; what no manifest names stands behind those of its stage."""
    planned = [run for manifest in manifests for run in manifest.runs]
    stages, places = distinct(run.stage for run in planned), {run.folder: i for i, run in enumerate(planned)}

    def key(folder: RunFolder) -> tuple[int, str, int]:
        stage = folder.path.parent.name
        place = places.get(f"{stage}/{folder.path.name}", len(planned))
        return (stages.index(stage), "", place) if stage in stages else (len(stages), stage, place)

    return sorted(folders, key=key)


def distinct(values: Any) -> list[Any]:
    """Values in the order of their first appearance."""
    return list(dict.fromkeys(values))
