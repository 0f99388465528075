"""What a reader must know before believing the rest: failures, runs at chance, answers that are no label, cut texts, rows that
splits share.

Nothing here is judged away or folded up: it is what run folders say, below the summary.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd

from cpeft.data.notes import ABSENT, CUT, SHARED, SWALLOWED, UNKNOWN, VALIDATED, of_training
from cpeft.report.frame import score_frame
from cpeft.report.render.numbers import EMPTY, cell, header, muted
from cpeft.report.render.table import Cell, Column, Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Run, Study, distinct
from cpeft.report.summary import at_chance, constants, scale_of
from cpeft.store.result import RunResult
from cpeft.store.run_folder import RunFolder

MANY = 0.05  # of a split's texts, from which on cutting is worth a warning
FAR = 10.0  # points below the other seeds, and
SPREADS = 3.0  # times their range, from which on a seed has collapsed
SPEECHLESS = (
    0.5  # of a run's answers: more of them outside the label set, and its score says little of what the model knows
)


@dataclass(frozen=True)
class Caution:
    """One kind of trouble: what it is, how often it was met, what it means, and where it is, as texts or as a table. `short`
    says it in the summary; what has none is named there by its title."""

    title: str
    count: str
    meaning: str
    places: tuple[str, ...] = ()
    table: Table | None = None
    short: str = ""


@section("cautions", "Cautions", 10, folded=False)
def cautions(page: Page) -> dict[str, Any] | None:
    """All cautions."""
    found = cautions_of(page.study)
    return {"found": found, "tables": [each.table for each in found if each.table]} if found else None


def cautions_of(study: Study) -> list[Caution]:
    """All that a store gives reason to be careful about; empty where there is none."""
    failed = [folder for folder in study.unfinished if folder.failed]
    begun = [folder for folder in study.unfinished if not folder.failed]
    scores = _trained_scores(study)
    weak = f"{scores['weak'].sum()} of {len(scores)} scores of trained runs"
    silent = no_labels(study.runs)
    collapsed = [place for runs in _by_method(study).values() for place in _collapsed(runs)]
    found = (
        Caution("Failed runs", str(len(failed)), "Nothing of them enters any table or figure.",
                tuple(_reason(study, folder) for folder in failed),
                short=f"{len(failed)} run{'s' * (len(failed) > 1)} failed"),
        Caution("Unfinished runs", str(len(begun)), "They were begun and neither ended nor failed; nothing of them is shown. "
                "Runs that were never begun leave no folder and are not listed.",
                tuple(_reason(study, folder) for folder in begun),
                short=f"{len(begun)} run{'s' * (len(begun) > 1)} unfinished"),
        Caution("At chance", weak, "These do not beat the best constant answer on the test rows: they are no evidence that the "
                "task was learned.", table=_chance_table(scores), short=f"{weak} are at chance"),
        Caution("Answers that are no label", f"{sum(len(runs) for _, runs in silent)} of {_closed(study.results)} scores of "
                "tasks with labels", "Most of what these runs say is no label and counts as wrong, whatever the model knows: "
                'their prompt was hardly trained, or there is none. eval.decode = ["greedy", "choice"] scores the likeliest '
                "label beside it.", tuple(f"{what}: {', '.join(runs)}" for what, runs in silent)),
        Caution("Collapsed seeds", str(len(collapsed)), "One seed lies far below the others of its method: a mean over seeds "
                "hides that there are two outcomes.", tuple(collapsed),
                short=f"{len(collapsed)} seed{'s' * (len(collapsed) > 1)} collapsed far below the others"),
        *(Caution(title, str(len(places)), meaning, tuple(places))
          for title, meaning, wanted in OF_DATA if (places := _notes(study, wanted))),
    )  # fmt: skip
    return [caution for caution in found if caution.places or caution.table]


def in_short(found: Sequence[Caution]) -> str:
    """All cautions in one sentence."""
    if not found:
        return "no run failed, no seed collapsed, and no trained run is at chance"
    return "; ".join(each.short or f"{each.title.lower()} ({each.count})" for each in found)


def no_labels(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Where most answers are no label: stage, method and task, and of each seed how many of how many."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for task, about in run.result.data.items():
            outside, rows = about.no_label or 0, about.rows["test"]
            if outside > SPEECHLESS * rows:
                count = f"seed {run.result.seed}: {outside} of {rows} answers are no label"
                found.setdefault(f"{_method(*run.group)}, {task}", []).append(count)
    return list(found.items())


def _closed(results: Sequence[RunResult]) -> int:
    """How many scores are of tasks with labels, as far as their answers were counted."""
    return sum(about.no_label is not None for result in results for about in result.data.values())


def _method(stage: str, label: str) -> str:
    return stage if label == stage else f"{stage}, {label}"


def _reason(study: Study, folder: RunFolder) -> str:
    return f"{folder.path.relative_to(study.store.path).as_posix()}: {_why(folder)}"


def _why(folder: RunFolder) -> str:
    if folder.failed:
        return folder.failure()
    step, _ = folder.last_step()
    where = "no step logged" if step is None else f"last logged step {step}"
    claimed = folder.claim_path.exists()
    return f"{where}; " + ("a process holds it, or was killed" if claimed else "re-run the same command to resume")


def _trained_scores(study: Study) -> pd.DataFrame:
    """The scores of trained runs in the tasks' first metrics, `weak` where they do not beat a constant answer."""
    bars = constants(study.runs)
    frame = score_frame([run for run in study.runs if run.result.steps > 0])
    frame = frame[frame["headline"]]
    keys = list(zip(frame["task"], frame["metric"], strict=True))
    bar = [bars.get(key, math.nan) for key in keys]
    weak = [
        not math.isnan(of_task) and at_chance(value, of_task, metric)
        for value, of_task, (_, metric) in zip(frame["value"], bar, keys, strict=True)
    ]
    return frame.assign(bar=bar, weak=weak)


