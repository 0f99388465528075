"""Our scores beside published ones, cell by cell, where task, method and metric are the same.

The figures are those of `published.json`: other people's results. A block that says it was written down from memory is shown
and never compared. Published deviations and numbers of runs allow the published test (independent t from summaries), bounded
by what rounding hides and corrected by Holm over the table; a figure without them is taken as it is, and our interval alone
says how far ours may lie from it. Where we did not compute the published metric, or counted examples otherwise, there is no
difference.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cpeft.errors import ConfigError
from cpeft.prompts.expression import Call, Expression, Fresh, Name, Sum
from cpeft.report.cosines import Pair, cosines
from cpeft.report.crossing import crossings
from cpeft.report.lines import GRID, Shots, Trial
from cpeft.report.rejudged import MODELS, NOT_ITSELF, SETTINGS_RUNS
from cpeft.report.rejudged import ROWS as FEW_SHOT
from cpeft.report.starts import Asked, formula_of
from cpeft.report.stats import ALPHA, Interval, Judged, Summary, difference_interval, holm_judged, judge_rounded
from cpeft.report.study import Study, distinct

MEMORY = "from memory"  # what a block's source says of figures that were never checked


class Kind(NamedTuple):
    """What a published row trained: a method, what it started from, and whether one run held several tasks."""

    method: str
    start: str = ""  # nothing, prompt, prompts (of several tasks at once), vectors; "" for any
    several: bool = False
    sources: frozenset[str] = frozenset()  # the prompt is of one of these tasks


FIRST, SECOND = frozenset(("mnli", "dbpedia", "sst2")), frozenset(("qnli", "trec", "yelp", "yelpstars"))
ROWS: Mapping[str, Mapping[str, Kind]] = {
    "source_prompts_table1": {"replication's prompts": Kind("prompt_tuning", "nothing")},
    "attempt_main_table": {
        "prompt tuning 77K": Kind("prompt_tuning", "nothing"), "SPoT 77K": Kind("prompt_tuning", "prompt"),
        "ATTEMPT 232K": Kind("attempt"), "ATTEMPT-m 96K": Kind("attempt", several=True),
        "fine-tuning 220M": Kind("fine_tuning"), "adapters 1.9M": Kind("adapters"), "BitFit 280K": Kind("bitfit"),
    },
    "few_shot_f1": {
        "random": Kind("prompt_tuning", "nothing"),
        "source 1 (SPoT): MNLI / DBPedia / SST2": Kind("prompt_tuning", "prompt", sources=FIRST),
        "source 2 (SPoT): QNLI / TREC / Yelp": Kind("prompt_tuning", "prompt", sources=SECOND),
        "both, multi-task SPoT": Kind("prompt_tuning", "prompts"), "both, ATTEMPT": Kind("attempt", several=True),
        "both, TPV sum (ours)": Kind("prompt_tuning", "vectors"),
    },
}  # fmt: skip
FEW_SHOT_RUNS = dict(FEW_SHOT.values())
METRICS = {  # by block and column; "" is every other column. What is no metric of ours is compared with nothing
    "source_prompts_table1": {"": "accuracy", "SQuAD": "not stated", "ReCoRD": "not stated"},
    "attempt_main_table": {"": "accuracy", "STS-B": "pearson", "CoLA": "matthews", "MultiRC": "multirc_f1a"},
    "cross_origin": {"": "accuracy", "STS-B": "pearson or spearman", "SQuADv2": "squad_v2_f1", "MATH": "not stated"},
    "few_shot_f1": {"": "macro_f1", "SciTail": "f1", "IMDB": "f1"},  # binary where there are two labels
    "addition": {"": "accuracy", "STS-B": "pearson"},  # a figure without numbers: what chose the scales
}


@dataclass(frozen=True)
class Line:
    """One published cell beside one of ours, in per cent. `difference` is ours minus published with
    `interval`; both are None where the two are not the same thing, for the reason `why`."""

    task: str
    row: str
    metric: str
    published: Summary
    name: str
    own_metric: str
    own: Summary
    why: str = ""
    difference: float | None = None
    interval: Interval | None = None
    judged: Judged | None = None


@dataclass(frozen=True)
class Block:
    """A published table; `unverified` where its figures were written down from memory and are compared with nothing."""

    name: str
    source: str
    caution: str
    unverified: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Against:
    """The published tables of a study that share a cell with the store, the models that were run here, and the cosines of task
    prompts that both have."""

    paper: str
    models: tuple[str, ...]
    blocks: tuple[Block, ...] = field(default=())
    cosines: tuple[Pair, ...] = field(default=())


def against(study: Study, paper: str) -> Against:
    """The store beside the tables of a study, `attempt` or `tpv`; raises ConfigError for another name, and where no run is of a
    published task and method."""
    if paper not in BLOCKS:
        raise ConfigError(f"--against {paper}: published figures are at hand for {' and '.join(BLOCKS)}")
    figures = json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))
    blocks = [_block(study, name, figures[name]) for name in BLOCKS[paper]]
    kept = tuple(block for block in blocks if block.lines)
    alike = cosines(study, figures["cosine"], _plain) if paper == "tpv" and _model(study) == "T5" else ()
    if not kept and not alike:
        raise ConfigError(f"--against {paper}: no run of this store trained a published task by a published method")
    models = distinct(f"{Path(r['model']['name']).name} ({r['model']['dtype']})" for r in study.results)
    return Against(paper, tuple(models), kept, alike)


def asked_of(name: str) -> Asked:
    """The published metric of our tasks in a table."""
    columns = {_plain(column): metric for column, metric in METRICS[name].items()}
    return lambda task: columns.get(_plain(task), columns[""])


def _block(study: Study, name: str, figures: Mapping[str, Any]) -> Block:
    unverified = MEMORY in figures["source"]
    lines = [
        replace(line, why="unverified") if unverified else _told(line)
        for line in BLOCK_LINES[name](study, name, figures)
    ]
    tested = [place for place, line in enumerate(lines) if line.judged]
    family = holm_judged([judged for line in lines if (judged := line.judged)])
    for place, judged in zip(tested, family, strict=True):
        lines[place] = replace(lines[place], judged=judged)
    return Block(name.replace("_", " "), figures["source"], figures.get("caution", ""), unverified, tuple(lines))


def _told(line: Line) -> Line:
    """The line with its difference, unless something speaks against one."""
    if line.why:
        return line
    if line.metric != line.own_metric:
        return replace(line, why=f"metric: {line.metric}")
    own, published = line.own, line.published
    told = replace(line, difference=own.mean - published.mean)
    if own.deviation is None:
        return told
    if published.deviation is None:
        exact = Summary(published.mean, 0.0, 2)  # the interval is then Student's t of ours alone
        return replace(told, interval=difference_interval(own, exact))
    judged = judge_rounded(own, published, ALPHA)
    return replace(told, interval=difference_interval(own, published), judged=judged)


def _table(study: Study, name: str, figures: Mapping[str, Any]) -> Iterator[Line]:
    """Tables of rows and columns of single figures; those of the main table stand in two parts."""
    cells: dict[tuple[str, str], Summary] = {}
    for row, columns in figures["rows"].items():
        parts = [value for value in columns.values() if isinstance(value, dict)] or [columns]
        cells |= {(row, column): Summary(value, None, 1) for part in parts for column, value in part.items()}
    for (row, column), published in cells.items():
        yield from _lines(study, name, row, column, published, shots="full")


def _few_shot(study: Study, name: str, figures: Mapping[str, Any]) -> Iterator[Line]:
    for row, columns in figures["rows"].items():
        for column, by_shots in columns.items():
            why = NOT_ITSELF.get(column, "") if "ATTEMPT" not in row else ""
            for shots, cell in by_shots.items():
                published = Summary(cell["mean"], cell["std"], FEW_SHOT_RUNS[row])
                for line in _lines(study, name, row, column, published, int(shots)):
                    yield replace(line, why=line.why or why)


def _lines(study: Study, name: str, row: str, column: str, published: Summary, shots: Shots) -> Iterator[Line]:
    """A published cell beside every stage and label of the store that is of its kind, trained on as many examples."""
    kind, metric = ROWS[name].get(row), METRICS[name].get(column, METRICS[name][""])
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for run in study.runs if kind else ():
        for task in run.result["tasks"]:
            trial = Trial.of(run, task)
            if _plain(task) == _plain(column) and trial.shots == shots and _is(trial, kind):
                groups.setdefault((*run.group, run.result["model"]["dtype"]), []).append(trial)
    for (stage, label, dtype), trials in groups.items():
        first = trials[0].run.result
        task, asked = trials[0].task, metric if metric in first["scores"][trials[0].task] else ""
        own = asked or first["data"][task]["headline"]
        values = [trial.run.result["scores"][task][own]["value"] for trial in trials]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        why = "k per class here" if shots not in (0, "full") and trials[0].per != "total" else ""
        said = f"{task}, {_said(shots)}" if name == "few_shot_f1" else task
        ours = Summary(float(np.mean(values)), deviation, len(values))
        called = stage if label == stage else f"{stage}: {GRID.sub('', label)}"
        one = len({other for *_, other in groups}) == 1
        yield Line(said, row, metric, published, called if one else f"{called}, {dtype}", own, ours, why)


def _said(shots: Shots) -> str:
    return "untrained" if shots == 0 else "all rows" if shots == "full" else f"{shots} examples"


def _is(trial: Trial, kind: Kind | None) -> bool:
    """Whether a run is of the kind of a published row."""
    result = trial.run.result
    if kind is None or result["method"] != kind.method or (len(result["tasks"]) > 1) != kind.several:
        return False
    if not kind.start:
        return True
    start, of = _start(formula_of(trial.run.config))
    return start == kind.start and (not kind.sources or _plain(of) in kind.sources)


def _start(formula: Expression) -> tuple[str, str]:
    """What a prompt starts from, in the words of `Kind`, and the task of the prompt if it is one."""
    match formula:
        case Fresh():
            return "nothing", ""
        case Name(reference):
            what = reference.partition("@")[0].rpartition("/")[2]
            return ("prompts" if {"+", "*"} & set(what) else "prompt"), what
        case Sum((Sum((Fresh(), Call("v", _))) | Sum() as left, Call("v", _))):
            return ("vectors" if isinstance(left.parts[0], Fresh) else _start(left)[0]), ""
    return "", ""


def _cross_origin(study: Study, name: str, figures: Mapping[str, Any]) -> Iterator[Line]:
    """Own and other origins."""
    model = _model(study)
    for crossing in crossings(study, asked_of(name)):
        for row in crossing.rows:
            for kind, own, runs in (("original", row.own, SETTINGS_RUNS[0]), ("mixed", row.other, SETTINGS_RUNS[1])):
                columns = figures["rows"][f"{model} {kind}"]
                column = next((column for column in columns if _plain(column) == _plain(row.task)), None)
                if column and own:
                    published = Summary(columns[column]["mean"], columns[column]["std"], runs)
                    metric = METRICS[name].get(column, METRICS[name][""])
                    yield Line(row.task, f"{model} {kind}", metric, published, crossing.source, row.metric, own)


def _model(study: Study) -> str:
    """The published model that the store's model is called after, else T5."""
    used = " ".join(Path(result["model"]["name"]).name for result in study.results).lower()
    return next((model for model in MODELS if model.lower() in used), "T5")


def _plain(name: str) -> str:
    """A task's name without what publications and we write otherwise: `STS-B` and `stsb` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


BLOCK_LINES = {
    "source_prompts_table1": _table, "attempt_main_table": _table, "cross_origin": _cross_origin, "few_shot_f1": _few_shot,
}  # fmt: skip
BLOCKS = {"attempt": ("source_prompts_table1", "attempt_main_table"), "tpv": ("cross_origin", "few_shot_f1")}
