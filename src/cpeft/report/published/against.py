"""Our scores beside published ones, cell by cell, where task, method and metric are the same.

The figures are those of `published.json`: other people's results. A block that says it was written down from memory is shown
with differences and enters no test and no verdict. Published deviations and numbers of runs allow the published test
(independent t from summaries), bounded by what rounding hides; a figure without them is taken as exact but for its rounding, in
a one-sample t-test of our seeds. Holm corrects over the table. Where we did not compute the published metric, or counted
examples otherwise, there is no difference.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cpeft.errors import ConfigError
from cpeft.report.published.cosines import Cosines, cosine_table, cosines
from cpeft.report.published.layout import line_table, wide_table
from cpeft.report.published.matching import (
    FEW_SHOT_RUNS,
    METRICS,
    MODELS,
    NOT_ITSELF,
    ROWS,
    SETTINGS_RUNS,
    is_of,
    plain,
    published_metrics,
)
from cpeft.report.published.paper_table import PaperCell, Wide, groups_of, wide
from cpeft.report.section import Page, section
from cpeft.report.study import GRID, Study, distinct
from cpeft.report.vectors.crossing import crossings
from cpeft.report.vectors.lines import Shots, Trial, examples
from cpeft.stats.corrected_tests import summed
from cpeft.stats.intervals import ALPHA
from cpeft.stats.summaries import Summary, difference_interval, holm_judged, judge_figure, judge_rounded

MEMORY = "from memory"  # what a block's source says of figures that were never checked


@dataclass(frozen=True)
class Block:
    """A published table, line by line and as it was laid out; `unverified` where its figures were written down from memory and
    enter no test."""

    name: str
    title: str
    source: str
    caution: str
    unverified: bool
    lines: tuple[PaperCell, ...]
    wide: Wide

    @property
    def test(self) -> str:
        """What judges its cells."""
        single = all(line.published.deviation is None for line in self.lines)
        of_seeds = "one-sample t-test of our seeds against the printed figure"
        return of_seeds if single else "independent t-test of the summaries"


@dataclass(frozen=True)
class Against:
    """The published tables of a study that share a cell with the store, the models that were run here, and the cosines of task
    prompts that both have."""

    paper: str
    models: tuple[str, ...]
    blocks: tuple[Block, ...] = field(default=())
    cosines: Cosines | None = None


@section("against", "Beside published figures", 14, folded=False)
def against(page: Page) -> dict[str, Any] | None:
    """The store beside published figures, where a study is named."""
    if page.paper is None:
        return None
    found = beside_published(page.study, page.paper)
    blocks = [
        {
            "block": block,
            "wide": wide_table(block.wide, block.title, number, block.unverified),
            "lines": line_table(block.lines, block.title, block.test, number, block.unverified),
        }
        for number, block in enumerate(found.blocks, 1)
    ]
    return {"found": found, "blocks": blocks, "cosines": cosine_table(found.cosines) if found.cosines else None}


def beside_published(study: Study, paper: str) -> Against:
    """The store beside the tables of a study, `attempt` or `tpv`; raises ConfigError for another name, and where no run is of a
    published task and method."""
    if paper not in BLOCKS:
        raise ConfigError(f"--against {paper}: published figures are at hand for {' and '.join(BLOCKS)}")
    figures = json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))
    blocks = [_block(study, name, figures[name]) for name in BLOCKS[paper]]
    kept = tuple(block for block in blocks if block.lines)
    alike = cosines(study, figures["cosine"], plain) if paper == "tpv" and _model(study) == "T5" else None
    if not kept and not alike:
        raise ConfigError(f"--against {paper}: no run of this store trained a published task by a published method")
    models = distinct(f"{Path(r.model.name).name} ({r.model.dtype})" for r in study.results)
    return Against(paper, tuple(models), kept, alike)


def _block(study: Study, name: str, figures: Mapping[str, Any]) -> Block:
    unverified = MEMORY in figures["source"]
    lines = [_compared(line, unverified) for line in BLOCK_LINES[name](study, name, figures)]
    tested = [place for place, line in enumerate(lines) if line.judged]
    family = holm_judged([judged for line in lines if (judged := line.judged)])
    for place, judged in zip(tested, family, strict=True):
        lines[place] = replace(lines[place], judged=judged)
    shots = sorted({int(count) for of_row in figures["rows"].values() for cell in of_row.values() for count in cell}
                   ) if name in BY_SHOTS else ()  # fmt: skip
    laid_out = wide(_rows(study, figures), lines, shots)
    return Block(
        name.replace("_", " "), TITLES[name], figures["source"], figures["caution"], unverified, tuple(lines), laid_out
    )


def _compared(line: PaperCell, unverified: bool) -> PaperCell:
    """The line with its difference, unless something speaks against one; an unverified figure gets nothing else."""
    if line.why:
        return line
    if line.metric != line.own_metric:
        return replace(line, why=f"metric: {line.metric}")
    own, published = line.own, line.published
    compared = replace(line, difference=own.mean - published.mean)
    if unverified:
        return replace(compared, why="unverified")
    if published.deviation is None:
        exact = Summary(published.mean, 0.0, 2)  # the interval is then Student's t of ours alone
        interval = None if own.deviation is None else difference_interval(own, exact)
        return replace(compared, interval=interval, judged=judge_figure(own, published.mean))
    if own.deviation is None:
        return compared
    judged = judge_rounded(own, published, ALPHA)
    return replace(compared, interval=difference_interval(own, published), judged=judged)


def _table(study: Study, name: str, figures: Mapping[str, Any]) -> Iterator[PaperCell]:
    """Tables of rows and columns of single figures; those of the main table stand in two parts."""
    groups = groups_of(figures["rows"])
    for row, columns in figures["rows"].items():
        parts = [value for value in columns.values() if isinstance(value, dict)] or [columns]
        shots: Shots = 0 if row in ROWS[name] and ROWS[name][row].untrained else "full"
        for group, (names, _) in groups.items():
            for column in names:
                value = next(part[column] for part in parts if column in part)
                for line in _lines(study, name, row, column, Summary(value, None, 1), shots):
                    yield replace(line, group=group)


def _few_shot(study: Study, name: str, figures: Mapping[str, Any]) -> Iterator[PaperCell]:
    for row, columns in figures["rows"].items():
        for column, by_shots in columns.items():
            why = NOT_ITSELF.get(column, "") if "ATTEMPT" not in row else ""
            for shots, cell in by_shots.items():
                published = Summary(cell["mean"], cell["std"], FEW_SHOT_RUNS[row])
                for line in _lines(study, name, row, column, published, int(shots)):
                    yield replace(line, why=line.why or why)


def _lines(study: Study, name: str, row: str, column: str, published: Summary, shots: Shots) -> Iterator[PaperCell]:
    """A published cell beside every stage and label of the store that is of its kind, trained on as many examples."""
    kind, metric = ROWS[name].get(row), METRICS[name].get(column, METRICS[name][""])
    stages = {run.result.stage for run in study.runs}
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for run in study.runs if kind else ():
        for task in run.result.tasks:
            trial = Trial.of(run, task)
            if plain(task) == plain(column) and trial.shots == shots and kind and is_of(trial, kind, stages):
                groups.setdefault((*run.group, run.result.model.dtype), []).append(trial)
    for (stage, label, dtype), trials in groups.items():
        first = trials[0].run.result
        task, asked = trials[0].task, metric if metric in first.scores[trials[0].task] else ""
        own = asked or first.data[task].headline
        values = [trial.run.result.scores[task][own].value for trial in trials]
        why = "k per class here" if shots not in (0, "full") and trials[0].per != "total" else ""
        by_shots = name in BY_SHOTS
        called = stage if label == stage else f"{stage}: {GRID.sub('', label)}"
        one = len({other for *_, other in groups}) == 1
        yield PaperCell(
            f"{task}, {examples(shots)}" if by_shots else task, row, examples(shots) if by_shots else "", column, metric,
            published,
            called if one else f"{called}, {dtype}", own, summed(values), why,
        )  # fmt: skip


def _rows(study: Study, figures: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rows of a table, of one with several models those of the store's."""
    model = _model(study)
    of_models = {row: cells for row, cells in figures["rows"].items() if row.partition(" ")[0] in MODELS}
    return {row: cells for row, cells in of_models.items() if row.startswith(model)} or figures["rows"]


