"""Checks of an unpacked archive that need neither a model nor rows: whether its parts agree with one another.

The scores are computed again from the kept answers, the data frame from the results, and the claims from both.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from cpeft.archive.claims import claims_of
from cpeft.archive.layout import ATTACHED, CLAIMS, SCORES, STORE
from cpeft.archive.read import Unpacked
from cpeft.archive.write import scores_text
from cpeft.errors import ConfigError, CpeftError, first_line
from cpeft.evaluation.scoring import score_texts
from cpeft.metrics.base import NO_LABEL
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.report.frame import CLOSED, without_choice
from cpeft.report.study import Run, Study
from cpeft.store.run_folder import Store
from cpeft.study.runner.data_check import Finding

NEAR = {"rel_tol": 1e-6, "abs_tol": 1e-6}  # versions of numpy and SciPy differ in the last digits
MOST_TEXT = 64 * 2**20  # bytes of a file of text
MOST_VALUES = 50_000_000  # values of a column of kept answers: a small Parquet file may hold any number of equal ones
ALIEN = (  # what reading a file raises that its author has made wrong
    CpeftError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RecursionError,
    OSError,
    pa.ArrowException,
)


def check_archive(archive: Unpacked) -> Iterator[Finding]:
    """Findings about the files of an archive and what they say."""
    yield from _files(archive)
    try:
        check_sizes(archive.folder)
        study = Study.of(Store(archive.folder / STORE))
        yield _runs(archive, study)
    except ALIEN as error:
        yield Finding("error", "runs", f"cannot be read: {reading(error, archive.folder)}")
        return
    for where, check in (
        ("scores.csv", _frame),
        ("answers", _answers),
        ("claims.json", _claims),
        ("prompts", _prompts),
    ):
        try:
            yield from check(archive, study)
        except ALIEN as error:
            yield Finding("error", where, f"cannot be read: {reading(error, archive.folder)}")


def reading(error: BaseException, folder: Path) -> str:
    """The first line of an error about a file in `folder`, without characters that a terminal obeys."""
    return printable(f"{type(error).__name__}: {first_line(error)}".replace(f"{folder}/", ""))


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]


def check_sizes(folder: Path) -> None:
    """Raise ValueError for a file that is too large to be read whole."""
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".toml", ".csv", ".jsonl") and path.stat().st_size > MOST_TEXT:
            raise ValueError(f"{path.name}: over {MOST_TEXT:,} bytes")
        if path.suffix == ".parquet":
            about = pq.read_metadata(path)
            groups = [about.row_group(i) for i in range(about.num_row_groups)]
            values = [group.column(i).num_values for group in groups for i in range(group.num_columns)]
            if about.num_rows > MOST_VALUES or sum(values) > MOST_VALUES or about.num_row_groups > 10_000:
                raise ValueError(f"{path.name}: over {MOST_VALUES:,} values")


def _files(archive: Unpacked) -> Iterator[Finding]:
    for name, what in sorted(archive.damage.items()):
        yield Finding("error", printable(name), what)
    index = archive.index
    if not archive.damage:
        size = sum(entry.bytes for entry in index.files.values())
        yield Finding(
            "ok", "files", f"{len(index.files)} files, {size:,} bytes, each with the SHA-256 that archive.json gives"
        )
    if attached := sum(name.startswith(f"{ATTACHED}/") for name in index.files):
        yield Finding(
            "unchecked", "attached", f"{attached} files that the author added: only their SHA-256 was checked"
        )
    for what, texts in (("unfinished", index.unfinished), ("left out", index.left_out)):
        if texts:
            more = f", and {len(texts) - 3} more" if len(texts) > 3 else ""
            yield Finding("warning", what, printable("; ".join(texts[:3])) + more)


def _runs(archive: Unpacked, study: Study) -> Finding:
    found = len(study.runs) + len(study.comparisons)
    if found != archive.index.runs:
        return Finding("error", "runs", f"{found} finished runs, and archive.json counts {archive.index.runs}")
    return Finding("ok", "runs", f"{len(study.runs)} finished runs and {len(study.comparisons)} comparisons")


def _frame(archive: Unpacked, study: Study) -> Iterator[Finding]:
    kept, ours = (archive.folder / SCORES).read_text(encoding="utf-8").splitlines(), scores_text(study).splitlines()
    wrong = [place for place, (one, other) in enumerate(zip(kept, ours, strict=False), 1) if one != other]
    if wrong or len(kept) != len(ours):
        at = f"line {wrong[0]}" if wrong else f"{len(kept)} lines for {len(ours)}"
        yield Finding("error", SCORES, f"not the scores that the results of the runs have ({at})")
    else:
        yield Finding("ok", SCORES, f"{len(ours) - 1} rows, as the results of the runs have them")


def _answers(archive: Unpacked, study: Study) -> Iterator[Finding]:
    """Every score from the kept answers."""
    same, unchecked = 0, dict[str, int]()
    for run in study.runs:
        for task, scores in run.result.scores.items():
            rows = [row for row in run.answers if row["task"] == task]
            if len(rows) != run.result.data[task].rows["test"]:
                what = f"{len(rows)} kept answers for {run.result.data[task].rows['test']} test rows"
                yield Finding("error", printable(f"{run.folder.path.name}, {task}"), what)
                continue
            for metric, score in scores.items():
                try:
                    again = score_again(run, task, metric, rows)
                except ConfigError as error:
                    unchecked[str(error)] = unchecked.get(str(error), 0) + 1
                    continue
                if math.isclose(again, score.value, **NEAR):
                    same += 1
                else:
                    what = f"{metric} {score.value:.2f}, and the kept answers give {again:.2f}"
                    yield Finding("error", printable(f"{run.folder.path.name}, {task}"), printable(what))
    if same:
        yield Finding("ok", "answers", f"{same} scores computed again from the kept answers")
    for why, count in unchecked.items():
        yield Finding("unchecked", "answers", printable(f"{count} scores: {why}"))


def score_again(run: Run, task: str, metric: str, rows: Sequence[dict[str, Any]]) -> float:
    """A score from kept answers; raises ConfigError where these are not enough for the metric."""
    labels, plain = run.result.data[task].labels, without_choice(metric)
    if not labels and not run.keeps_texts:
        raise ConfigError("open answers were kept as hashes")
    way = next((prefix.removesuffix("_") for prefix in CLOSED if metric.startswith(prefix)), "prediction")
    texts = [NO_LABEL if row[way] is None else row[way] for row in rows]
    return score_texts(plain, texts, [tuple(row["references"]) for row in rows], labels).value


def _claims(archive: Unpacked, study: Study) -> Iterator[Finding]:
    kept = json.loads((archive.folder / CLAIMS).read_text(encoding="utf-8"))
    ours = json.loads(json.dumps(claims_of(study)))
    if wrong := [claim["claim"] for claim, again in zip(kept, ours, strict=False) if not _same(claim, again)]:
        yield Finding("error", CLAIMS, printable(f"does not follow from the answers and scores: {wrong[0]}"))
    elif len(kept) != len(ours):
        yield Finding("error", CLAIMS, f"{len(kept)} claims, and the results give {len(ours)}")
    else:
        what = (
            f"{len(ours)} claims computed again from the answers and scores"
            if ours
            else "no claims: nothing was compared"
        )
        yield Finding("ok", CLAIMS, what)


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, numbers up to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, **NEAR)
    return bool(one == other)


def kept_prompt(run: Run, name: str) -> SoftPrompt:
    """An exported prompt of a run; raises ValueError for a name that leads out of the run's folder."""
    folder = run.folder.prompt(name)
    if not folder.resolve().is_relative_to(run.folder.path.resolve()):
        raise ValueError("the name of a prompt leads out of its run")
    return load_prompt(folder)


def _prompts(archive: Unpacked, study: Study) -> Iterator[Finding]:
    read = 0
    for run in study.runs:
        for name in run.result.prompts:
            prompt = kept_prompt(run, name)
            where = printable(f"{run.folder.path.name}, prompt {name}")
            if not torch.isfinite(prompt.weight).all():
                yield Finding("error", where, "it has entries that are no numbers")
            elif prompt.provenance.embedding != run.result.model.embedding:
                yield Finding("error", where, "it names another model than its run")
            else:
                read += 1
    yield Finding("ok", "prompts", f"{read} prompts read; each names the model of its run")
