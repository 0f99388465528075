"""One self-contained HTML file of a store: what was run, what came out, and how sure one can be of it.

The file needs nothing else: no font, no picture, no script from elsewhere; its Content-Security-Policy forbids them. Its own
script (`templates/page.js`) sorts tables, saves figures and searches answers; without it everything else is there. It is
made from run folders alone, and the same store gives the same bytes. Every section is a function of a `Study` that returns a
`Section`, or None where the store holds nothing for it; `sections_of` gives their order, and the template has one macro per
section name. A new section is a function, a line in `sections_of` and a macro.
"""

import base64
import hashlib
import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cpeft.errors import ConfigError
from cpeft.report.header import head_facts, short
from cpeft.report.published.against import against, asked_of
from cpeft.report.sections.attention import attention_maps
from cpeft.report.sections.beside import beside
from cpeft.report.sections.cautions import cautions
from cpeft.report.sections.confusion import confusions
from cpeft.report.sections.curves import learning_curves
from cpeft.report.sections.energy import bill, electricity
from cpeft.report.sections.predictions import predictions, said
from cpeft.report.sections.ranking import contests
from cpeft.report.sections.stability import spreads
from cpeft.report.study import Run, Section, Study, distinct
from cpeft.report.summary import Cell, summarise
from cpeft.report.vectors.addition import additions
from cpeft.report.vectors.comparisons import similarity_maps
from cpeft.report.vectors.crossing import crossings
from cpeft.report.vectors.shots import experiments
from cpeft.report.vectors.transfer import transfer_maps
from cpeft.store.result import RunResult
from cpeft.store.run_folder import Store

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 700  # characters of an example's text


def write_report(store: Path, out: Path | None = None, paper: str | None = None, other: Path | None = None) -> Path:
    """Write the report of a store's finished runs, beside the published figures of `paper` (`attempt`, `tpv`) and the same runs
    of another store if they are named; the file's path, by default one in the store whose name says which. Raises ConfigError
    where there is nothing to show."""
    study = _opened(store)
    more = []
    if other is not None:
        more.append(made("beside", "Beside another store", partial(beside, other=_opened(other))))
    if paper is not None:
        more.append(made("against", "Beside published figures", partial(against, paper=paper)))
    asked = [*([str(other)] if other else []), *(["--against", paper] if paper else [])]
    makers = sections_of(paper, shlex.join(["cpeft", "report", str(study.store.path), *asked]))
    sections = [section for make in (*makers[:2], *more, *makers[2:]) if (section := make(study))]
    options: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    page = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, **options)
    title = study.store.path.resolve().name
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()  # the policy names this script alone
    html = page.get_template("report.html").render(
        title=title, facts=head_facts(study, bill(study)), sections=sections, script=script, allowed=allowed
    )
    out = out or study.store.path / file_name(paper, other)
    out.write_text(html.strip() + "\n", encoding="utf-8", newline="\n")
    return out


def file_name(paper: str | None = None, other: Path | None = None) -> str:
    """`report.html`, or a name of its own for a page beside something, so that none takes the place of another."""
    parts = [f"beside-{re.sub(r'[^A-Za-z0-9_.-]+', '-', other.resolve().name)}"] if other is not None else ["report"]
    return "-".join([*parts, *([f"against-{paper}"] if paper else [])]) + ".html"


def _opened(store: Path) -> Study:
    study = Study.of(Store(store))
    if not study.runs:
        raise ConfigError(f"{store}: no finished run; give a store, the folder that `cpeft run` fills with STAGE/RUN")
    return study


@dataclass(frozen=True)
class Row:
    """A cell of the table as it is shown: places are per cent of the interval plot's width."""

    cell: Cell
    best: bool
    scores: list[tuple[int, float]]
    place: Callable[[float], float]


def score_table(study: Study) -> Section | None:
    """Mean, deviation and interval per task, metric and method; one table per dtype, because a table mixes none."""
    tables = []
    for dtype in distinct(result.model.dtype for result in study.results):
        runs = [run for run in study.runs if run.result.model.dtype == dtype]
        cells = summarise(runs)
        low = 10 * math.floor(min(min(cell.low, *cell.values) for cell in cells) / 10)
        high = max(low + 10, 10 * math.ceil(max(max(cell.high, *cell.values) for cell in cells) / 10))
        groups: dict[tuple[str, str], list[RunResult]] = {}
        for run in runs:
            groups.setdefault(run.group, []).append(run.result)
        parts = []
        for (task, metric), rivals in groupby(cells, key=lambda cell: (cell.task, cell.metric)):
            mine = list(rivals)
            rows = [_row(cell, mine, groups.get((cell.stage, cell.method), []), low, high) for cell in mine]
            fixed = [row for row in rows if row.cell.kind == "fixed"]
            stages = distinct(row.cell.stage for row in rows if row.cell.kind != "fixed")
            by_stage = [(stage, [row for row in rows if row.cell.stage == stage]) for stage in stages]
            parts.append((task, metric, fixed, by_stage))
        tables.append({"dtype": dtype, "low": low, "high": high, "parts": parts})
    return Section("scores", "Scores", tables)