def _cross_origin(study: Study, name: str, figures: Mapping[str, Any]) -> Iterator[PaperCell]:
    """Own and other origins."""
    model = _model(study)
    for crossing in crossings(study, published_metrics(name)):
        for row in crossing.rows:
            for kind, own, runs in (("original", row.own, SETTINGS_RUNS[0]), ("mixed", row.other, SETTINGS_RUNS[1])):
                columns = figures["rows"][f"{model} {kind}"]
                column = next((column for column in columns if plain(column) == plain(row.task)), None)
                if column and own:
                    group = next(
                        name for name, (names, _) in groups_of(_rows(study, figures)).items() if column in names
                    )
                    published = Summary(columns[column]["mean"], columns[column]["std"], runs)
                    metric = METRICS[name].get(column, METRICS[name][""])
                    what = row.task, f"{model} {kind}", group, column, metric, published
                    yield PaperCell(*what, crossing.source, row.metric, own)


def _model(study: Study) -> str:
    """The published model that the store's model is called after, else T5."""
    used = " ".join(Path(result.model.name).name for result in study.results).lower()
    return next((model for model in MODELS if model.lower() in used), "T5")


BLOCK_LINES = {
    "source_prompts_table1": _table, "attempt_main_table": _table, "cross_origin": _cross_origin, "few_shot_f1": _few_shot,
}  # fmt: skip
BY_SHOTS = ("few_shot_f1",)  # tables with a column per number of examples
TITLES = {
    "source_prompts_table1": "Source prompts (table 1 of the replication)", "attempt_main_table": "Main table of ATTEMPT",
    "cross_origin": "Task vectors across origins", "few_shot_f1": "F1 after few examples",
}  # fmt: skip
BLOCKS = {"attempt": ("source_prompts_table1", "attempt_main_table"), "tpv": ("cross_origin", "few_shot_f1")}
