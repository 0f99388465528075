"""The answer: what ran, who leads and how sure that is, what failed, and what a reader must know, in three to five sentences.

Below them stand the leaderboard of the largest board, its pictures, and the other boards in folds. Every number is one of the
boards, of `gains` or of the cautions; nothing is computed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cpeft.report.gain import Gain, gains
from cpeft.report.render.drawing import swatch
from cpeft.report.render.numbers import EMPTY, between, cell, columns, fixed, header, p_value, probability, signed
from cpeft.report.render.table import Cell, Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.sections.cautions import Caution, cautions_of
from cpeft.report.study import Study, distinct
from cpeft.report.summary import constants
from cpeft.report.top.board import Board, Standing, boards
from cpeft.report.top.pictures import methods_by_tasks, quality_by_size
from cpeft.report.vectors.lines import examples
from cpeft.stats.corrected_tests import Tested
from cpeft.stats.intervals import Verdict

FEW = 4  # names that are listed, and tasks whose gains are


@section("answer", "Summary", 5, folded=False)
def answer(page: Page) -> dict[str, Any] | None:
    """Sentences, leaderboard and pictures."""
    study = page.study
    if not study.runs:
        return None
    found = boards(study)
    sentences = [_ran(study), *_leads(found, study), *_gained(gains(study)), _troubles(cautions_of(study))]
    tables = [_table(board, study.numbers, number) for number, board in enumerate(found, 1)]
    pictures = []
    if found:
        bars = {task: bar for (task, _), bar in constants(study.runs).items()}
        pictures = [methods_by_tasks(found[0], bars), quality_by_size(found[0], study.numbers)]
    others = [(_title(board), table) for board, table in zip(found[1:], tables[1:], strict=True)]
    return {
        "sentences": sentences,
        "board": tables[:1],
        "pictures": [each for each in pictures if each],
        "others": others,
    }


def verdict(study: Study, found: Sequence[Gain]) -> str:
    """What training brought, as plain text; where nothing untrained was scored beside it, who leads."""
    sentences = list(_gained(found)) or list(_leads(boards(study), study))
    return " ".join(Markup(each).striptags() if isinstance(each, Markup) else each for each in sentences)


def _ran(study: Study) -> str:
    results = study.results
    methods, tasks = list(study.numbers), distinct(task for result in results for task in result.tasks)
    seeds = [len({run.result.seed for run in runs}) for runs in study.groups.values()]
    counts = f"{min(seeds)} to {max(seeds)} seeds" if min(seeds) < max(seeds) else _count(max(seeds), "seed")
    models = distinct(f"{Path(result.model.name).name} in {result.model.dtype}" for result in results)
    of = f"{_named(methods, 'method')} on {_named(tasks, 'task')}"
    searched = f" Settings were chosen by {_count(len(study.tries), 'search run')}." * bool(study.tries)
    return f"{_count(len(results), 'run')} finished: {of}, {' and '.join(models)}, {counts} a method.{searched}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _named(names: Sequence[str], what: str) -> str:
    """A few names, or how many there are."""
    return _count(len(names), what) + (f" ({', '.join(names)})" if len(names) <= FEW else "")


def _title(board: Board) -> str:
    return f"{_count(len(board.methods), 'method')} {board.where}"


def _leads(found: Sequence[Board], study: Study) -> Iterator[str | Markup]:
    """Who leads the largest board and by how much; who leads others of the same tasks."""
    if not found:
        yield "No two methods were scored on the same task after as many examples, so there is no leader."
        return
    board = found[0]
    leader = board.leader
    if all(each.hopeless for each in board.methods if each.trained):
        yield Markup("<strong>No method beats the best constant answer</strong> on any task, {}.").format(board.where)
    start = Markup("<strong>{}</strong> has the highest mean {}: {:.1f}{}.")
    yield start.format(leader.name, board.where, leader.mean, _margin(board))
    if others := [f"{each.leader.name} {each.leader.mean:.1f} {each.where}" for each in found[1 : 1 + FEW]]:
        yield f"Highest means of other comparisons: {'; '.join(others)}."


def _margin(board: Board) -> str:
    """The difference between the leader and the baseline, or between the baseline and the next, with its verdict."""
    if not board.base:
        return "; there is no baseline (plain prompt tuning, or a method without training), so nothing is tested"
    rival = board.leader if board.leader.name != board.base else board.methods[1]
    if rival.tested is None:
        return f"; nothing can be tested, for {board.base} shares no two seeds with it"
    paired = rival.tested.paired
    if rival is board.leader:
        lead = f", {signed(paired.mean, 1)} points {between(paired.t_interval)} against {board.base}"
    else:
        lead = f"; it is the baseline, and {rival.name} is next, {signed(paired.mean, 1)} points {between(paired.t_interval)}"
    return f"{lead}: {_verdict(board, rival.tested)}"


def _verdict(board: Board, tested: Tested) -> str:
    tests = _count(board.comparisons, "comparison")
    if tested.verdict is Verdict.CANNOT:
        units = f"{tested.paired.units} {board.units}"
        return f"no verdict, for {units} are too few for {tests} ({board.enough} are the least)"
    return f"{tested.verdict.value}, p {probability(tested.p)} after Holm’s correction over {tests}"


def _gained(found: Sequence[Gain]) -> Iterator[str]:
    """Trained prompts beside the best answers without training, row by row."""
    if not found:
        return
    parts = []
    for gain in found[:FEW]:
        shares = [f"{100 * right / gain.rows:.0f}" for right in (min(gain.prompts), max(gain.prompts))]
        best = f"{100 * sum(gain.best.right) / gain.rows:.0f}% ({gain.best.name})"
        verdict = "significant" if gain.significant else "not significant"
        parts.append(f"{gain.task} {' to '.join(distinct(shares))}% of {gain.rows} rows against {best}, {verdict}")
    clear = sum(gain.significant for gain in found)
    rest = f"; in all significant on {clear} of {len(found)} tasks" if len(found) > FEW else ""
    yield (
        f"Trained prompts against the best answers without training: {'; '.join(parts)}{rest} (exact McNemar tests on rows, "
        "Holm’s correction; they speak of these prompts alone)."
    )


def _troubles(found: Sequence[Caution]) -> Markup:
    """What went wrong, and what else there is to read."""
    wrong = "; ".join(each.short for each in found if each.short)
    others = "; ".join(f"{each.title.lower()} ({each.count})" for each in found if not each.short)
    text = (
        Markup("<strong>What went wrong</strong>: {}.").format(wrong)
        if wrong
        else Markup("No run failed, no seed collapsed, and no trained run is at chance.")
    )
    return text + Markup(' <a href="#cautions">Read with care</a>: {}.').format(others) if others else text


def _table(board: Board, numbers: Mapping[str, int], number: int) -> Table:
    heads = ["Method", "Mean#", *["Rank#"] * (board.ranking is not None)]
    if board.base:
        heads += [f"Difference to {board.base}#", "95% interval#", "p, Holm#", "Verdict"]
    rows = [Row(_cells(board, each, numbers), "leads" * (each.name in board.group)) for each in board.methods]
    caption = f"{_title(board)}: mean test scores in per cent, frozen model in {board.dtype}"
    if board.ranking:
        critical = fixed(board.ranking.critical_difference)
        caption += f"; Friedman’s p {probability(board.ranking.p)}, critical difference of ranks {critical}"
    return Table(
        f"board-{number}",
        caption,
        columns(*heads, "Trained parameters#"),
        [rows],
        "controls",
        f"Leaderboard {number}: {', '.join(board.tasks)}, {examples(board.shots)}, {board.dtype}",
    )


def _cells(board: Board, each: Standing, numbers: Mapping[str, int]) -> list[Cell]:
    best = "best group" if len(board.group) > 1 else "best"
    badge = Part(best, "badge") if each.name in board.group else ""
    weak = f"at chance on {len(each.chance)} of {len(board.tasks)}" if len(board.tasks) > 1 else "at chance"
    name = header(each.name, badge, Part(weak, "muted") if each.chance else "")
    cells = [
        name._replace(drawing=swatch(numbers[each.label])),
        cell(fixed(each.mean), kind="mean")._replace(sort=each.mean),
    ]
    if board.ranking:
        cells.append(cell(fixed(board.ranking.ranks[each.name])))
    if each.name == board.base:
        cells += [EMPTY, EMPTY, EMPTY, cell("baseline", kind="muted")]
    elif board.base:
        cells += _compared(each.tested)
    sizes = (
        f"{each.trainable[0]:,}"
        if len(each.trainable) == 1
        else " to ".join(f"{n:,}" for n in each.trainable[:: len(each.trainable) - 1 or 1])
    )
    return [*cells, cell(sizes)]


def _compared(tested: Tested | None) -> list[Cell]:
    if tested is None:
        return [EMPTY, EMPTY, EMPTY, cell("no two shared seeds", kind="muted")]
    paired = tested.paired
    difference = cell(signed(paired.mean))._replace(sort=paired.mean)
    bounds = cell(between(paired.t_interval))._replace(sort=paired.t_interval[0])
    return [difference, bounds, p_value(tested.p), cell(tested.shown, kind="verdict")]
