"""Searches: every value that was tried with its validation score, and the values that later runs use."""

from typing import Any

from cpeft.report.render.numbers import EMPTY, cell, columns, decimal, fixed, header
from cpeft.report.render.table import Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Study, Try
from cpeft.store.search import best_place, mean_validation

NOTE = (
    "Validation: mean over the tasks and seeds of the search, whose runs have no test scores. The best mean is chosen, of "
    "equal ones the first of the grid; values that made a run diverge have no mean."
)


@section("search", "Search", 40)
def search(page: Page) -> dict[str, Any] | None:
    """Every try, the chosen ones marked."""
    return {"table": search_table(page.study), "runs": len(page.study.tries)} if page.study.tries else None


def search_table(study: Study) -> Table:
    """A row for the values of every point of a search, by stage and variant."""
    groups: dict[tuple[str, str], dict[str, list[Try]]] = {}
    for each in study.tries:
        values = ", ".join(f"{key} = {value}" for key, value in each.result.tried.items())
        groups.setdefault((each.result.stage, each.result.variant), {}).setdefault(values, []).append(each)
    chosen = _chosen(study)
    bodies = []
    for (stage, variant), by_values in groups.items():
        rows = []
        for values, tries in by_values.items():
            marked = any(each.folder.path in chosen for each in tries)
            scores = [f"{'+'.join(each.result.tasks)} s{each.result.seed}: {_score(each)}" for each in tries]
            mark = cell(Part("chosen", "badge")) if marked else EMPTY
            mean = decimal(mean_validation(each.result for each in tries))
            rows.append(
                Row([cell(stage), header(variant), cell(values), mean, mark, cell(len(tries)), cell(", ".join(scores))])
            )
        bodies.append(rows)
    heads = columns("Stage", "Method", "Values", "Validation#", "Choice", "Runs#", "Every run")
    count = len(study.tries)
    return Table(
        "search-1", f"Search: {count} run{'s' * (count > 1)}, on validation rows only", heads, bodies, notes=[NOTE]
    )


def _score(each: Try) -> str:
    result = each.result
    return result.stopped if result.validation is None else fixed(result.validation)


def _chosen(study: Study) -> set[object]:
    """The folders of the tries with the chosen values, of every finished search of a recipe of the store."""
    known = {each.folder.path.relative_to(study.store.path).as_posix(): each for each in study.tries}
    stages, found = {each.result.stage for each in study.tries}, set[object]()
    for manifest in study.manifests:
        unfinished = {run.stage for run in manifest.runs if run.stage in stages and run.folder not in known}
        groups: dict[tuple[str, str], list[Try]] = {}
        for run in manifest.runs:
            if run.stage not in unfinished and (each := known.get(run.folder)):
                groups.setdefault((run.stage, each.result.variant), []).append(each)
        for tries in groups.values():
            place = best_place(each.result for each in tries)
            found |= {each.folder.path for each in tries if each.result.place == place}
    return found
