"""What a store holds, as the sections of the report read it: finished runs, finished comparisons, and what a section is."""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from cpeft.report.variants import Member, told_apart
from cpeft.study.note import Note, read_notes
from cpeft.study.store import RunFolder, Store


@dataclass(frozen=True)
class Run:
    """A finished run that trained: its folder, its result, whose `label` tells runs of other settings apart, and its label in
    the recipe, by which references name it."""

    folder: RunFolder
    result: dict[str, Any]
    called: str

    @property
    def group(self) -> tuple[str, str]:
        """Stage and method label: the runs of a group differ in tasks and seeds."""
        return self.result["stage"], self.result["label"]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings that are not at their defaults, with tasks and seed."""
        return tomllib.loads((self.folder.path / "config.toml").read_text(encoding="utf-8"))

    @cached_property
    def settings(self) -> dict[str, str]:
        """`config` as dotted keys and JSON, without tasks and seed."""
        return dict(_flat({key: value for key, value in self.config.items() if key not in ("tasks", "seed")}, ""))

    @cached_property
    def member(self) -> Member:
        """What decides which runs are seeds of one method."""
        return Member.of(self.result, self.called, self.settings, self.folder.path.name.rpartition("-")[2])

    @cached_property
    def answers(self) -> list[dict[str, Any]]:
        """The test rows with task, row, source, references, prediction (None: matched with no label) and what was said, where
        that was kept; empty where none were."""
        path = self.folder.path / "predictions.parquet"
        columns = [
            "task",
            "row",
            "source",
            "references",
            "prediction",
            "answer",
            "choice",
            "calibrated",
        ]  # as far as it has them
        return pq.ParquetFile(path).read(columns=columns).to_pylist() if path.exists() else []

    @cached_property
    def keeps_texts(self) -> bool:
        """Whether its predictions hold texts, and not hashes in the place of them."""
        return self._told.get(b"texts") != b"hash"

    @cached_property
    def _told(self) -> dict[bytes, bytes]:
        """What its predictions say of themselves."""
        path = self.folder.path / "predictions.parquet"
        return (pq.read_schema(path).metadata or {}) if path.exists() else {}

    def validation(self, metrics: Mapping[str, str]) -> float | None:
        """The mean of the metrics, by task, that were scored last on validation rows; None where one was not written down."""
        scored = [record for record in logged(self.folder) if "headline" in record]
        values = [scored[-1].get(f"validation/{task}/{name}") if scored else None for task, name in metrics.items()]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known and len(known) == len(values) else None

    def weights(self) -> Iterator[tuple[str, np.ndarray, list[str]]]:
        """(task, weights [rows, candidates], candidates) of every task, where the method left an `attention` note."""
        path = self.folder.path / "predictions.parquet"
        if not (names := self._told.get(b"attention")):
            return
        candidates = names.decode().split("\t")
        table = pq.ParquetFile(path).read(columns=["task", "attention"])
        tasks = np.asarray(table["task"].to_pylist())
        weights = table["attention"].combine_chunks().flatten().to_numpy().reshape(len(tasks), len(candidates))
        for task in dict.fromkeys(tasks.tolist()):
            yield task, weights[tasks == task], candidates

    def prompt_hash(self, task: str, origin: bool = False) -> str:
        """The hash by which a comparison knows the prompt of a task, or that prompt's origin; empty where none was kept."""
        names = [name for name in (task, "+".join(self.result["tasks"])) if name in self.result["prompts"]]
        file = "origin.safetensors" if origin else "adapter_model.safetensors"
        paths = [self.folder.path / "prompts" / name / file for name in names]
        return next((_hash(path) for path in paths if path.exists()), "")


def logged(folder: RunFolder) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl; a killed process may have left half a line."""
    path = folder.path / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _hash(path: Path) -> str:
    """As `prompts.soft_prompt.matrix_hash` has it, of a file with one matrix."""
    (matrix_PD,) = load_file(path).values()
    return hashlib.sha256(matrix_PD.tobytes()).hexdigest()[:16]


def _flat(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Comparison:
    """A finished comparison of prompts: its folder and its `similarity.json`."""

    folder: RunFolder
    found: dict[str, Any]

    @cached_property
    def _names(self) -> dict[str, str]:
        return {each["hash"]: each["name"] for each in self.found["compared"]}

    def similarity(self, what: str, measure: str, one: str, two: str) -> float | None:
        """Of the live rows of two `prompts`, or of their `vectors`, known by their hashes; None where there is no number."""
        for card in self.found["cards"]:
            names = [each["name"] for each in card["prompts"]]
            places = [names.index(self._names[key]) for key in (one, two) if self._names.get(key) in names]
            if (card["what"], card["rows"]) == (what, "live") and len(places) == 2:
                value: float | None = card["matrices"][measure][places[0]][places[1]]
                return value
        return None


@dataclass(frozen=True)
class Study:
    """The finished runs of a store, in the order of the recipes that its notes name, else of their folders."""

    store: Store
    runs: tuple[Run, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, store: Store) -> "Study":
        runs: list[Run] = []
        comparisons = []
        notes = tuple(read_notes(store.path))
        for folder in _in_order([folder for folder in store.runs() if folder.done], notes):
            path = folder.path / "similarity.json"
            if path.exists():
                comparisons.append(Comparison(folder, json.loads(path.read_text(encoding="utf-8"))))
            else:
                result = folder.result()
                runs.append(Run(folder, result, called=result["label"]))
        for run, name in zip(runs, *told_apart([run.member for run in runs]), strict=True):
            run.result["label"] = name
        return cls(store, tuple(runs), tuple(comparisons), notes)

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        return [run.result for run in self.runs]

    @cached_property
    def unfinished(self) -> list[RunFolder]:
        """Runs that failed, and runs that were begun and neither finished nor failed, in order."""
        failed = (RunFolder(path.parent) for path in self.store.path.glob("*/*/failed.json"))
        found = {folder.path: folder for folder in (*self.store.runs(), *failed) if not folder.done}
        return [folder for _, folder in sorted(found.items())]

    @cached_property
    def labels(self) -> list[str]:
        return distinct(result["label"] for result in self.results)

    @cached_property
    def groups(self) -> dict[tuple[str, str], list[Run]]:
        """Runs by stage and method label."""
        found: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.group, []).append(run)
        return found


def _in_order(folders: Sequence[RunFolder], notes: Sequence[Note]) -> list[RunFolder]:
    """Stages and their runs as the recipes have them; what no note names stands behind those of its stage."""
    noted = [run for note in notes for run in note.runs]
    stages, places = distinct(run.stage for run in noted), {run.folder: i for i, run in enumerate(noted)}

    def key(folder: RunFolder) -> tuple[int, str, int]:
        stage = folder.path.parent.name
        place = places.get(f"{stage}/{folder.path.name}", len(noted))
        return (stages.index(stage), "", place) if stage in stages else (len(stages), stage, place)

    return sorted(folders, key=key)


@dataclass(frozen=True)
class Section:
    """One part of the page; the template's macro `name` renders `content`."""

    name: str
    title: str
    content: Any


def distinct(values: Any) -> list[Any]:
    """Values in the order of their first appearance."""
    return list(dict.fromkeys(values))