def _chance_table(scores: pd.DataFrame) -> Table | None:
    """Methods by tasks: how many seeds are at chance, of those methods and tasks that have any."""
    weak = scores[scores["weak"]]
    if weak.empty:
        return None
    tasks, several = distinct(weak["task"]), scores["dtype"].nunique() > 1
    bars = weak.groupby("task")["bar"].first()
    heads = [Column("Method"), *(Column(f"{task} (constant {bars[task]:.1f})") for task in tasks)]
    by_method = scores[scores["task"].isin(tasks)].groupby(["dtype", "stage", "method"], sort=False)
    rows = []
    for (dtype, stage, method), rows_of in by_method:
        if rows_of["weak"].any():
            cells = [_chance_cell(rows_of[rows_of["task"] == task]) for task in tasks]
            rows.append(Row([header(_method(stage, method), muted(dtype) if several else ""), *cells]))
    caption = "Seeds at chance of all seeds, with their scores in per cent, by method and task"
    return Table("chance", caption, heads, [rows], "controls", "Seeds at chance")


def _chance_cell(scores: pd.DataFrame) -> Cell:
    weak = scores[scores["weak"]].sort_values(["seed", "value"])
    if weak.empty:
        return EMPTY if scores.empty else cell("none", kind="muted")
    values = ", ".join(f"{value:.1f}" for value in weak["value"])
    kind = "wrong" if len(weak) == len(scores) else ""
    seeds = "seeds " + ", ".join(map(str, weak["seed"]))
    count = f"{len(weak)} of {len(scores)}"
    return cell(Part(count, kind, seeds) if kind else count, Part(values, "small", seeds))._replace(sort=len(weak))


def _score(result: RunResult, task: str, metric: str) -> float | None:
    found = result.scores.get(task, {}).get(metric)
    return None if found is None else found.value


def _notes(study: Study, wanted: Callable[[str], bool]) -> list[str]:
    """The notes on data that are wanted, with their task."""
    return distinct(
        f"{task}: {note}" for result in study.results for task, about in result.data.items() for note in about.notes
        if wanted(note) and (result.steps or not of_training(note))
    )  # fmt: skip


def _is_cut(note: str) -> bool:
    return any(int(cut) > MANY * int(of) for cut, of, *_ in CUT.findall(note))


def _says(*kinds: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda note: any(kind.search(note) for kind in kinds)


OF_DATA: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("Cut texts", f"More than {MANY:.0%} of a split's texts lost their end; a score there is one of a shortened task.",
     _is_cut),
    ("Texts in several splits", "What was found, and what was done about it.", _says(SHARED)),
    ("Unknown characters", "The model reads the same empty token for all of them.", _says(UNKNOWN)),
    ("Classes without rows", "A score over the other classes alone is another one.", _says(ABSENT)),
    ("Few validation rows", "The best step, and with it the test score, was chosen by a handful of rows.", _says(VALIDATED)),
    ("Suspicious files", "Rows may have been read as the text of one.", _says(SWALLOWED)),
)  # fmt: skip


def _by_method(study: Study) -> dict[tuple[str, ...], list[Run]]:
    """The trained runs of each method and tasks, which differ in their seeds."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in study.runs:
        if run.result.steps > 0:
            key = (run.result.model.dtype, *run.group, *run.result.tasks)
            groups.setdefault(key, []).append(run)
    return groups


def _collapsed(runs: list[Run]) -> Iterator[str]:
    """Seeds of one method that are far worse than the others."""
    results = [run.result for run in runs]
    for task, about in results[0].data.items():
        scores = {r.seed: value for r in results if (value := _score(r, task, about.headline)) is not None}
        for run in runs:
            seed = run.result.seed
            what = f"{', '.join(run.group)}, {task}: seed {seed}"
            others = [value for other, value in scores.items() if other != seed]
            if len(others) > 1 and seed in scores:
                middle, spread = median(others), max(others) - min(others)
                gap = middle - scores[seed] if scale_of(about.headline).higher_is_better else scores[seed] - middle
                if gap > max(FAR, SPREADS * spread):
                    theirs = f"the other {len(others)} between {min(others):.1f} and {max(others):.1f}"
                    yield f"{what} has {about.headline} {scores[seed]:.1f}, {theirs}"