def _row(cell: Cell, rivals: Sequence[Cell], results: Sequence[RunResult], low: float, high: float) -> Row:
    means = [rival.mean for rival in rivals if rival.kind != "fixed"]
    scores = [
        (result.seed, result.scores[cell.task][cell.metric].value)
        for result in results
        if cell.metric in result.scores.get(cell.task, {})
    ]
    best = cell.kind != "fixed" and len(means) > 1 and cell.mean == max(means)
    return Row(cell, best, sorted(scores), lambda value: round(100 * (value - low) / (high - low), 1))


@dataclass(frozen=True)
class Example:
    """A test row, what the model read and answered, and the weights behind the answer."""

    task: str
    run: Run
    row: dict[str, Any]
    read: str
    answer: str
    right: bool
    weights: list[tuple[str, float]]


def examples(study: Study) -> Section | None:
    """Three test rows, by the rule that the page states: the first rows of the first three tasks, and both outcomes."""
    open_ = [run for run in study.runs if run.keeps_texts]
    mixed = [run for run in open_ if next(run.weights(), None)]
    first: dict[str, Run] = {}
    for run in mixed or [run for run in open_ if run.result.prompts]:
        for task in run.result.tasks:
            first.setdefault(task, run)
    tasks = list(first)[:3]
    if not tasks:
        return None
    rows = {task: _examples(task, first[task]) for task in tasks}
    chosen = [rows[tasks[i % len(tasks)]][i // len(tasks) :][:1] for i in range(3)]
    picked = [each for found in chosen for each in found]
    if len({each.right for each in picked}) == 1:
        other = (each for each in rows[picked[-1].task] if each.right != picked[-1].right)
        picked[-1] = next(other, picked[-1])
    return Section("examples", "Example predictions", {"examples": picked, "weights": bool(mixed), "shown": SHOWN})


def _examples(task: str, run: Run) -> list[Example]:
    table = run.folder.predictions()
    names = run.folder.predictions_metadata().get("attention", "").split("\t")
    return [
        Example(task, run, row, row.get("read", row["source"]), said(row), row["prediction"] in row["references"],
                list(zip(names, row["attention"], strict=False)))
        for row in (table.to_pylist() if table is not None else ())
        if row["task"] == task
    ]  # fmt: skip


def making(study: Study, command: str) -> Section:
    """Settings, data and commands: what it takes to do this again; `command` made this page."""
    settings = {run.folder.path: run.settings for run in study.runs}
    keys = sorted({key for table in settings.values() for key in table})
    texts = {key: {table.get(key, "default") for table in settings.values()} for key in keys}
    common = [(key, *texts[key]) for key in keys if len(texts[key]) == 1]
    differing = []
    for group, runs in study.groups.items():
        seen = {key: distinct(settings[run.folder.path].get(key, "default") for run in runs) for key in keys}
        differing.append((*group, len(runs), [(key, " | ".join(seen[key])) for key in keys if len(texts[key]) > 1]))
    data: dict[str, dict[str, Any]] = {}
    for result in study.results:
        for task, about in result.data.items():
            entry = data.setdefault(task, {"origins": [], "rows": [], "notes": []})
            hashed = about.fingerprint or "not hashed"
            entry["origins"] = distinct([*entry["origins"], (about.origin, short(hashed), hashed, about.version)])
            entry["rows"] = distinct([*entry["rows"], " / ".join(f"{n:,}" for n in about.rows.values())])
            entry["notes"] = distinct([*entry["notes"], *about.notes])
    notes = distinct(note for result in study.results for note in result.notes)
    recipes = [(each.recipe, each.command(study.store.path), each.files) for each in study.manifests]
    store = shlex.quote(str(study.store.path))
    content = {"store": store, "command": command, "common": common, "differing": differing, "data": data, "notes": notes,
               "recipes": recipes}  # fmt: skip
    return Section("making", "How this was made", content)


def made(name: str, title: str, make: Callable[[Study], Any]) -> Callable[[Study], Section | None]:
    """A section whose content is made in a file of its own."""
    return lambda study: Section(name, title, content) if (content := make(study)) else None


def sections_of(paper: str | None, command: str) -> tuple[Callable[[Study], Section | None], ...]:
    """The parts of the page in order, which `command` makes; beside a paper sums of vectors are chosen and scored by its
    metrics."""
    sums = partial(additions, asked=asked_of("addition")) if paper == "tpv" else additions
    spent = partial(electricity, always=paper is not None)
    return (
        made("cautions", "Read this first", cautions), score_table, made("ranking", "Methods over tasks", contests),
        made("stability", "Stability over runs", spreads), made("crossing", "Task vectors across origins", crossings),
        made("addition", "Sums of task vectors", sums), made("shots", "Numbers of training examples", experiments),
        learning_curves, attention_maps, similarity_maps, transfer_maps,
        made("confusion", "Right and given answers", confusions), examples,
        made("predictions", "Answers", predictions), made("energy", "Electricity", spent), partial(making, command=command),
    )  # fmt: skip
